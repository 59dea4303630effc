//! Answers on their way back: subjects the server made up for requests to an account, and where
//! what is published to them goes (AUTH-36).

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashMap;
use smallvec::SmallVec;

use super::export::ServiceExport;
use crate::ids::{AccountId, Slot};
use crate::options::ResponseType;
use crate::routing::subject::pattern_matches;
use crate::time::Nanos;

/// What every such subject begins with.
pub const PREFIX: &[u8] = b"_R_.";
/// Characters of each of its two tokens.
const TOKEN: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Requests without an answer one account may have on one shard. Of what is beyond, the requester
/// hears that nobody is there: about 200 MB, and a service that never answers.
pub const OPEN_MAX: usize = 1 << 20;
/// Bytes of a request's two subjects that need no allocation.
const SUBJECTS_USUAL: usize = 88;

type Token = [u8; TOKEN];

/// The requests to one account that wait for answers on one shard.
#[derive(Debug)]
pub struct Replies {
    token: Token,
    open: HashMap<Token, Reply, ahash::RandomState>,
}

/// Where an answer goes.
#[derive(Debug)]
pub struct Reply {
    /// The account that asked.
    pub account: AccountId,
    /// Who asked; `None` if it was no connection.
    pub requester: Option<Slot>,
    /// The service.
    pub export: Arc<ServiceExport>,
    /// When it was asked, or last answered.
    pub at: Nanos,
    /// It is measured.
    pub measured: Option<Box<Measured>>,
    reply_len: usize,
    subjects: SmallVec<[u8; SUBJECTS_USUAL]>,
}

/// What a measured request must remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The requester lets itself be seen.
    pub share: bool,
    /// The tracing headers of the request: names and values.
    pub header: Vec<(String, String)>,
}

impl Reply {
    /// Of a request on `subject` that was to be answered on `reply`.
    pub fn new(
        account: AccountId,
        requester: Option<Slot>,
        export: &Arc<ServiceExport>,
        at: Nanos,
        (subject, reply): (&[u8], &[u8]),
    ) -> Self {
        let mut subjects = SmallVec::from_slice(reply);
        subjects.extend_from_slice(subject);
        Self {
            account,
            requester,
            export: Arc::clone(export),
            at,
            measured: None,
            reply_len: reply.len(),
            subjects,
        }
    }

    /// The subject the requester waits on.
    pub fn reply(&self) -> &[u8] {
        &self.subjects[..self.reply_len]
    }

    /// The subject the requester asked on.
    pub fn subject(&self) -> &[u8] {
        &self.subjects[self.reply_len..]
    }

    fn due(&self) -> Nanos {
        self.at + self.export.threshold
    }
}

impl Replies {
    /// None yet; `random` makes the subjects of this account and shard its own.
    pub fn new(random: u64) -> Self {
        Self {
            token: token(random),
            open: HashMap::default(),
        }
    }

    /// What all its subjects match.
    pub fn pattern(&self) -> Vec<u8> {
        [PREFIX, &self.token, b".>"].concat()
    }

    /// Requests open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// The subjects its answers go to, each with its request.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, &Reply)> {
        self.open.iter().map(|(token, reply)| {
            let subject = [PREFIX, &self.token, b".", token].concat();
            (subject, reply)
        })
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Remembers a request and writes the subject for its answers. False if there are too many.
    /// `random` must be nobody's to guess: who knows the subject may answer.
    pub fn open(&mut self, reply: Reply, random: u64, subject: &mut Vec<u8>) -> bool {
        let token = token(random);
        if self.open.len() >= OPEN_MAX || self.open.contains_key(&token) {
            return false;
        }
        subject.extend_from_slice(PREFIX);
        subject.extend_from_slice(&self.token);
        subject.push(b'.');
        subject.extend_from_slice(&token);
        self.open.insert(token, reply);
        true
    }

    /// The request that a message on `subject` answers.
    pub fn find(&mut self, subject: &[u8]) -> Option<&mut Reply> {
        self.open.get_mut(&self.token_of(subject)?)
    }

    /// Forgets a request.
    pub fn close(&mut self, subject: &[u8]) -> Option<Reply> {
        self.open.remove(&self.token_of(subject)?)
    }

