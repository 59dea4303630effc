//! What a client may say, as slices of the bytes it sent.

/// One operation of a client (CORE-18). Slices borrow from the input of the parser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOp<'a> {
    /// `CONNECT <json>`; the text is not looked at yet (CORE-23).
    Connect {
        /// Everything after the verb and its blanks.
        json: &'a [u8],
    },
    /// `PUB` or `HPUB` with its whole body.
    Publish(Publish<'a>),
    /// `SUB <subject> [queue] <sid>` (CORE-34).
    Subscribe {
        /// As sent: may be an invalid subject.
        subject: &'a [u8],
        /// Queue group, if one was named.
        queue: Option<&'a [u8]>,
        /// The client's own name for the subscription, echoed in deliveries.
        sid: &'a [u8],
    },
    /// `UNSUB <sid> [max]` (CORE-36).
    Unsubscribe {
        /// As given in SUB.
        sid: &'a [u8],
        /// Deliveries, counted from SUB, after which the subscription ends. `None` is at once:
        /// no number, zero, or a text that is no size.
        max: Option<u64>,
    },
    /// `PING`.
    Ping,
    /// `PONG`.
    Pong,
    /// `+OK`: ignored.
    Ok,
    /// `INFO` with an acceptable JSON text: ignored.
    Info,
    /// `-ERR <text>`: logged, and the connection is closed without an answer.
    Err {
        /// Everything after the verb and its blanks.
        text: &'a [u8],
    },
}

/// A published message (CORE-32, CORE-33).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// As sent: may be an invalid subject or hold wildcards.
    pub subject: &'a [u8],
    /// Reply subject, if one was given.
    pub reply: Option<&'a [u8]>,
    /// Whether the verb was HPUB. With `header_len` zero the message is delivered as MSG all the
    /// same.
    pub has_header: bool,
    /// Bytes of `body` that are the header block; at most `body.len()`.
    pub header_len: usize,
    /// The header size as sent, leading zeros kept (CORE-22); empty for PUB.
    pub header_size_text: &'a [u8],
    /// The total size as sent, leading zeros kept (CORE-22).
    pub size_text: &'a [u8],
    /// Header block and payload, without the closing CRLF.
    pub body: &'a [u8],
    /// The arguments of the control line, for trace logs.
    pub line: &'a [u8],
    /// What follows the subject and its blank, to the end of the operation: `[reply ][header size
    /// ]size\r\n<body>\r\n`. A delivery ends in the very same bytes, so one copy makes it. Empty
    /// where the arguments were not written with single blanks.
    pub tail: &'a [u8],
}
