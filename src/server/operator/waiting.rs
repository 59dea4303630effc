//! Connections that wait for accounts.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::ids::{ShardId, Slot};
use crate::io::Socket;
use crate::limits;
use crate::shard::control::{Control, Post};
use crate::shard::internal::AccountSought;

/// Longest wait of one connection, however many accounts are looked for before its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who waits, and until when.
type Waiter = (ShardId, Slot, Instant);

/// Who waits for which account.
pub(in crate::server) struct Waiting {
    posts: Vec<Post<Socket>>,
    by_account: HashMap<String, Vec<Waiter>>,
}

impl Waiting {
    pub fn new(posts: Vec<Post<Socket>>) -> Self {
        Self {
            posts,
            by_account: HashMap::new(),
        }
    }

    /// Somebody waits. True if the account is to be looked for: nobody has asked for it yet.
    /// Whoever is one too many does not wait.
    pub fn add(&mut self, sought: &AccountSought) -> bool {
        let who = (sought.shard, sought.slot, Instant::now() + PATIENCE);
        if let Some(others) = self.by_account.get_mut(&sought.key) {
            others.push(who);
            return false;
        }
        if self.by_account.len() >= limits::SEARCHES_MAX {
            self.tell(&[who]);
            return false;
        }
        self.by_account.insert(sought.key.clone(), vec![who]);
        true
    }

    /// The account has been looked for.
    pub fn done(&mut self, key: &str) {
        if let Some(those) = self.by_account.remove(key) {
            self.tell(&those);
        }
    }

    /// Those whose patience has ended wait no more; their accounts are looked for all the same.
    pub fn give_up(&mut self, now: Instant) {
        let all = self.by_account.values_mut();
        let late: Vec<Waiter> = all
            .flat_map(|those| those.extract_if(.., |it| it.2 <= now))
            .collect();
        self.tell(&late);
    }

    /// Nobody waits any more: accounts are looked for elsewhere from now on.
    pub fn end(&mut self) {
        let all: Vec<Waiter> = self
            .by_account
            .drain()
            .flat_map(|(_, those)| those)
            .collect();
        self.tell(&all);
    }

    fn tell(&self, those: &[Waiter]) {
        for &(shard, slot, _) in those {
            if let Some(post) = self.posts.get(usize::from(shard.0)) {
                post.send(Control::Sought(slot));
            }
        }
    }
}
