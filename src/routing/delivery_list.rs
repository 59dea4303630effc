//! The list of receivers a subject leads to, and how it is put together.

use hashbrown::HashTable;

use super::entry::{Entry, Group};
use super::interest::{Handler, Member};
use super::links::LinkMember;
use crate::ids::ShardId;

/// Groups of a list up to which a search by name is a scan.
const GROUPS_SCANNED: usize = 16;
/// Queue groups whose buffers wait to be used again. A list that is replaced gives its groups
/// back and the next takes as many, so a few hundred cover what lists differ by.
const SPARE_MAX: usize = 512;
/// Receivers a buffer keeps room for, whatever its next list needs: less is not worth a
/// reallocation.
const KEPT_RECEIVERS: usize = 64;

/// What a subject leads to.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Plain subscriptions here.
    pub plain: Vec<Member>,
    /// Queue groups, one for each name over all patterns that match (CORE-69).
    pub queues: Vec<QueueDelivery>,
    /// Other shards with plain subscriptions, a bit for each.
    pub remote_plain: u64,
    /// Parts of the server that take it.
    pub handlers: Vec<Handler>,
    /// Links of this shard with plain interest; one may stand here several times.
    pub links: Vec<Member>,
}

/// One queue group a subject leads to.
#[derive(Debug, Default)]
pub struct QueueDelivery {
    /// Its name.
    pub name: Vec<u8>,
    /// Members here.
    pub local: Vec<Member>,
    /// Members on other shards, and how many. Each shard once, none with 0.
    pub remote: Vec<(ShardId, u32)>,
    /// Members here and on other shards.
    pub total_weight: u32,
    /// Links of this shard with members, asked where no other member can take a message.
    pub links: Vec<LinkMember>,
    /// Other shards with such links, and their weight. Each shard once.
    pub remote_links: Vec<(ShardId, u32)>,
    hash: u64,
}

impl Delivery {
    /// Does it lead nowhere?
    #[inline]
    pub fn is_nobody(&self) -> bool {
        self.plain.is_empty()
            && self.queues.is_empty()
            && self.remote_plain == 0
            && self.handlers.is_empty()
            && self.links.is_empty()
    }

    /// Its one receiver, where that is a plain subscription here.
    #[inline]
    pub fn only(&self) -> Option<Member> {
        match self.plain[..] {
            [member]
                if self.queues.is_empty() && self.remote_plain == 0 && self.links.is_empty() =>
            {
                Some(member)
            }
            _ => None,
        }
    }

    /// Receivers of one message.
    pub fn fanout(&self) -> u64 {
        self.plain.len() as u64
            + self.queues.len() as u64
            + u64::from(self.remote_plain.count_ones())
            + self.handlers.len() as u64
            + self.links.len() as u64
    }

    /// Bytes its buffers take.
    pub(super) fn held_bytes(&self) -> usize {
        let groups = self.queues.iter().map(QueueDelivery::held_bytes);
        size_of::<Member>() * (self.plain.capacity() + self.links.capacity())
            + size_of::<Handler>() * self.handlers.capacity()
            + size_of::<QueueDelivery>() * (self.queues.capacity() - self.queues.len())
            + groups.sum::<usize>()
    }
}

impl QueueDelivery {
    fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.name.capacity()
            + size_of::<Member>() * self.local.capacity()
            + size_of::<(ShardId, u32)>() * (self.remote.capacity() + self.remote_links.capacity())
            + size_of::<LinkMember>() * self.links.capacity()
    }
}

/// Bytes a list of these entries needs, roughly.
pub(super) fn needed_bytes<'a>(entries: impl Iterator<Item = &'a Entry>) -> usize {
    let group = |group: &Group| {
        size_of::<QueueDelivery>()
            + group.name.len()
            + size_of::<Member>() * group.local.len()
            + size_of::<(ShardId, u32)>() * group.remote.len()
            + size_of::<LinkMember>() * group.links.as_ref().map_or(0, |it| it.local.len())
    };
    entries
        .map(|entry| {
            let groups = entry.groups().iter().map(group);
            let links = entry.links.as_ref().map_or(0, |it| it.local.len());
            size_of::<Member>() * (entry.plain.len() + links) + groups.sum::<usize>()
        })
        .sum()
}

