//! What one turn of a shard tells another: interest changes and messages, in order, in one
//! buffer that goes back to its owner for reuse.

use bytes::Bytes;

use crate::ids::{AccountId, ShardId, Slot};
use crate::mesh::claim::Claim;

/// Everything one turn has to say to one shard.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    shared: Vec<Bytes>,
    /// How many of the receiver's interest changes the sender had applied when this left.
    pub applied: u64,
    /// The receiver is to answer with its own `applied` even if it has nothing else to say.
    pub answer_wanted: bool,
    /// It holds something that cannot wait until the receiver wakes by itself.
    pub urgent: bool,
    /// The sender waits for an answer awake.
    pub inviting: bool,
}

/// One item of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// The sender's interest in a pattern changed.
    Interest {
        /// Whose subjects.
        account: AccountId,
        /// Subject or pattern.
        pattern: &'a [u8],
        /// Queue group.
        queue: Option<&'a [u8]>,
        /// Members there are now; for plain subscriptions 1 or 0.
        weight: u32,
    },
    /// Interest of other servers that came over the sender's links changed. Counts as an interest
    /// change.
    Links {
        /// Whose subjects.
        account: AccountId,
        /// Subject or pattern.
        pattern: &'a [u8],
        /// Queue group.
        queue: Option<&'a [u8]>,
        /// Hash of the name of the cluster whose interest it is; 0 without one.
        cluster: u64,
        /// The interest is that of a hub.
        from_hub: bool,
        /// Members there are now; for plain interest how many links have it.
        weight: u32,
    },
    /// The message that follows came over a link from the cluster with that hash of its name.
    FromCluster(u64),
    /// Counts as an interest change and is none: once it is acknowledged, all that was said before
    /// it has been carried out.
    Mark,
    /// What the receiver must know of the publisher of the next message, as JSON: it is an answer
    /// to a request that is measured there (AUTH-63).
    About(&'a [u8]),
    /// The message that follows is traced.
    Traced(&'a [u8]),
    /// The message that follows goes to receivers of its subject, who see it under this one.
    Shown(&'a [u8]),
    /// A message for subscriptions of the receiver.
    Message(RemoteMessage<'a>),
    /// A request of the receiver's connection, or part of it, that nobody received (CORE-71).
    Undelivered {
        /// The requester.
        source: Slot,
        /// What comes back of the request.
        claim: Claim,
        /// Its subject.
        subject: &'a [u8],
        /// Its reply subject.
        reply: &'a [u8],
    },
    /// Hold back this connection of yours: a receiver it feeds is behind.
    Stall {
        /// The connection.
        slot: Slot,
        /// By a receiver that has not asked for it yet, and will end it with [`Item::Resume`].
        first: bool,
    },
    /// Go on with it.
    Resume(Slot),
}

/// A message on its way to another shard.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct RemoteMessage<'a> {
    /// The publisher, for echo and back-pressure.
    pub source: Slot,
    /// Account its subject is in.
    pub account: AccountId,
    /// It came through a service import.
    pub crossed: bool,
    /// The publisher's shard, where another one passes the message on; else it is the sender's.
    pub home: Option<ShardId>,
    /// To be given back if nobody receives the message.
    pub claim: Option<Claim>,
    /// Subject it was published on.
    pub subject: &'a [u8],
    /// Reply subject.
    pub reply: Option<&'a [u8]>,
    /// Bytes of `body` that are its header; `None` without one.
    pub header_len: Option<usize>,
    /// The sizes as the publisher wrote them (CORE-22).
    pub header_size_text: &'a [u8],
    /// See `header_size_text`.
    pub size_text: &'a [u8],
    /// Header and payload.
    pub body: Body<'a>,
    /// The end of a delivery as one piece, see [`crate::protocol::op::Publish::tail`]. On the way
    /// in it may be empty; on the way out it is so only for a shared body.
    pub tail: &'a [u8],
    /// Is it for the plain subscriptions, too?
    pub plain: bool,
    /// Shards that could not place a queue message.
    pub tried: u64,
    /// Queue groups the receiver is to pick a member of, as written by [`Batch::message`].
    pub queues: Names<'a>,
}

/// Header and payload of a message.
#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Body<'a> {
    /// In the batch.
    Inline(&'a [u8]),
    /// Shared by its receivers.
    Shared(&'a Bytes),
}

impl Body<'_> {
    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

/// Queue names in a batch: each a length and its bytes.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Names<'a>(&'a [u8]);

impl<'a> Iterator for Names<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let mut reader = Reader(self.0);
        let len = reader.u32() as usize;
        let name = reader.take(len);
        self.0 = reader.0;
        Some(name)
    }
}

impl Names<'_> {
    /// No names.
    pub const NONE: Names<'static> = Names(&[]);
}

