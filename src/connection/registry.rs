//! A shard's connections and subscriptions by index.

use hashbrown::HashTable;

use std::sync::Arc;

use crate::accounts::import::StreamImport;
use crate::connection::connection::Connection;
use crate::ids::{AccountId, Slot, SubscriptionId};
use crate::routing::subject;

/// The connections of a shard. An index is reused once its connection is gone for good.
#[derive(Default)]
pub struct Connections {
    entries: Vec<Entry>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Default)]
struct Entry {
    generation: u32,
    connection: Option<Box<Connection>>,
}

impl Connections {
    /// Adds the connection that `make` builds for its slot.
    pub fn insert(&mut self, make: impl FnOnce(Slot) -> Connection) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::default());
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        let slot = Slot {
            index,
            generation: entry.generation,
        };
        entry.connection = Some(Box::new(make(slot)));
        self.len += 1;
        slot
    }

    /// The connection at an index.
    pub fn at(&mut self, index: u32) -> Option<&mut Connection> {
        self.entries
            .get_mut(index as usize)?
            .connection
            .as_deref_mut()
    }

    /// The connection of a slot, to look at.
    pub fn get(&self, slot: Slot) -> Option<&Connection> {
        let entry = self.entries.get(slot.index as usize)?;
        entry.connection.as_deref().filter(|it| it.slot == slot)
    }

    /// The connection of a slot, unless it has gone and another one sits there.
    pub fn of(&mut self, slot: Slot) -> Option<&mut Connection> {
        self.at(slot.index)
            .filter(|connection| connection.slot == slot)
    }

    /// Takes a connection out for good; its index may be reused.
    pub fn remove(&mut self, index: u32) -> Option<Box<Connection>> {
        let entry = self.entries.get_mut(index as usize)?;
        let connection = entry.connection.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        self.len -= 1;
        Some(connection)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.entries
            .iter()
            .filter_map(|entry| entry.connection.as_deref())
    }
}

/// A client's subscription.
#[derive(Debug)]
pub struct Subscription {
    /// Index of its connection.
    pub connection: u32,
    /// Account whose subjects it is for.
    pub account: AccountId,
    subject_len: u32,
    /// `HMSG <subject> <sid> `: the front of what is delivered, as one piece, because a literal
    /// subject's deliveries all begin with it.
    head: Box<[u8]>,
    literal: bool,
    /// Queue group.
    pub queue: Option<Box<[u8]>>,
    /// Messages after which it ends; 0 is never.
    pub max: u64,
    /// Messages delivered, counted from the SUB (CORE-36).
    pub delivered: u64,
    /// It stands for a subscription of another account.
    pub shadow: Option<Box<Shadow>>,
    /// Each message must be checked against its user's deny list (AUTH-12).
    pub filtered: bool,
}

/// What stands in front of the subject in [`Subscription`]'s head.
const VERB: &[u8] = b"HMSG ";

impl Subscription {
    /// A subscription of the connection at an index that has had no message.
    pub fn new(
        connection: u32,
        account: AccountId,
        subject: &[u8],
        queue: Option<&[u8]>,
        sid: &[u8],
    ) -> Self {
        Self {
            connection,
            account,
            subject_len: subject.len() as u32, // bounded by `max_control_line`
            head: [VERB, subject, b" ", sid, b" "].concat().into(),
            literal: subject::is_literal(subject),
            queue: queue.map(Into::into),
            max: 0,
            delivered: 0,
            shadow: None,
            filtered: false,
        }
    }

    /// Subject or pattern.
    pub fn subject(&self) -> &[u8] {
        &self.head[VERB.len()..VERB.len() + self.subject_len as usize]
    }

    /// The client's name for it.
    pub fn sid(&self) -> &[u8] {
        &self.head[VERB.len() + self.subject_len as usize + 1..self.head.len() - 1]
    }

    /// Appends the front of a delivery on `subject`, up to and with the blank after the sid.
    #[inline]
    pub fn push_head(&self, out: &mut Vec<u8>, subject: &[u8], has_header: bool) {
        let skip = usize::from(!has_header); // MSG, not HMSG
        if self.literal {
            out.extend_from_slice(&self.head[skip..]);
        } else {
            out.extend_from_slice(&VERB[skip..]);
            out.extend_from_slice(subject);
            out.extend_from_slice(&self.head[VERB.len() + self.subject_len as usize..]);
        }
    }
}

/// What makes a subscription a shadow: it takes messages of an exporting account for a
/// subscription of an importing one (AUTH-32).
#[derive(Debug)]
pub struct Shadow {
    /// The subscription it stands for.
    pub of: SubscriptionId,
    /// What the exporter's messages are called there.
    pub import: Arc<StreamImport>,
}

/// The subscriptions of a shard.
#[derive(Default)]
pub struct Subscriptions {
    entries: Vec<Option<Subscription>>,
    free: Vec<SubscriptionId>,
    hasher: ahash::RandomState,
}

impl Subscriptions {
    /// Adds one and enters its sid into its connection's table.
    pub fn insert(
        &mut self,
        subscription: Subscription,
        sids: &mut HashTable<SubscriptionId>,
    ) -> SubscriptionId {
        let hash = self.hasher.hash_one(subscription.sid());
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            SubscriptionId((self.entries.len() - 1) as u32)
        });
        self.entries[id.0 as usize] = Some(subscription);
        let (entries, hasher) = (&self.entries, &self.hasher);
        sids.insert_unique(hash, id, |&id| match &entries[id.0 as usize] {
            Some(subscription) => hasher.hash_one(subscription.sid()),
            None => 0, // not reached: a table holds only live subscriptions
        });
        id
    }

    /// Adds one that no sid leads to.
    pub fn insert_unnamed(&mut self, subscription: Subscription) -> SubscriptionId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            SubscriptionId((self.entries.len() - 1) as u32)
        });
        self.entries[id.0 as usize] = Some(subscription);
        id
    }

    /// Takes one out that no sid leads to.
    pub fn remove_unnamed(&mut self, id: SubscriptionId) -> Option<Subscription> {
        let subscription = self.entries.get_mut(id.0 as usize)?.take()?;
        self.free.push(id);
        Some(subscription)
    }

    /// The subscription of that sid.
    pub fn find(&self, sid: &[u8], sids: &HashTable<SubscriptionId>) -> Option<SubscriptionId> {
        let hash = self.hasher.hash_one(sid);
        sids.find(hash, |&id| self.get(id).is_some_and(|it| it.sid() == sid))
            .copied()
    }

    /// Takes one out, and its sid out of its connection's table.
    pub fn remove(
        &mut self,
        id: SubscriptionId,
        sids: &mut HashTable<SubscriptionId>,
    ) -> Option<Subscription> {
        let subscription = self.entries.get_mut(id.0 as usize)?.take()?;
        let hash = self.hasher.hash_one(subscription.sid());
        if let Ok(entry) = sids.find_entry(hash, |&found| found == id) {
            entry.remove();
        }
        self.free.push(id);
        Some(subscription)
    }

    /// One of them.
    pub fn get(&self, id: SubscriptionId) -> Option<&Subscription> {
        self.entries.get(id.0 as usize)?.as_ref()
    }

    /// One of them, to change.
    pub fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Subscription> {
        self.entries.get_mut(id.0 as usize)?.as_mut()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.entries.iter().flatten()
    }
}
