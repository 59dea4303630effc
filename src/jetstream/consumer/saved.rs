//! A consumer's state as copies of its stream have it: the form every server reads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::consumer::{Consumer, Sequences};
use super::effect::Now;
use super::run::clock;
use super::state::{MICROSECOND, VERSION, Writer};

/// A place in the consumer's count and in the stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedPlace {
    /// Deliveries.
    pub consumer_seq: u64,
    /// Messages.
    pub stream_seq: u64,
}

/// A message that was delivered and is not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct SavedPending {
    /// Its delivery's number.
    pub sequence: u64,
    /// When it was delivered last: nanoseconds since 1970.
    pub timestamp: i64,
}

/// How far a consumer is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    /// What was last delivered.
    pub delivered: SavedPlace,
    /// Everything up to here is done with.
    pub ack_floor: SavedPlace,
    /// Messages out, by sequence.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pending: BTreeMap<u64, SavedPending>,
    /// How often messages were sent again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub redelivered: BTreeMap<u64, u64>,
}

impl From<Sequences> for SavedPlace {
    fn from(it: Sequences) -> Self {
        Self {
            consumer_seq: it.consumer,
            stream_seq: it.stream,
        }
    }
}

impl Consumer {
    /// Its state, for a copy of its stream that ends with `last_seq`.
    pub fn saved(&self, now: Now, last_seq: u64) -> SavedState {
        let bounded = |it: Sequences| SavedPlace {
            stream_seq: it.stream.min(last_seq),
            ..it.into()
        };
        let (mut delivered, mut ack_floor) = (bounded(self.delivered), bounded(self.told_floor));
        if delivered.consumer_seq == 0 {
            // Where it begins says its place.
            delivered.stream_seq = (self.cursor_to_keep() - 1).min(last_seq);
            ack_floor.stream_seq = delivered.stream_seq;
        }
        let wall = now.wall.0.cast_signed();
        let out = self.out.iter().take_while(|it| it.0 <= last_seq);
        let pending = out.map(|(seq, sent)| {
            let age = clock(now.nanos).saturating_sub(sent.at);
            let pending = SavedPending {
                sequence: sent.consumer_seq,
                timestamp: wall.saturating_sub(age),
            };
            (seq, pending)
        });
        let redelivered = self.out.redelivered.range(..=last_seq);
        SavedState {
            delivered,
            ack_floor,
            pending: pending.collect(),
            redelivered: redelivered
                .filter_map(|(&seq, &count)| Some((seq, u64::try_from(count).ok()?)))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

impl SavedState {
    /// The same as [`Consumer::encode`] has it, for [`Consumer::restore`].
    pub fn encode(&self, now: Now) -> Vec<u8> {
        let mut out = Writer(vec![VERSION]);
        for place in [self.delivered, self.ack_floor, self.ack_floor] {
            out.number(place.consumer_seq);
            out.number(place.stream_seq);
        }
        out.number(self.delivered.consumer_seq.saturating_add(1));
        out.number(self.delivered.stream_seq.saturating_add(1));
        for _nothing_known in ["skip list", "last delivery", "last acknowledgement"] {
            out.number(0);
        }
        let wall = now.wall.0;
        out.number(wall);
        out.number(self.pending.len() as u64);
        let (mut seq_before, mut consumer_before) = (0, 0_u64);
        for (&seq, pending) in &self.pending {
            out.number(seq - seq_before);
            let distance = pending.sequence.wrapping_sub(consumer_before);
            out.signed(distance.cast_signed());
            let age = wall.cast_signed().saturating_sub(pending.timestamp);
            out.signed(age / MICROSECOND);
            (seq_before, consumer_before) = (seq, pending.sequence);
        }
        out.number(self.redelivered.len() as u64);
        let mut seq_before = 0;
        for (&seq, &count) in &self.redelivered {
            out.number(seq - seq_before);
            out.signed(i64::try_from(count).unwrap_or(i64::MAX));
            seq_before = seq;
        }
        out.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As stock writes it.
    #[test]
    fn js_169_the_form_of_a_state() {
        let text = r#"{"delivered":{"consumer_seq":3,"stream_seq":9},"ack_floor":{"consumer_seq":1,"stream_seq":4},"pending":{"9":{"Sequence":3,"Timestamp":1700000000000000000}},"redelivered":{"9":2}}"#;
        let state: SavedState = serde_json::from_str(text).expect("a state");
        assert_eq!(state.pending[&9].sequence, 3);
        assert_eq!(state.redelivered[&9], 2);
        assert_eq!(serde_json::to_string(&state).expect("text"), text);
        let empty = SavedState::default();
        let short = r#"{"delivered":{"consumer_seq":0,"stream_seq":0},"ack_floor":{"consumer_seq":0,"stream_seq":0}}"#;
        assert_eq!(serde_json::to_string(&empty).expect("text"), short);
    }
}
