//! Which member of a queue group gets a message.

use super::interest::{Member, QueueDelivery};
use crate::ids::ShardId;

/// A choice among the members of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The member of this shard with that index.
    Local(usize),
    /// One of those on another shard, which picks in turn.
    Remote(ShardId),
    /// There is none left to choose.
    Nobody,
}

impl QueueDelivery {
    /// Chooses by a random number, each member of the server with the same chance (CORE-70).
    /// Shards in the mask `tried` have been asked in vain and are left out.
    pub fn pick(&self, random: u64, tried: u64) -> Pick {
        let remote = || self.remote.iter().filter(|(shard, _)| open(tried, *shard));
        let here = self.local.len() as u64;
        let total = match tried {
            0 => u64::from(self.total_weight),
            _ => here + remote().map(|&(_, weight)| u64::from(weight)).sum::<u64>(),
        };
        let Some(mut at) = random.checked_rem(total) else {
            return Pick::Nobody;
        };
        if at < here {
            return Pick::Local(at as usize);
        }
        at -= here;
        for &(shard, weight) in remote() {
            if at < u64::from(weight) {
                return Pick::Remote(shard);
            }
            at -= u64::from(weight);
        }
        Pick::Nobody
    }

    /// The members of this shard in the order they are asked: from number `at` on, once around.
    /// One that cannot take the message is passed over (CORE-70).
    pub fn local_from(&self, at: usize) -> impl Iterator<Item = Member> {
        let at = at.checked_rem(self.local.len()).unwrap_or(0);
        let (before, from) = self.local.split_at(at);
        from.iter().chain(before).copied()
    }

    /// Another shard with links that have members, by a random number; those in the mask `tried`
    /// have been asked in vain.
    pub fn next_link_shard(&self, random: u64, tried: u64) -> Option<ShardId> {
        let open = || {
            self.remote_links
                .iter()
                .filter(|(shard, _)| open(tried, *shard))
        };
        let total: u64 = open().map(|&(_, weight)| u64::from(weight)).sum();
        let mut at = random.checked_rem(total)?;
        for &(shard, weight) in open() {
            match at.checked_sub(u64::from(weight)) {
                Some(rest) => at = rest,
                None => return Some(shard),
            }
        }
        None
    }

    /// A shard to ask when nobody here could take the message.
    pub fn next_remote(&self, tried: u64) -> Option<ShardId> {
        let mut shards = self.remote.iter().map(|&(shard, _)| shard);
        shards.find(|&shard| open(tried, shard))
    }
}

fn open(tried: u64, shard: ShardId) -> bool {
    tried & (1 << shard.0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubscriptionId;

    fn group(local: u32, remote: &[(u8, u32)]) -> QueueDelivery {
        let member = |number| Member {
            subscription: SubscriptionId(number),
            connection: number,
        };
        let mut group = QueueDelivery::default();
        group.local = (0..local).map(member).collect();
        group.remote = remote.iter().map(|&(at, n)| (ShardId(at), n)).collect();
        group.total_weight = local + remote.iter().map(|&(_, n)| n).sum::<u32>();
        group
    }

    #[test]
    fn every_member_has_the_same_chance() {
        let group = group(2, &[(3, 1), (63, 3)]);
        let picks: Vec<Pick> = (60..66).map(|random| group.pick(random, 0)).collect();
        let [three, last] = [3, 63].map(|shard| Pick::Remote(ShardId(shard)));
        assert_eq!(
            picks,
            [Pick::Local(0), Pick::Local(1), three, last, last, last]
        );
    }

    #[test]
    fn shards_asked_in_vain_are_left_out() {
        let group = group(1, &[(0, 1), (63, 1)]);
        let tried = 1 << 63;
        let picks: Vec<Pick> = (0..3).map(|random| group.pick(random, tried)).collect();
        let first = Pick::Remote(ShardId(0));
        assert_eq!(picks, [Pick::Local(0), first, Pick::Local(0)]);
        assert_eq!(group.next_remote(1), Some(ShardId(63)));
        assert_eq!(group.next_remote(tried | 1), None);
    }

    #[test]
    fn a_group_without_members_picks_nobody() {
        assert_eq!(group(0, &[]).pick(7, 0), Pick::Nobody);
        assert_eq!(group(0, &[(1, 4)]).pick(7, 0b10), Pick::Nobody);
        assert_eq!(group(0, &[]).local_from(3).count(), 0);
    }

    #[test]
    fn all_members_here_are_asked_once_from_the_chosen_on() {
        let group = group(3, &[]);
        let asked = group.local_from(4).map(|member| member.connection);
        assert_eq!(asked.collect::<Vec<_>>(), [1, 2, 0]);
    }
}
