//! Interest of other servers in one pattern or one of its queue groups: what came over this shard's
//! links, and what the other shards said of theirs (TOPO-29, TOPO-33).

use super::interest::Member;
use crate::ids::ShardId;

/// Of whom interest is, beyond the link it came by. It says who hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Origin {
    /// Hash of the name of the cluster over there, so that it is not told of its own interest by
    /// another link; 0 where it has none.
    pub cluster: u64,
    /// We are the leaf of that link: what a hub wants is no business of another hub.
    pub from_hub: bool,
}

impl Origin {
    /// Is a link of this origin, over which we are `spoke`, to hear of interest of `other`?
    pub fn hears_of(self, other: Self, spoke: bool) -> bool {
        !(spoke && other.from_hub) && (self.cluster == 0 || self.cluster != other.cluster)
    }
}

/// Interest that came over a link of this shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkMember {
    /// The subscription that stands for it.
    pub member: Member,
    /// Members of the queue group over there; 1 for plain interest.
    pub weight: u32,
    /// Whose it is.
    pub origin: Origin,
}

/// Interest that came over links of another shard, those of one origin together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteLinks {
    /// The shard.
    pub shard: ShardId,
    /// Whose it is.
    pub origin: Origin,
    /// Weights together; never 0.
    pub weight: u32,
}

/// All links with interest in a pattern, or a queue group of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Of this shard.
    pub local: Vec<LinkMember>,
    /// Of other shards: each shard and origin once.
    pub remote: Vec<RemoteLinks>,
}

impl Links {
    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.local.is_empty() && self.remote.is_empty()
    }

    /// Weight of this shard's links of an origin: what other shards are told.
    pub fn local_weight(&self, origin: Origin) -> u32 {
        let same = self.local.iter().filter(|it| it.origin == origin);
        same.fold(0, |sum, it| sum.saturating_add(it.weight))
    }

    /// Other shards with links, a bit for each.
    pub fn shards(&self) -> u64 {
        let remote = self.remote.iter();
        remote.fold(0, |all, it| all | 1 << it.shard.0)
    }

    /// Sets what a link of this shard wants: 0 is nothing. True if that is news.
    pub(super) fn set_local(&mut self, link: LinkMember) -> bool {
        let known = self.local.iter().position(|it| it.member == link.member);
        match known {
            Some(at) if link.weight == 0 => {
                self.local.swap_remove(at);
                true
            }
            Some(at) => std::mem::replace(&mut self.local[at].weight, link.weight) != link.weight,
            None if link.weight == 0 => false,
            None => {
                self.local.push(link);
                true
            }
        }
    }

    /// Sets what links of another shard want: 0 is nothing. True if that is news.
    pub(super) fn set_remote(&mut self, links: RemoteLinks) -> bool {
        let same = |it: &RemoteLinks| it.shard == links.shard && it.origin == links.origin;
        match self.remote.iter().position(same) {
            Some(at) if links.weight == 0 => {
                self.remote.swap_remove(at);
                true
            }
            Some(at) => {
                std::mem::replace(&mut self.remote[at].weight, links.weight) != links.weight
            }
            None if links.weight == 0 => false,
            None => {
                self.remote.push(links);
                true
            }
        }
    }
}

/// Everybody interested in a pattern or one of its queue groups, as far as links must know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reach {
    /// Members that are no links; for plain interest 1 or 0.
    pub own: u32,
    /// The links.
    pub links: Links,
}

impl Reach {
    /// What the link with these connection index and origin is told, over which we are `spoke`:
    /// the others' weights together; for plain interest not 0 if there is any.
    pub fn told(&self, connection: u32, origin: Origin, spoke: bool) -> u32 {
        let local = self.links.local.iter();
        let local = local
            .filter(|it| it.member.connection != connection && origin.hears_of(it.origin, spoke));
        let remote = self.links.remote.iter();
        let remote = remote.filter(|it| origin.hears_of(it.origin, spoke));
        let weights = local.map(|it| it.weight).chain(remote.map(|it| it.weight));
        weights.fold(self.own, u32::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SubscriptionId;

    fn link(connection: u32, weight: u32, origin: Origin) -> LinkMember {
        LinkMember {
            member: Member {
                subscription: SubscriptionId(connection),
                connection,
            },
            weight,
            origin,
        }
    }

    #[test]
    fn topo_029_031_033_who_is_told_what() {
        let plain = Origin::default();
        let cluster = |cluster| Origin {
            cluster,
            from_hub: false,
        };
        let hub = Origin {
            cluster: 0,
            from_hub: true,
        };
        let mut reach = Reach::default();
        assert!(reach.links.set_local(link(1, 2, plain)));
        assert!(!reach.links.set_local(link(1, 2, plain)));
        assert!(reach.links.set_local(link(2, 3, cluster(9))));
        assert!(reach.links.set_remote(RemoteLinks {
            shard: ShardId(3),
            origin: hub,
            weight: 5,
        }));
        assert_eq!(reach.links.shards(), 1 << 3);
        assert_eq!(reach.told(1, plain, false), 8, "all but its own");
        assert_eq!(reach.told(4, cluster(9), false), 7, "not its cluster's");
        assert_eq!(reach.told(4, plain, true), 5, "a hub not of another hub's");
        assert!(reach.links.set_local(link(1, 0, plain)));
        assert_eq!(reach.told(4, plain, true), 3);
        assert_eq!(reach.links.local_weight(cluster(9)), 3);
    }
}