const INTEREST: u8 = 1;
const MESSAGE: u8 = 2;
const STALL: u8 = 3;
const RESUME: u8 = 4;
const MARK: u8 = 5;
const ABOUT: u8 = 7;
const TRACED: u8 = 8;
const SHOWN: u8 = 9;
const UNDELIVERED: u8 = 6;
const LINKS: u8 = 10;
const FROM_CLUSTER: u8 = 11;

/// What stands in front of a message: one fixed piece, written and read at once.
struct MessageHead {
    flags: u8,
    header_size_digits: u8,
    size_digits: u8,
    source: Slot,
    account: AccountId,
    subject_len: u32,
    reply_len: u32,
    header_len: u32,
    body_len: u32,
}

impl MessageHead {
    /// The item's kind, four lengths and marks of a byte each, seven numbers.
    const LEN: usize = 32;

    fn total_len(&self) -> usize {
        let digits = usize::from(self.header_size_digits) + usize::from(self.size_digits);
        let texts = [self.subject_len, self.reply_len, self.body_len];
        let texts: usize = texts.iter().map(|&len| len as usize).sum();
        Self::LEN + digits + texts + 2 + 2 * CRLF.len()
    }

    /// With the kind of the item in front.
    fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&[
            MESSAGE,
            self.flags,
            self.header_size_digits,
            self.size_digits,
        ]);
        let numbers = [
            self.source.index,
            self.source.generation,
            self.account.0,
            self.subject_len,
            self.reply_len,
            self.header_len,
            self.body_len,
        ];
        let (words, _) = bytes[4..].as_chunks_mut::<4>();
        for (word, number) in words.iter_mut().zip(numbers) {
            *word = number.to_ne_bytes();
        }
        bytes
    }

    /// Without the kind, which has been read.
    fn from_bytes(bytes: [u8; Self::LEN - 1]) -> Self {
        let [flags, header_size_digits, size_digits, numbers @ ..] = bytes;
        let (words, _) = numbers.as_chunks::<4>();
        let number = |at: usize| words.get(at).map_or(0, |word| u32::from_ne_bytes(*word));
        Self {
            flags,
            header_size_digits,
            size_digits,
            source: Slot {
                index: number(0),
                generation: number(1),
            },
            account: AccountId(number(2)),
            subject_len: number(3),
            reply_len: number(4),
            header_len: number(5),
            body_len: number(6),
        }
    }
}

const CRLF: &[u8] = b"\r\n";

const HAS_REPLY: u8 = 1;
const HAS_HEADER: u8 = 2;
const IS_SHARED: u8 = 4;
const IS_PLAIN: u8 = 8;
const HAS_QUEUES: u8 = 16;
const HAS_CLAIM: u8 = 32;
const HAS_HOME: u8 = 64;
const HAS_CROSSED: u8 = 128;

