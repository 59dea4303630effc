//! Messages that were sent and not acknowledged: until when each is waited for, and which are
//! to be sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One message that is out. Times are nanoseconds of the shard's clock and may lie before its zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Sequence of its first delivery.
    pub(super) consumer_seq: u64,
    /// When its wait began.
    pub(super) at: i64,
    place: Place,
}

/// Where a message waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the queue of those that wait as long as it does.
    Timed(usize),
    /// By itself, until a time out of order.
    Odd(i64),
    /// To be sent again, under this ticket.
    Again(u64),
    /// Nowhere: taken out to be judged.
    Out,
}

/// All messages that are out, at most `max_ack_pending`, each in exactly one place.
///
/// Those that wait equally long are in one queue in the order they were sent, so nothing is ever
/// searched for who is due. A queue's items are not taken out when a message is acknowledged; what
/// no longer stands for a message is passed over, and thrown away when it is the larger part.
#[derive(Debug)]
pub(super) struct Outstanding {
    sent: BTreeMap<u64, Sent>,
    /// How long to wait, by how often a message was sent.
    waits: Vec<i64>,
    timed: Vec<VecDeque<(i64, u64)>>,
    odd: BTreeSet<(i64, u64)>,
    again: VecDeque<(u64, u64)>,
    again_count: usize,
    ticket: u64,
    /// How often each was sent again. Stays after the last attempt, until acknowledgement or the
    /// end of the message. -1 after a first delivery that reached nobody.
    pub(super) redelivered: BTreeMap<u64, i64>,
}

