//! What the other side of a leaf link may say, as slices of the bytes it sent.

/// One operation on a leaf link. Slices borrow from the input of the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafOp<'a> {
    /// `LS+ <subject>` or `LS+ <subject> <queue> <weight>` (TOPO-26).
    Subscribe {
        /// As sent: may be an invalid subject.
        subject: &'a [u8],
        /// Queue group with its members over there.
        queue: Option<(&'a [u8], u32)>,
        /// Subject, and queue if there is one, as one piece: what `LS-` names it by.
        key: &'a [u8],
    },
    /// `LS- <subject>[ <queue>]`.
    Unsubscribe {
        /// See `Subscribe`.
        key: &'a [u8],
    },
    /// `LMSG` or `HMSG` with its whole body (TOPO-27).
    Message(LeafMessage<'a>),
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`, and what concerns no leaf link: ignored.
    Ok,
    /// `INFO <json>`; the text is not looked at yet.
    Info {
        /// Everything after the verb and its blanks.
        json: &'a [u8],
    },
    /// `CONNECT <json>`; the text is not looked at yet.
    Connect {
        /// Everything after the verb and its blanks.
        json: &'a [u8],
    },
    /// `-ERR <text>`.
    Err {
        /// Everything after the verb and its blanks.
        text: &'a [u8],
    },
}

/// A message from the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafMessage<'a> {
    /// Its subject.
    pub subject: &'a [u8],
    /// Reply subject, if there is one.
    pub reply: Option<&'a [u8]>,
    /// Queue groups it is for, between blanks; empty if it is for none (TOPO-28).
    pub queues: &'a [u8],
    /// Bytes of `body` that are the header block; `None` for `LMSG`.
    pub header_len: Option<usize>,
    /// The header size as sent; empty for `LMSG`.
    pub header_size_text: &'a [u8],
    /// The total size as sent.
    pub size_text: &'a [u8],
    /// Header block and payload, without the closing CRLF.
    pub body: &'a [u8],
    /// `[reply ][header size ]size\r\n<body>\r\n` as one piece, where it stands so in the input:
    /// not where queues are named.
    pub tail: &'a [u8],
}

impl<'a> LeafMessage<'a> {
    /// The queue groups it is for.
    pub fn queue_names(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let names = self.queues.split(|&byte| byte == b' ' || byte == b'\t');
        names.filter(|name| !name.is_empty())
    }
}