impl Batch {
    /// Bytes that wait in it, shared payloads included.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.shared.iter().map(Bytes::len).sum::<usize>()
    }

    /// Bytes of the buffer itself: what bounds it.
    pub fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    /// Is there nothing to tell? (An answer may still be owed.)
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties it for reuse.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
        self.applied = 0;
        self.answer_wanted = false;
        self.urgent = false;
        self.inviting = false;
    }

    /// Bytes its buffer keeps while empty.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends an interest change.
    pub fn interest(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        weight: u32,
    ) {
        self.bytes.push(INTEREST);
        self.u32(account.0);
        self.u32(weight);
        self.field(pattern);
        self.bytes.push(u8::from(queue.is_some()));
        if let Some(queue) = queue {
            self.field(queue);
        }
    }

    /// Appends a change of what links want, see [`Item::Links`].
    pub fn links(
        &mut self,
        account: AccountId,
        (pattern, queue): (&[u8], Option<&[u8]>),
        (cluster, from_hub): (u64, bool),
        weight: u32,
    ) {
        self.bytes.push(LINKS);
        self.u32(account.0);
        self.u32(weight);
        self.bytes.extend_from_slice(&cluster.to_ne_bytes());
        self.bytes.push(u8::from(from_hub));
        self.field(pattern);
        self.bytes.push(u8::from(queue.is_some()));
        if let Some(queue) = queue {
            self.field(queue);
        }
    }

    /// Appends where the message that follows came from.
    pub fn from_cluster(&mut self, cluster: u64) {
        self.bytes.push(FROM_CLUSTER);
        self.bytes.extend_from_slice(&cluster.to_ne_bytes());
    }

    /// Appends what is to be known of the publisher of the message that follows.
    pub fn about(&mut self, publisher: &[u8]) {
        self.bytes.push(ABOUT);
        self.field(publisher);
    }

    /// Appends that the message that follows is traced, and under which mark.
    pub fn traced(&mut self, mark: &[u8]) {
        self.bytes.push(TRACED);
        self.field(mark);
    }

    /// Appends under which subject the message that follows is seen.
    pub fn shown(&mut self, subject: &[u8]) {
        self.bytes.push(SHOWN);
        self.field(subject);
    }

    /// Appends a mark.
    pub fn mark(&mut self) {
        self.bytes.push(MARK);
    }

    /// Appends a message.
    pub fn message<'q>(
        &mut self,
        message: &RemoteMessage<'_>,
        queues: impl Iterator<Item = &'q [u8]>,
    ) {
        self.urgent = true;
        let start = self.bytes.len();
        let (body, shared) = match message.body {
            Body::Inline(body) => (body, None),
            Body::Shared(body) => (&body[..], Some(body)),
        };
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        let mut flags = flag(message.reply.is_some(), HAS_REPLY)
            | flag(message.header_len.is_some(), HAS_HEADER)
            | flag(shared.is_some(), IS_SHARED)
            | flag(message.plain, IS_PLAIN)
            | flag(message.claim.is_some(), HAS_CLAIM)
            | flag(message.home.is_some(), HAS_HOME)
            | flag(message.crossed, HAS_CROSSED);
        let head = MessageHead {
            flags,
            header_size_digits: message.header_size_text.len() as u8, // at most 9
            size_digits: message.size_text.len() as u8,
            source: message.source,
            account: message.account,
            subject_len: message.subject.len() as u32,
            reply_len: message.reply.map_or(0, <[u8]>::len) as u32,
            header_len: message.header_len.unwrap_or(0) as u32,
            body_len: body.len() as u32,
        };
        self.bytes.reserve(head.total_len());
        self.bytes.extend_from_slice(&head.to_bytes());
        if let Some(home) = message.home {
            self.bytes.push(home.0);
        }
        if let Some(claim) = message.claim {
            self.claim(claim);
        }
        self.bytes.extend_from_slice(message.subject);
        if let Some(shared) = shared {
            self.tail(message, b"");
            self.u32(self.shared.len() as u32);
            self.shared.push(shared.clone());
        } else if message.tail.is_empty() {
            self.tail(message, body);
        } else {
            self.bytes.extend_from_slice(message.tail);
        }
        let names_at = self.bytes.len();
        let mut any = false;
        for queue in queues {
            if !any {
                any = true;
                self.bytes.extend_from_slice(&message.tried.to_ne_bytes());
                self.u32(0); // length of all names, filled in below
            }
            self.field(queue);
        }
        if any {
            flags |= HAS_QUEUES;
            self.bytes[start + 1] = flags;
            let names_len = (self.bytes.len() - names_at - 12) as u32;
            self.bytes[names_at + 8..names_at + 12].copy_from_slice(&names_len.to_ne_bytes());
        }
    }

    /// Appends that nobody received a request.
    pub fn undelivered(&mut self, source: Slot, claim: Claim, subject: &[u8], reply: &[u8]) {
        self.urgent = true;
        self.bytes.push(UNDELIVERED);
        self.slot(source);
        self.claim(claim);
        self.field(subject);
        self.field(reply);
    }

    /// Appends a request to hold back the receiver's connection.
    pub fn stall(&mut self, source: Slot, first: bool) {
        self.urgent = true;
        self.bytes.extend_from_slice(&[STALL, u8::from(first)]);
        self.slot(source);
    }

    /// Appends the end of such a request.
    pub fn resume(&mut self, source: Slot) {
        self.urgent = true;
        self.bytes.push(RESUME);
        self.slot(source);
    }

    /// The items, in the order in which they were appended.
    pub fn items(&self) -> Items<'_> {
        self.items_from(0)
    }

    /// The items from a place on at which [`Items::place`] once stood.
    pub fn items_from(&self, place: usize) -> Items<'_> {
        Items {
            batch: self,
            reader: Reader(&self.bytes[place..]),
        }
    }

    /// Appends what [`crate::protocol::op::Publish::tail`] describes.
    fn tail(&mut self, message: &RemoteMessage<'_>, body: &[u8]) {
        let header_size = message.header_len.map(|_| message.header_size_text);
        for argument in message.reply.into_iter().chain(header_size) {
            self.bytes.extend_from_slice(argument);
            self.bytes.push(b' ');
        }
        self.bytes.extend_from_slice(message.size_text);
        self.bytes.extend_from_slice(CRLF);
        self.bytes.extend_from_slice(body);
        self.bytes.extend_from_slice(CRLF);
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
    }

    fn slot(&mut self, slot: Slot) {
        self.u32(slot.index);
        self.u32(slot.generation);
    }

    fn claim(&mut self, claim: Claim) {
        self.bytes.extend_from_slice(&claim.request.to_ne_bytes());
        self.u32(claim.share);
    }

    fn field(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        self.bytes.extend_from_slice(bytes);
    }
}

