//! Replies a responder may give: the reply subjects of requests delivered to it (AUTH-14, AUTH-15).

use std::collections::HashMap;
use std::time::Duration;

use smallvec::SmallVec;

use crate::options::ResponsePermission;
use crate::time::Nanos;

/// Requests remembered before those out of time are looked for.
const PRUNE_AT: usize = 1024;
/// Requests remembered at most, in about 8 MiB: a responder that never answers must not fill the
/// memory. Beyond it the older half is forgotten, whose answers are the least likely to come.
const REQUESTS_MAX: usize = 64 * 1024;
/// Bytes of a reply subject that need no allocation: the usual inbox takes 38.
const REPLY_LEN_USUAL: usize = 56;

/// Requests one connection may still answer.
///
/// A second request with the same reply subject starts anew with all its answers. (In stock its
/// delivery uses up one of the first one's: two requests and `max: 1` leave no answer at all.)
#[derive(Debug)]
pub struct Responses {
    grant: ResponsePermission,
    open: HashMap<SmallVec<[u8; REPLY_LEN_USUAL]>, Open, ahash::RandomState>,
    prune_at: usize,
}

/// A request with answers left.
#[derive(Debug)]
struct Open {
    delivered_at: Nanos,
    /// `None` is any number.
    answers_left: Option<i64>,
}

impl Responses {
    /// None yet. Of `grant`, fewer than one answer per request are any number.
    pub fn new(grant: ResponsePermission) -> Self {
        Self {
            grant,
            open: HashMap::default(),
            prune_at: PRUNE_AT,
        }
    }

    /// A request with this reply subject was delivered. To be called where the responder may not
    /// publish to it anyway; otherwise it only takes room.
    pub fn grant(&mut self, reply: &[u8], now: Nanos) {
        if self.open.len() >= self.prune_at {
            self.prune(now);
        }
        let open = Open {
            delivered_at: now,
            answers_left: Some(self.grant.max_msgs).filter(|&max| max > 0),
        };
        self.open.insert(reply.into(), open);
    }

    /// May it publish to this subject as an answer? Counts it if so.
    pub fn take(&mut self, subject: &[u8], now: Nanos) -> bool {
        let Some(open) = self.open.get_mut(subject) else {
            return false;
        };
        let expired = open.expired(self.grant.expires, now);
        let last = match &mut open.answers_left {
            Some(left) => {
                *left -= 1;
                *left == 0
            }
            None => false,
        };
        // At once, so that what a busy responder answers does not add up.
        if expired || last {
            self.open.remove(subject);
        }
        !expired
    }

    /// Forgets what is out of time, and more if that does not help. Its cost is spread over the
    /// grants since the last time: there are as many as there were requests left then.
    fn prune(&mut self, now: Nanos) {
        let expires = self.grant.expires;
        self.open.retain(|_, open| !open.expired(expires, now));
        if self.open.len() > REQUESTS_MAX / 2 {
            let mut times = self
                .open
                .values()
                .map(|it| it.delivered_at)
                .collect::<Vec<_>>();
            let (_, &mut median, _) = times.select_nth_unstable(self.open.len() / 2);
            // Many may have come at the same time: of those, any.
            let mut room = REQUESTS_MAX / 2;
            self.open.retain(|_, open| {
                let keep = open.delivered_at >= median && room > 0;
                room -= usize::from(keep);
                keep
            });
        }
        self.prune_at = (self.open.len() * 2).clamp(PRUNE_AT, REQUESTS_MAX);
    }
}

impl Open {
    fn expired(&self, expires: Option<Duration>, now: Nanos) -> bool {
        expires.is_some_and(|expires| now.since(self.delivered_at) > expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn responses(max_msgs: i64, expires: Option<Duration>) -> Responses {
        Responses::new(ResponsePermission { max_msgs, expires })
    }

    fn minute() -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    #[test]
    fn as_many_answers_as_granted() {
        for max in [1, 2, 5] {
            let mut responses = responses(max, minute());
            assert!(!responses.take(b"r", Nanos(0)), "nothing was asked");
            responses.grant(b"r", Nanos(0));
            for _ in 0..max {
                assert!(responses.take(b"r", Nanos(1)));
            }
            assert!(!responses.take(b"r", Nanos(1)) && !responses.take(b"r.x", Nanos(1)));
            responses.grant(b"r", Nanos(2));
            responses.grant(b"r", Nanos(2));
            assert!(responses.take(b"r", Nanos(3)));
        }
        let mut any = responses(-1, minute());
        any.grant(b"r", Nanos(0));
        assert!((0..1_000).all(|_| any.take(b"r", Nanos(1))));
    }

    #[test]
    fn until_they_expire_counted_from_delivery() {
        let mut responses = responses(9, minute());
        responses.grant(b"r", Nanos(5 * SECOND));
        assert!(responses.take(b"r", Nanos(60 * SECOND)));
        assert!(responses.take(b"r", Nanos(65 * SECOND)));
        assert!(!responses.take(b"r", Nanos(65 * SECOND + 1)));
        assert!(!responses.take(b"r", Nanos(6 * SECOND)), "it is gone");
        let mut forever = self::responses(1, None);
        forever.grant(b"r", Nanos(0));
        assert!(forever.take(b"r", Nanos(u64::MAX)));
    }

    /// What is answered leaves nothing behind, however much it is.
    #[test]
    fn answered_requests_take_no_room() {
        let mut responses = responses(1, None);
        for number in 0..3 * REQUESTS_MAX as u64 {
            let reply = format!("_INBOX.{number}");
            responses.grant(reply.as_bytes(), Nanos(number));
            assert!(responses.take(reply.as_bytes(), Nanos(number)), "{reply}");
        }
        assert!(responses.open.is_empty());
    }

    #[test]
    fn unanswered_requests_take_bounded_room_and_the_old_ones_go() {
        for step in [0, 1] {
            let mut responses = responses(1, None);
            let count = 3 * REQUESTS_MAX as u64;
            for number in 0..count {
                responses.grant(format!("r.{number}").as_bytes(), Nanos(number * step));
                assert!(responses.open.len() <= REQUESTS_MAX);
            }
            if step > 0 {
                let oldest_kept = count - REQUESTS_MAX as u64 / 2;
                for number in oldest_kept..count {
                    let reply = format!("r.{number}");
                    assert!(responses.take(reply.as_bytes(), Nanos(count)), "{reply}");
                }
            }
        }
        // What is out of time goes first.
        let mut responses = responses(1, Some(Duration::from_nanos(100)));
        for number in 0..100_000 {
            responses.grant(format!("r.{number}").as_bytes(), Nanos(number));
        }
        assert!(responses.open.len() <= PRUNE_AT, "{}", responses.open.len());
    }
}