/// Puts lists together from entries, out of buffers that were used before.
#[derive(Debug, Default)]
pub(super) struct Gatherer {
    spare: Vec<QueueDelivery>,
    /// Places of the list's groups by name, when they are many.
    by_name: HashTable<u32>,
}

impl Gatherer {
    /// Replaces what a list says.
    pub fn gather<'a>(
        &mut self,
        list: &mut Delivery,
        entries: impl Iterator<Item = &'a Entry> + Clone,
    ) {
        self.clear(list, entries.clone());
        for entry in entries {
            self.add(list, entry);
        }
    }

    fn clear<'a>(&mut self, list: &mut Delivery, next: impl Iterator<Item = &'a Entry>) {
        list.plain.clear();
        if list.plain.capacity() > KEPT_RECEIVERS {
            let needed: usize = next.map(|entry| entry.plain.len()).sum();
            shrink(&mut list.plain, needed);
        }
        for mut group in list.queues.drain(..) {
            if self.spare.len() >= SPARE_MAX {
                continue;
            }
            group.local.clear();
            shrink(&mut group.local, 0);
            group.remote.clear();
            group.links.clear();
            shrink(&mut group.links, 0);
            group.remote_links.clear();
            group.name.clear();
            self.spare.push(group);
        }
        shrink(&mut list.queues, 0);
        list.remote_plain = 0;
        list.handlers.clear();
        list.links.clear();
        shrink(&mut list.links, 0);
        self.by_name.clear();
    }

    fn add(&mut self, list: &mut Delivery, entry: &Entry) {
        list.plain.extend_from_slice(&entry.plain);
        list.remote_plain |= entry.remote_plain;
        list.handlers.extend_from_slice(&entry.handlers);
        if let Some(links) = &entry.links {
            list.links.extend(links.local.iter().map(|it| it.member));
            list.remote_plain |= links.shards();
        }
        // Within an entry each name stands once: only earlier entries' groups can be the same.
        let earlier = list.queues.len();
        if earlier == 0 {
            // Exactly: most lists have one group, and a cache holds many lists.
            list.queues.reserve_exact(entry.groups().len());
        }
        for group in entry.groups() {
            let at = self.find(&list.queues[..earlier], group);
            let at = at.unwrap_or_else(|| {
                let mut queue = self.spare.pop().unwrap_or_default();
                queue.name.extend_from_slice(&group.name);
                queue.hash = group.hash;
                queue.total_weight = 0;
                list.queues.push(queue);
                list.queues.len() - 1
            });
            list.queues[at].add(group);
        }
    }

    fn find(&mut self, queues: &[QueueDelivery], group: &Group) -> Option<usize> {
        let wanted = |queue: &QueueDelivery| queue.hash == group.hash && *queue.name == *group.name;
        if queues.len() <= GROUPS_SCANNED {
            return queues.iter().position(wanted);
        }
        for at in self.by_name.len()..queues.len() {
            let rehash = |&at: &u32| queues[at as usize].hash;
            self.by_name
                .insert_unique(queues[at].hash, at as u32, rehash);
        }
        let found = self
            .by_name
            .find(group.hash, |&at| wanted(&queues[at as usize]));
        found.map(|&at| at as usize)
    }
}

impl QueueDelivery {
    fn add(&mut self, group: &Group) {
        self.local.extend_from_slice(&group.local);
        let mut weight = group.local.len() as u32;
        for &(shard, members) in &group.remote {
            weight = weight.saturating_add(members);
            match self.remote.iter_mut().find(|(known, _)| *known == shard) {
                Some((_, sum)) => *sum = sum.saturating_add(members),
                None => self.remote.push((shard, members)),
            }
        }
        self.total_weight = self.total_weight.saturating_add(weight);
        let Some(links) = &group.links else {
            return;
        };
        self.links.extend_from_slice(&links.local);
        for it in &links.remote {
            let known = &mut self.remote_links;
            match known.iter_mut().find(|(shard, _)| *shard == it.shard) {
                Some((_, sum)) => *sum = sum.saturating_add(it.weight),
                None => known.push((it.shard, it.weight)),
            }
        }
    }
}

/// Gives back what an empty buffer has far beyond its next use.
fn shrink<T>(buffer: &mut Vec<T>, needed: usize) {
    let kept = needed.max(KEPT_RECEIVERS);
    if buffer.capacity() > 2 * kept {
        buffer.shrink_to(kept);
    }
}
