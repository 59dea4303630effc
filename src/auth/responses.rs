//! Replies a responder may give: the reply subjects of requests delivered to it.

use std::collections::HashMap;

use crate::options::ResponsePermission;
use crate::time::Nanos;

/// Requests remembered before expired ones are looked for.
const PRUNE_AT: usize = 1024;
/// Requests remembered at most: a responder that never answers must not fill the memory. Beyond
/// it the request is delivered but its answer refused.
const REQUESTS_MAX: usize = 64 * 1024;

/// Requests one connection may still answer.
#[derive(Debug)]
pub struct Responses {
    grant: ResponsePermission,
    open: HashMap<Box<[u8]>, Open, ahash::RandomState>,
    prune_at: usize,
}

#[derive(Debug)]
struct Open {
    delivered_at: Nanos,
    answered: i64,
}

impl Responses {
    /// None yet.
    pub fn new(grant: ResponsePermission) -> Self {
        Self {
            grant,
            open: HashMap::default(),
            prune_at: PRUNE_AT,
        }
    }

    /// A request with this reply subject was delivered.
    pub fn grant(&mut self, reply: &[u8], now: Nanos) {
        if self.open.len() >= self.prune_at {
            let grant = self.grant;
            self.open.retain(|_, open| !open.expired(&grant, now));
            self.prune_at = (self.open.len() * 2).clamp(PRUNE_AT, REQUESTS_MAX);
        }
        if self.open.len() < REQUESTS_MAX {
            self.open.insert(
                reply.into(),
                Open {
                    delivered_at: now,
                    answered: 0,
                },
            );
        }
    }

    /// May it publish to this subject as an answer? Counts it if so.
    pub fn take(&mut self, subject: &[u8], now: Nanos) -> bool {
        let Some(open) = self.open.get_mut(subject) else {
            return false;
        };
        let spent = self.grant.max_msgs >= 0 && open.answered >= self.grant.max_msgs;
        if spent || open.expired(&self.grant, now) {
            self.open.remove(subject);
            return false;
        }
        open.answered += 1;
        true
    }
}

impl Open {
    fn expired(&self, grant: &ResponsePermission, now: Nanos) -> bool {
        grant
            .expires
            .is_some_and(|expires| now.since(self.delivered_at) > expires)
    }
}
