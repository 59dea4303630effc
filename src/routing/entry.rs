//! What is interested in one pattern.

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::interest::{Handler, Member};
use super::links::Links;
use crate::ids::ShardId;

/// Groups of one pattern up to which a search by name is a scan. A client may put a queue name
/// of its own on each of a million subscriptions, so beyond this there is an index.
const GROUPS_SCANNED: usize = 16;

/// Subscriptions of one kind on one pattern: mostly one, which then costs no allocation.
pub type Members = SmallVec<[Member; 2]>;

/// Everybody interested in one pattern.
#[derive(Debug, Default)]
pub struct Entry {
    /// Plain subscriptions of this shard.
    pub plain: Members,
    /// Other shards with plain subscriptions.
    pub remote_plain: u64,
    /// Parts of the server that take what is published. Mostly none, and then a pointer.
    pub handlers: Box<[Handler]>,
    /// Links to other servers with plain interest. Mostly none, and then a pointer.
    pub links: Option<Box<Links>>,
    /// Queue groups with a member anywhere, each name once.
    groups: Vec<Group>,
    /// Places in `groups` by name, if they are more than [`GROUPS_SCANNED`].
    by_name: Option<Box<HashTable<u32>>>,
}

/// One queue group on one pattern.
#[derive(Debug)]
pub struct Group {
    /// Its name.
    pub name: Box<[u8]>,
    /// The name's hash: the caller's, the same for all entries.
    pub hash: u64,
    /// Members on this shard.
    pub local: Members,
    /// Members on other shards, and how many. Each shard once, none with 0.
    pub remote: Vec<(ShardId, u32)>,
    /// Links to other servers with members. Mostly none, and then a pointer.
    pub links: Option<Box<Links>>,
}

impl Group {
    fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty() && self.links.is_none()
    }
}

impl Entry {
    /// Is nobody interested any more?
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
            && self.groups.is_empty()
            && self.remote_plain == 0
            && self.handlers.is_empty()
            && self.links.is_none()
    }

    /// Do other shards see plain interest, whatever subscriptions there are?
    pub fn announced(&self) -> bool {
        self.handlers.iter().any(|it| it.is_announced())
    }

    /// The queue groups, in no order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group of that name.
    pub fn group(&mut self, hash: u64, name: &[u8]) -> Option<&mut Group> {
        let at = self.place(hash, name)?;
        self.groups.get_mut(at)
    }

    /// The group of that name, made if it is not there. One made must get a member.
    pub fn group_or_new(&mut self, hash: u64, name: &[u8]) -> &mut Group {
        let at = self.place(hash, name).unwrap_or_else(|| {
            self.groups.push(Group {
                name: name.into(),
                hash,
                local: Members::new(),
                remote: Vec::new(),
                links: None,
            });
            self.index_last();
            self.groups.len() - 1
        });
        &mut self.groups[at]
    }

    /// Drops the group of that name if it has no member left.
    pub fn tidy_group(&mut self, hash: u64, name: &[u8]) {
        let Some(at) = self.place(hash, name) else {
            return;
        };
        if !self.groups[at].is_empty() {
            return;
        }
        self.groups.swap_remove(at);
        if self.groups.len() <= GROUPS_SCANNED / 2 {
            self.by_name = None;
        }
        let Some(index) = &mut self.by_name else {
            return;
        };
        if let Ok(gone) = index.find_entry(hash, |&place| place as usize == at) {
            gone.remove();
        }
        if let Some(moved) = self.groups.get(at) {
            let old = self.groups.len();
            if let Some(place) = index.find_mut(moved.hash, |&place| place as usize == old) {
                *place = at as u32;
            }
        }
    }

    /// Panics if the parts do not agree with each other.
    pub fn check_invariants(&self) {
        assert!(!self.is_empty(), "an entry is somebody's");
        for (at, group) in self.groups.iter().enumerate() {
            assert!(!group.is_empty(), "a group has members");
            assert!(group.remote.iter().all(|&(_, weight)| weight > 0));
            assert_eq!(self.place(group.hash, &group.name), Some(at));
        }
        if let Some(index) = &self.by_name {
            assert_eq!(index.len(), self.groups.len());
        }
    }

    fn place(&self, hash: u64, name: &[u8]) -> Option<usize> {
        let wanted = |group: &Group| group.hash == hash && *group.name == *name;
        match &self.by_name {
            None => self.groups.iter().position(wanted),
            Some(index) => index
                .find(hash, |&at| wanted(&self.groups[at as usize]))
                .map(|&at| at as usize),
        }
    }

    fn index_last(&mut self) {
        let groups = &self.groups;
        let rehash = |&at: &u32| groups[at as usize].hash;
        let add = |index: &mut HashTable<u32>, at: usize| {
            index.insert_unique(groups[at].hash, at as u32, rehash);
        };
        match &mut self.by_name {
            Some(index) => add(index, groups.len() - 1),
            None if groups.len() > GROUPS_SCANNED => {
                let mut index = HashTable::with_capacity(2 * groups.len());
                (0..groups.len()).for_each(|at| add(&mut index, at));
                self.by_name = Some(Box::new(index));
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names that share hashes, so that places are told apart by name.
    fn hash(name: u32) -> u64 {
        u64::from(name % 7) << 57 | u64::from(name % 5)
    }

    #[test]
    fn groups_are_found_while_the_index_comes_and_goes() {
        let mut entry = Entry::default();
        let name = |number: u32| number.to_string().into_bytes();
        for number in 0..100 {
            let group = entry.group_or_new(hash(number), &name(number));
            group.remote.push((ShardId(0), number + 1));
            entry.check_invariants();
        }
        // Out from the front, so that others move into the gaps.
        for number in 0..100 {
            let group = entry.group(hash(number), &name(number)).expect("there");
            assert_eq!(group.remote, [(ShardId(0), number + 1)]);
            entry.tidy_group(hash(number), &name(number));
            assert!(entry.group(hash(number), &name(number)).is_some(), "kept");
            entry
                .group_or_new(hash(number), &name(number))
                .remote
                .clear();
            entry.tidy_group(hash(number), &name(number));
            assert!(entry.group(hash(number), &name(number)).is_none());
            assert_eq!(entry.groups().len() as u32, 99 - number);
            if number < 99 {
                entry.check_invariants();
            }
        }
        assert!(entry.is_empty() && entry.by_name.is_none());
    }
}
