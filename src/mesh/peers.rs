//! One shard's view of the others: what it is about to tell each, what each has applied, and
//! which of its connections wait for that.

use std::collections::VecDeque;

use crate::ids::{AccountId, ShardId, Slot};
use crate::limits;
use crate::mesh::batch::Batch;

/// The other shards, by their id; the place of the shard itself stays unused.
pub struct Peers {
    own: ShardId,
    peers: Vec<Peer>,
    /// Interest changes and marks told to the others so far: each goes to all of them.
    interest_sent: u64,
    /// Connections waiting at the barrier with the count they wait for, ascending.
    waiting: VecDeque<(u64, Slot)>,
}

#[derive(Default)]
struct Peer {
    outgoing: Box<Batch>,
    /// Our interest changes it has applied.
    acknowledged: u64,
    /// Its interest changes we have applied.
    applied: u64,
    /// What we told it last of `applied`.
    told: u64,
    /// It waits for us to tell.
    answer_owed: bool,
    /// Our connections held back until the batch for it has left.
    stalled: Vec<Slot>,
}

impl Peers {
    /// The view of shard `own` of `shards`.
    pub fn new(own: ShardId, shards: usize) -> Self {
        let peers = (0..shards).map(|_| Peer::default()).collect();
        Self {
            own,
            peers,
            interest_sent: 0,
            waiting: VecDeque::new(),
        }
    }

    /// The others' ids.
    pub fn others(&self) -> impl Iterator<Item = ShardId> + use<> {
        let own = self.own;
        (0..self.peers.len())
            .map(|index| ShardId(index as u8))
            .filter(move |&id| id != own)
    }

    /// The batch being filled for `shard`.
    pub fn outgoing(&mut self, shard: ShardId) -> &mut Batch {
        &mut self.peers[usize::from(shard.0)].outgoing
    }

    /// Tells all others of a change of interest.
    pub fn broadcast_interest(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        weight: u32,
    ) {
        for shard in self.others() {
            self.outgoing(shard)
                .interest(account, pattern, queue, weight);
        }
        self.interest_sent += 1;
    }

    /// Has those of the others whose bits are set wake for what they were told.
    pub fn wake(&mut self, shards: u64) {
        for shard in self.others().filter(|it| shards & 1 << it.0 != 0) {
            self.outgoing(shard).urgent = true;
        }
    }

    /// Tells all others of a change of what links want, see [`Batch::links`].
    pub fn broadcast_links(
        &mut self,
        account: AccountId,
        what: (&[u8], Option<&[u8]>),
        origin: (u64, bool),
        weight: u32,
    ) {
        for shard in self.others() {
            self.outgoing(shard).links(account, what, origin, weight);
        }
        self.interest_sent += 1;
    }

    /// Wakes those shards, for what they were told before, too.
    pub fn prod(&mut self, shards: u64) {
        for shard in self.others().filter(|it| shards & 1 << it.0 != 0) {
            let batch = self.outgoing(shard);
            batch.urgent = true;
            batch.answer_wanted = true;
        }
    }

    /// Tells all others to acknowledge what they were told before.
    pub fn broadcast_mark(&mut self) {
        for shard in self.others() {
            self.outgoing(shard).mark();
        }
        self.interest_sent += 1;
    }

    /// The count a connection must wait for after a change of its interest.
    pub fn interest_sent(&self) -> u64 {
        self.interest_sent
    }

    /// Have all others applied our first `mark` changes?
    pub fn reached(&self, mark: u64) -> bool {
        self.others()
            .all(|shard| self.peers[usize::from(shard.0)].acknowledged >= mark)
    }

    /// Lets `slot` wait until [`Peers::reached`] holds for `mark`, and asks the others to hurry.
    pub fn wait(&mut self, mark: u64, slot: Slot) {
        // Kept in ascending order: a connection that changed its interest some time ago waits
        // for less than the newest.
        let at = self.waiting.partition_point(|&(other, _)| other <= mark);
        self.waiting.insert(at, (mark, slot));
        self.hurry(mark);
    }

    /// Asks the others to say soon that they have applied our first `mark` changes.
    pub fn hurry(&mut self, mark: u64) {
        for shard in self.others() {
            let peer = &mut self.peers[usize::from(shard.0)];
            if peer.acknowledged < mark {
                peer.outgoing.answer_wanted = true;
                peer.outgoing.urgent = true;
            }
        }
    }