/// Iterator over a batch.
pub struct Items<'a> {
    batch: &'a Batch,
    reader: Reader<'a>,
}

impl Items<'_> {
    /// Where the next item begins; `None` after the last.
    pub fn place(&self) -> Option<usize> {
        let left = self.reader.0.len();
        (left > 0).then(|| self.batch.bytes.len() - left)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let reader = &mut self.reader;
        if reader.0.is_empty() {
            return None;
        }
        Some(match reader.u8() {
            INTEREST => {
                let account = AccountId(reader.u32());
                let weight = reader.u32();
                let pattern = reader.field();
                let queue = (reader.u8() == 1).then(|| reader.field());
                Item::Interest {
                    account,
                    pattern,
                    queue,
                    weight,
                }
            }
            LINKS => {
                let account = AccountId(reader.u32());
                let weight = reader.u32();
                let cluster = reader.u64();
                let from_hub = reader.u8() == 1;
                let pattern = reader.field();
                let queue = (reader.u8() == 1).then(|| reader.field());
                Item::Links {
                    account,
                    pattern,
                    queue,
                    cluster,
                    from_hub,
                    weight,
                }
            }
            FROM_CLUSTER => Item::FromCluster(reader.u64()),
            MARK => Item::Mark,
            ABOUT => Item::About(reader.field()),
            TRACED => Item::Traced(reader.field()),
            SHOWN => Item::Shown(reader.field()),
            MESSAGE => Item::Message(reader.message(&self.batch.shared)),
            UNDELIVERED => Item::Undelivered {
                source: reader.slot(),
                claim: reader.claim(),
                subject: reader.field(),
                reply: reader.field(),
            },
            STALL => Item::Stall {
                first: reader.u8() == 1,
                slot: reader.slot(),
            },
            kind => {
                assert_eq!(kind, RESUME, "written by this very file");
                Item::Resume(reader.slot())
            }
        })
    }
}

/// Reads what `Batch` wrote; both ends are this file, so a mismatch is a bug, not an input.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_ne_bytes(self.array())
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.array())
    }

    fn slot(&mut self) -> Slot {
        Slot {
            index: self.u32(),
            generation: self.u32(),
        }
    }

    fn claim(&mut self) -> Claim {
        Claim {
            request: self.u64(),
            share: self.u32(),
        }
    }

    fn field(&mut self) -> &'a [u8] {
        let len = self.u32() as usize;
        self.take(len)
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N));
        array
    }

    fn message(&mut self, shared: &'a [Bytes]) -> RemoteMessage<'a> {
        let head = MessageHead::from_bytes(self.array());
        let flags = head.flags;
        let home = (flags & HAS_HOME != 0).then(|| ShardId(self.u8()));
        let claim = (flags & HAS_CLAIM != 0).then(|| self.claim());
        let subject = self.take(head.subject_len as usize);
        let tail_begin = self.0;
        let mut argument = |present: bool, len: usize| {
            present.then(|| {
                let argument = self.take(len);
                self.take(1); // the blank
                argument
            })
        };
        let reply = argument(flags & HAS_REPLY != 0, head.reply_len as usize);
        let has_header = flags & HAS_HEADER != 0;
        let header_size_text = argument(has_header, usize::from(head.header_size_digits));
        let size_text = self.take(usize::from(head.size_digits));
        self.take(CRLF.len());
        let inline = self.take(if flags & IS_SHARED == 0 {
            head.body_len as usize
        } else {
            0
        });
        self.take(CRLF.len());
        let (body, tail) = if flags & IS_SHARED == 0 {
            let tail_len = tail_begin.len() - self.0.len();
            (Body::Inline(inline), &tail_begin[..tail_len])
        } else {
            (Body::Shared(&shared[self.u32() as usize]), &[][..])
        };
        let (tried, queues) = if flags & HAS_QUEUES != 0 {
            let tried = self.u64();
            (tried, Names(self.field()))
        } else {
            (0, Names::NONE)
        };
        let plain = flags & IS_PLAIN != 0;
        RemoteMessage {
            source: head.source,
            account: head.account,
            crossed: flags & HAS_CROSSED != 0,
            home,
            claim,
            subject,
            reply,
            header_len: has_header.then_some(head.header_len as usize),
            header_size_text: header_size_text.unwrap_or_default(),
            size_text,
            body,
            tail,
            plain,
            tried,
            queues,
        }
    }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