impl Outstanding {
    /// None out; `waits` is not empty.
    pub(super) fn new(waits: Vec<i64>) -> Self {
        Self {
            sent: BTreeMap::new(),
            timed: vec![VecDeque::new(); waits.len()],
            waits,
            odd: BTreeSet::new(),
            again: VecDeque::new(),
            again_count: 0,
            ticket: 0,
            redelivered: BTreeMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    pub(super) fn find(&self, seq: u64) -> Option<&Sent> {
        self.sent.get(&seq)
    }

    /// The first one after `seq`.
    pub(super) fn after(&self, seq: u64) -> Option<(u64, &Sent)> {
        let (seq, sent) = self.sent.range(seq.checked_add(1)?..).next()?;
        Some((*seq, sent))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Sent)> {
        self.sent.iter().map(|(seq, sent)| (*seq, sent))
    }

    /// How often this one has been sent, by the count that limits deliveries go by.
    pub(super) fn deliveries(&self, seq: u64) -> u64 {
        match self.redelivered.get(&seq) {
            Some(&count) if count >= 1 => count.unsigned_abs(),
            _ => 1,
        }
    }

    /// Counts one more attempt; gives its number.
    pub(super) fn count_delivery(&mut self, seq: u64) -> u64 {
        let count = self.redelivered.entry(seq).or_insert(0);
        *count += 1;
        let number = count.unsigned_abs() + 1;
        if *count == 0 {
            self.redelivered.remove(&seq);
        }
        number
    }

    /// The number the next attempt will have.
    pub(super) fn next_delivery(&self, seq: u64) -> u64 {
        let count = self.redelivered.get(&seq).copied().unwrap_or(0);
        u64::try_from(count + 2).unwrap_or(1)
    }

    fn class(&self, seq: u64) -> usize {
        let count = self.redelivered.get(&seq).copied().unwrap_or(0);
        usize::try_from(count)
            .unwrap_or(0)
            .min(self.waits.len() - 1)
    }

    /// How long this one is waited for.
    pub(super) fn wait(&self, seq: u64) -> i64 {
        self.waits[self.class(seq)]
    }

    /// A message was sent, or is being worked on: its wait begins now. Its sequence is that of the
    /// first delivery.
    pub(super) fn track(&mut self, seq: u64, consumer_seq: u64, now: i64) {
        let class = self.class(seq);
        let place = Place::Timed(class);
        match self.sent.get_mut(&seq) {
            Some(sent) => {
                let was = std::mem::replace(&mut sent.place, place);
                sent.at = now;
                self.left(seq, was);
            }
            None => {
                let sent = Sent {
                    consumer_seq,
                    at: now,
                    place,
                };
                self.sent.insert(seq, sent);
            }
        }
        self.timed[class].push_back((now, seq));
        self.tidy(class);
    }

    /// Its wait begins anew; if it is to be sent again, that stays.
    pub(super) fn prolong(&mut self, seq: u64, now: i64) {
        match self.sent.get_mut(&seq) {
            Some(sent) if matches!(sent.place, Place::Again(_)) => sent.at = now,
            Some(_) => self.track(seq, 0, now),
            None => {}
        }
    }

    /// Begins the wait of a message at `at`, in any order: delayed, or restored.
    pub(super) fn track_at(&mut self, seq: u64, consumer_seq: u64, at: i64) {
        let deadline = at.saturating_add(self.wait(seq));
        let place = Place::Odd(deadline);
        let consumer_seq = self
            .sent
            .get(&seq)
            .map_or(consumer_seq, |it| it.consumer_seq);
        let sent = Sent {
            consumer_seq,
            at,
            place,
        };
        if let Some(was) = self.sent.insert(seq, sent) {
            self.left(seq, was.place);
        }
        self.odd.insert((deadline, seq));
    }

    /// What a message that left `place` leaves behind there.
    fn left(&mut self, seq: u64, place: Place) {
        match place {
            Place::Odd(deadline) => {
                self.odd.remove(&(deadline, seq));
            }
            Place::Again(_) => self.again_count -= 1,
            Place::Timed(_) | Place::Out => {}
        }
        if self.again_count == 0 {
            self.again.clear();
        }
    }

    /// It is out no more. How often it was sent again stays known.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Sent> {
        let sent = self.sent.remove(&seq)?;
        self.left(seq, sent.place);
        if let Place::Timed(class) = sent.place {
            self.tidy(class);
        }
        Some(sent)
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(std::mem::take(&mut self.waits));
    }

    /// Changes how long is waited, also for those that are out. `waits` is not empty.
    pub(super) fn set_waits(&mut self, waits: Vec<i64>) {
        self.timed = vec![VecDeque::new(); waits.len()];
        self.odd.clear();
        self.waits = waits;
        let all: Vec<(u64, Sent)> = self.sent.iter().map(|(seq, sent)| (*seq, *sent)).collect();
        for (seq, sent) in all {
            if !matches!(sent.place, Place::Again(_)) {
                self.track_at(seq, sent.consumer_seq, sent.at);
            }
        }
    }

    /// Throws away what stands for nothing, if it is the larger part.
    fn tidy(&mut self, class: usize) {
        let queue = &mut self.timed[class];
        let sent = &self.sent;
        let stands = |&(at, seq): &(i64, u64)| {
            sent.get(&seq)
                .is_some_and(|it| it.at == at && it.place == Place::Timed(class))
        };
        while queue.front().is_some_and(|it| !stands(it)) {
            queue.pop_front();
        }
        if queue.len() > 2 * sent.len() + 64 {
            queue.retain(stands);
        }
    }

    /// When the first one is due.
    pub(super) fn deadline(&self) -> Option<i64> {
        let timed = self.timed.iter().zip(&self.waits);
        let timed = timed.filter_map(|(queue, wait)| Some(queue.front()?.0.saturating_add(*wait)));
        timed.chain(self.odd.first().map(|it| it.0)).min()
    }

    /// Takes out all that are due, by sequence. They are nowhere until they are tracked, sent again
    /// or removed.
    pub(super) fn take_due(&mut self, now: i64) -> Vec<u64> {
        let mut due = Vec::new();
        for class in 0..self.waits.len() {
            while let Some(&(at, seq)) = self.timed[class].front()
                && at.saturating_add(self.waits[class]) <= now
            {
                self.timed[class].pop_front();
                let stands = |it: &&mut Sent| it.at == at && it.place == Place::Timed(class);
                if let Some(sent) = self.sent.get_mut(&seq).filter(stands) {
                    sent.place = Place::Out;
                    due.push(seq);
                }
            }
            self.tidy(class);
        }
        while let Some(&(deadline, seq)) = self.odd.first()
            && deadline <= now
        {
            self.odd.pop_first();
            if let Some(sent) = self.sent.get_mut(&seq) {
                sent.place = Place::Out;
                due.push(seq);
            }
        }
        due.sort_unstable();
        due
    }

    /// Is it to be sent again?
    pub(super) fn is_again(&self, seq: u64) -> bool {
        let sent = self.sent.get(&seq);
        sent.is_some_and(|it| matches!(it.place, Place::Again(_)))
    }

    /// How many are to be sent again.
    pub(super) fn again_len(&self) -> usize {
        self.again_count
    }

    /// To be sent again, after those that already are. Must be out.
    pub(super) fn send_again(&mut self, seq: u64) {
        let Some(sent) = self.sent.get_mut(&seq) else {
            return;
        };
        if matches!(sent.place, Place::Again(_)) {
            return;
        }
        self.ticket += 1;
        let was = std::mem::replace(&mut sent.place, Place::Again(self.ticket));
        self.left(seq, was);
        self.again.push_back((seq, self.ticket));
        self.again_count += 1;
        if self.again.len() > 2 * self.again_count + 64 {
            let sent = &self.sent;
            self.again.retain(|it| {
                sent.get(&it.0)
                    .is_some_and(|its| its.place == Place::Again(it.1))
            });
        }
    }

    /// As [`send_again`](Self::send_again) for those that came due together: their waits begin now,
    /// at the distances they had.
    pub(super) fn expired(&mut self, due: &[u64], now: i64) {
        let first = due.first().and_then(|seq| self.sent.get(seq));
        let Some(shift) = first.map(|it| now.saturating_sub(it.at)) else {
            return;
        };
        for &seq in due {
            if let Some(sent) = self.sent.get_mut(&seq) {
                sent.at = sent.at.saturating_add(shift);
            }
            self.send_again(seq);
        }
    }

    /// The first to be sent again; it stays.
    pub(super) fn first_again(&mut self) -> Option<u64> {
        while let Some(&(seq, ticket)) = self.again.front() {
            let sent = self.sent.get(&seq);
            if sent.is_some_and(|it| it.place == Place::Again(ticket)) {
                return Some(seq);
            }
            self.again.pop_front();
        }
        None
    }

    /// Panics where a message is in no place or in two.
    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let count =
            |wanted: fn(&Place) -> bool| self.sent.values().filter(|it| wanted(&it.place)).count();
        assert_eq!(self.again_count, count(|it| matches!(it, Place::Again(_))));
        assert_eq!(self.odd.len(), count(|it| matches!(it, Place::Odd(_))));
        assert_eq!(count(|it| matches!(it, Place::Out)), 0);
        for (&seq, sent) in &self.sent {
            match sent.place {
                Place::Timed(class) => {
                    let queue = &self.timed[class];
                    assert!(queue.contains(&(sent.at, seq)), "{seq} is in its queue");
                }
                Place::Odd(deadline) => assert!(self.odd.contains(&(deadline, seq))),
                Place::Again(ticket) => assert!(self.again.contains(&(seq, ticket))),
                Place::Out => unreachable!("counted above"),
            }
        }
        for queue in &self.timed {
            assert!(queue.iter().is_sorted_by_key(|it| it.0), "by time");
            assert!(queue.len() <= 2 * self.sent.len() + 64, "bounded");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_200_waits_grow_with_the_backoff() {
        let mut out = Outstanding::new(vec![10, 100]);
        out.track(1, 1, 0);
        assert_eq!((out.deadline(), out.take_due(9)), (Some(10), vec![]));
        assert_eq!(out.take_due(10), [1]);
        out.expired(&[1], 10);
        assert_eq!((out.first_again(), out.deadline()), (Some(1), None));
        assert_eq!(out.count_delivery(1), 2);
        out.track(1, 9, 20);
        assert_eq!((out.first_again(), out.deadline()), (None, Some(120)));
        assert_eq!(out.find(1).map(|it| it.consumer_seq), Some(1));
        out.check_invariants();
    }

    #[test]
    fn acknowledged_messages_leave_nothing_behind() {
        let mut out = Outstanding::new(vec![1_000_000]);
        out.track(1, 1, 0);
        for seq in 2..10_000 {
            out.track(seq, seq, seq as i64);
            out.remove(seq);
            out.check_invariants();
        }
        assert!(out.timed[0].len() < 100);
    }

    #[test]
    fn one_that_is_taken_back_and_comes_again_stands_last() {
        let mut out = Outstanding::new(vec![5]);
        for seq in 1..=3 {
            out.track(seq, seq, 0);
            out.send_again(seq);
        }
        out.track_at(1, 1, 100);
        out.send_again(1);
        assert_eq!(out.first_again(), Some(2));
        out.remove(2);
        assert_eq!(out.first_again(), Some(3));
        out.remove(3);
        assert_eq!((out.first_again(), out.again_len()), (Some(1), 1));
        out.check_invariants();
    }
}
