//! What is kept of a consumer over a restart, in a compact form.
//!
//! It may be older than what clients have seen: then messages are delivered again, never left out.

use super::consumer::{Consumer, Sequences, SkipList};
use super::effect::{Now, StreamView};
use super::run::clock;
use super::settings::{Names, Settings};
use crate::time::WallTime;

/// First byte of the form below.
pub(super) const VERSION: u8 = 1;
/// Waits are kept to the microsecond.
pub(super) const MICROSECOND: i64 = 1000;

/// The bytes are no state of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a consumer's state")]
pub struct StateError;

impl Consumer {
    /// The state as bytes: numbers of seven bits a byte, sequences as distances.
    pub fn encode(&mut self, now: Now) -> Vec<u8> {
        self.changed = false;
        let mut out = Writer(vec![VERSION]);
        for places in [self.delivered, self.floor, self.told_floor] {
            out.number(places.consumer);
            out.number(places.stream);
        }
        out.number(self.next_seq);
        out.number(self.cursor_to_keep());
        out.number(self.skip_list.as_ref().map_or(0, |it| it.resume));
        out.number(self.last_delivered.map_or(0, |it| it.0));
        out.number(self.last_acked.map_or(0, |it| it.0));
        out.number(now.wall.0);
        out.number(self.out.len() as u64);
        let (mut seq_before, mut consumer_before) = (0, 0);
        for (seq, sent) in self.out.iter() {
            out.number(seq - seq_before);
            out.signed(
                sent.consumer_seq
                    .wrapping_sub(consumer_before)
                    .cast_signed(),
            );
            out.signed(clock(now.nanos).saturating_sub(sent.at) / MICROSECOND);
            (seq_before, consumer_before) = (seq, sent.consumer_seq);
        }
        out.number(self.out.redelivered.len() as u64);
        let mut seq_before = 0;
        for (&seq, &count) in &self.out.redelivered {
            out.number(seq - seq_before);
            out.signed(count);
            seq_before = seq;
        }
        out.0
    }

    /// A consumer that goes on from encoded state. What its stream no longer has is dropped; if the
    /// stream has lost its end, the consumer goes back to it.
    ///
    /// # Errors
    /// [`StateError`] if the bytes are none.
    pub fn restore<S: StreamView>(
        names: Names,
        settings: Settings,
        seed: u64,
        now: Now,
        stream: &S,
        bytes: &[u8],
    ) -> Result<Self, StateError> {
        let mut consumer = Self::blank(names, settings, seed);
        let mut reader = Reader(bytes);
        let resume = consumer.decode(&mut reader, now).ok_or(StateError)?;
        if !reader.0.is_empty() {
            return Err(StateError);
        }
        consumer.fit(stream);
        consumer.find_skip_list(stream, resume);
        consumer.start(now, stream);
        Ok(consumer)
    }

    /// Reads the fields in the order they are written; gives where the skip list ends.
    fn decode(&mut self, reader: &mut Reader<'_>, now: Now) -> Option<u64> {
        if reader.0.split_off_first() != Some(&VERSION) {
            return None;
        }
        for places in [&mut self.delivered, &mut self.floor, &mut self.told_floor] {
            places.consumer = reader.number()?;
            places.stream = reader.number()?;
        }
        self.next_seq = reader.number()?.max(1);
        self.cursor = reader.number()?.clamp(1, u64::MAX - 1);
        let resume = reader.number()?;
        let time = |nanos: u64| (nanos != 0).then_some(WallTime(nanos));
        self.last_delivered = time(reader.number()?);
        self.last_acked = time(reader.number()?);
        let written = reader.number()?;
        // A calendar that was set back makes nobody wait longer.
        let down = i64::try_from(now.wall.0.saturating_sub(written)).ok()?;
        let (mut seq, mut consumer_seq) = (0_u64, 0_u64);
        let mut sent = Vec::new();
        for _ in 0..reader.number()? {
            seq = seq.checked_add(reader.number()?)?;
            consumer_seq = consumer_seq.wrapping_add_signed(reader.signed()?);
            let age = reader.signed()?.saturating_mul(MICROSECOND);
            let age = age.saturating_add(down);
            sent.push((seq, consumer_seq, clock(now.nanos).saturating_sub(age)));
        }
        let mut seq = 0_u64;
        for _ in 0..reader.number()? {
            seq = seq.checked_add(reader.number()?)?;
            self.out.redelivered.insert(seq, reader.signed()?);
        }
        // Last: how long each waits depends on how often it was sent.
        for (seq, consumer_seq, at) in sent {
            self.out.track_at(seq, consumer_seq, at);
        }
        Some(resume)
    }

    /// Drops what the stream no longer has.
    fn fit<S: StreamView>(&mut self, stream: &S) {
        let bounds = stream.bounds();
        let (first, last) = (bounds.first_seq, bounds.last_seq);
        self.out
            .redelivered
            .retain(|&seq, _| first <= seq && seq <= last);
        let lost = self.cursor > last + 1;
        let sent = self.out.iter();
        let gone: Vec<(u64, u64)> = sent
            .filter(|it| it.0 < first || it.0 > last)
            .map(|it| (it.0, it.1.consumer_seq))
            .collect();
        for &(seq, consumer_seq) in &gone {
            self.out.remove(seq);
            if seq < first {
                self.move_floor(consumer_seq, seq);
            }
        }
        if lost {
            // The highest sequences known stay, so that no delivery's sequence comes twice.
            if self.floor.stream > last {
                self.floor.stream = last;
                self.floor.consumer = self.next_seq - 1;
            }
            let highest = self.out.iter().last().map(|it| it.0);
            self.cursor = highest.unwrap_or(self.floor.stream) + 1;
        }
        if lost || !gone.is_empty() {
            self.delivered = Sequences {
                consumer: self.next_seq - 1,
                stream: self.cursor - 1,
            };
            self.told_floor = self.floor;
            self.changed = true;
        }
    }

    /// Goes on with the last messages of subjects that were not delivered yet.
    pub(super) fn find_skip_list<S: StreamView>(&mut self, stream: &S, resume: u64) {
        self.skip_list = None;
        if resume == 0 || self.cursor > resume {
            return;
        }
        let mut seqs = stream.last_per_subject(&self.settings.filter, resume);
        seqs.retain(|&it| it >= self.cursor);
        if seqs.is_empty() {
            self.cursor = resume + 1;
        } else {
            self.skip_list = Some(SkipList {
                resume,
                seqs: seqs.into(),
            });
        }
    }
}

pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let part = u64::from(byte & 0x7f);
            let shifted = part << shift;
            if shifted >> shift != part {
                return None;
            }
            number |= shifted;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }
}