    /// Forgets what is out of time, and says when the next will be at the earliest.
    pub fn expire(&mut self, now: Nanos, gone: &mut Vec<Reply>) -> Option<Nanos> {
        let mut next: Option<Nanos> = None;
        let expired = self.open.extract_if(|_, reply| {
            let due = reply.due();
            if due > now {
                next = Some(next.map_or(due, |it| it.min(due)));
            }
            due <= now
        });
        gone.extend(expired.map(|(_, reply)| reply));
        next
    }

    /// Forgets the measured requests of a connection.
    pub fn abandon(&mut self, requester: Slot, gone: &mut Vec<Reply>) {
        let left = |reply: &Reply| reply.requester == Some(requester) && reply.measured.is_some();
        let expired = self.open.extract_if(|_, reply| left(reply));
        gone.extend(expired.map(|(_, reply)| reply));
    }

    /// Forgets the measured requests of an account whose answers would go to a subject that matches
    /// `pattern` and that nobody hears any more.
    pub fn unheard(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        mut heard: impl FnMut(&[u8]) -> bool,
        gone: &mut Vec<Reply>,
    ) {
        let lost = self.open.extract_if(|_, it| {
            let waits = it.account == account && it.measured.is_some();
            waits && pattern_matches(pattern, it.reply()) && !heard(it.reply())
        });
        gone.extend(lost.map(|(_, reply)| reply));
    }

    fn token_of(&self, subject: &[u8]) -> Option<Token> {
        let rest = subject.strip_prefix(PREFIX)?;
        let rest = rest.strip_prefix(&self.token)?.strip_prefix(b".")?;
        let (token, rest) = rest.split_first_chunk::<TOKEN>()?;
        (rest.is_empty() || rest[0] == b'.').then_some(*token)
    }
}

/// Is that the last answer to a request of this kind? An empty one ends every kind.
pub fn is_last(response: ResponseType, empty: bool) -> bool {
    response == ResponseType::Singleton || empty
}

/// A wait between two looks at what is out of time: often enough for the shortest threshold, and
/// not so often that many that wait long are looked at all the time.
pub fn pause(next: Nanos, now: Nanos) -> Nanos {
    next.max(now + Duration::from_millis(50))
}

fn token(random: u64) -> Token {
    let mut rest = random;
    std::array::from_fn(|_| {
        let digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
        digit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::ExportOptions;

    fn export(threshold: u64) -> Arc<ServiceExport> {
        let options = ExportOptions {
            threshold: Some(Duration::from_nanos(threshold)),
            ..ExportOptions::default()
        };
        Arc::new(ServiceExport::new(AccountId(1), &options))
    }

    fn reply(at: u64, threshold: u64) -> Reply {
        let subjects = (&b"ask"[..], &b"_INBOX.1"[..]);
        Reply::new(AccountId(2), None, &export(threshold), Nanos(at), subjects)
    }

    #[test]
    fn auth_036_subjects_lead_back_once() {
        let mut replies = Replies::new(5);
        let mut subject = Vec::new();
        assert!(replies.open(reply(0, 1), 77, &mut subject));
        assert_eq!(subject.len(), 4 + 6 + 1 + 6);
        assert!(!replies.open(reply(0, 1), 77, &mut Vec::new()), "taken");
        let found = replies.find(&subject).expect("open");
        assert_eq!(
            (found.reply(), found.subject()),
            (&b"_INBOX.1"[..], &b"ask"[..])
        );
        let measured = [&subject[..], b".abc.T"].concat();
        assert!(replies.find(&measured).is_some());
        for other in [
            &subject[1..],
            &subject[..subject.len() - 1],
            b"_R_.x.y",
            b"",
        ] {
            assert!(replies.find(other).is_none());
        }
        assert!(replies.close(&subject).is_some() && replies.close(&subject).is_none());
    }

    #[test]
    fn auth_036_what_is_out_of_time_goes() {
        let mut replies = Replies::new(5);
        for (random, threshold) in [(1, 10), (2, 30), (3, 20)] {
            assert!(replies.open(reply(100, threshold), random, &mut Vec::new()));
        }
        let mut gone = Vec::new();
        assert_eq!(replies.expire(Nanos(105), &mut gone), Some(Nanos(110)));
        assert_eq!(replies.expire(Nanos(120), &mut gone), Some(Nanos(130)));
        assert_eq!((gone.len(), replies.len()), (2, 1));
        assert_eq!(replies.expire(Nanos(130), &mut gone), None);
    }
}