    /// The next connection whose wait is over.
    pub fn next_reached(&mut self) -> Option<Slot> {
        let &(mark, slot) = self.waiting.front()?;
        if !self.reached(mark) {
            return None;
        }
        self.waiting.pop_front();
        Some(slot)
    }

    /// A batch of `shard` came in: notes what it says of our interest changes.
    pub fn received(&mut self, shard: ShardId, batch: &Batch) {
        let peer = &mut self.peers[usize::from(shard.0)];
        assert!(batch.applied >= peer.acknowledged && batch.applied <= self.interest_sent);
        peer.acknowledged = batch.applied;
    }

    /// A batch of `shard` has been applied to its end: only now is it answered, and the answer says
    /// all of it.
    pub fn finished(&mut self, shard: ShardId, batch: &Batch) {
        self.peers[usize::from(shard.0)].answer_owed |= batch.answer_wanted;
    }

    /// One interest change of `shard` has been applied.
    pub fn applied(&mut self, shard: ShardId) {
        self.peers[usize::from(shard.0)].applied += 1;
    }

    /// The batch to hand to `shard` now, if there is anything to say; `spare` takes its place.
    pub fn take(
        &mut self,
        shard: ShardId,
        spare: impl FnOnce() -> Box<Batch>,
    ) -> Option<Box<Batch>> {
        let peer = &mut self.peers[usize::from(shard.0)];
        if peer.answer_owed {
            peer.outgoing.urgent |= peer.told < peer.applied;
        } else if peer.outgoing.is_empty() && !peer.outgoing.answer_wanted {
            return None;
        }
        let mut batch = std::mem::replace(&mut peer.outgoing, spare());
        batch.applied = peer.applied;
        peer.told = peer.applied;
        peer.answer_owed = false;
        Some(batch)
    }

    /// Is there anything [`Peers::take`] would hand over?
    pub fn has_batch(&self, shard: ShardId) -> bool {
        let peer = &self.peers[usize::from(shard.0)];
        peer.answer_owed || !peer.outgoing.is_empty() || peer.outgoing.answer_wanted
    }

    /// Is the batch for `shard` so full that whoever adds to it must wait?
    pub fn congested(&self, shard: ShardId) -> bool {
        self.peers[usize::from(shard.0)].outgoing.len() >= limits::BATCH_HIGH
    }

    /// Holds `slot` back until the batch for `shard` has left. False if it is already.
    pub fn stall(&mut self, shard: ShardId, slot: Slot) -> bool {
        let stalled = &mut self.peers[usize::from(shard.0)].stalled;
        let first = !stalled.contains(&slot);
        if first {
            stalled.push(slot);
        }
        first
    }

    /// Connections that may go on because the batch for `shard` has left.
    pub fn take_stalled(&mut self, shard: ShardId, into: &mut Vec<Slot>) {
        into.append(&mut self.peers[usize::from(shard.0)].stalled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_is_reached_when_every_other_shard_has_applied() {
        let mut peers = Peers::new(ShardId(1), 3);
        let slot = Slot {
            index: 4,
            generation: 0,
        };
        assert!(peers.reached(peers.interest_sent()));
        peers.broadcast_interest(AccountId::GLOBAL, b"a", None, 1);
        let mark = peers.interest_sent();
        peers.wait(mark, slot);
        assert_eq!(peers.next_reached(), None);
        for shard in [ShardId(0), ShardId(2)] {
            let batch = peers.take(shard, Box::default).expect("interest waits");
            assert!(batch.urgent && batch.answer_wanted);
            assert_eq!(batch.items().count(), 1);
            assert_eq!(peers.next_reached(), None);
            let mut answer = Batch::default();
            answer.applied = 1;
            peers.received(shard, &answer);
        }
        assert_eq!(peers.next_reached(), Some(slot));
        assert!(peers.take(ShardId(0), Box::default).is_none());
    }

    #[test]
    fn an_answer_is_given_even_with_nothing_else_to_say() {
        let mut peers = Peers::new(ShardId(0), 2);
        let mut question = Batch::default();
        question.answer_wanted = true;
        peers.received(ShardId(1), &question);
        peers.applied(ShardId(1));
        assert!(!peers.has_batch(ShardId(1)), "it is not finished");
        peers.finished(ShardId(1), &question);
        let batch = peers
            .take(ShardId(1), Box::default)
            .expect("an answer is owed");
        assert_eq!((batch.applied, batch.urgent), (1, true));
    }
}
