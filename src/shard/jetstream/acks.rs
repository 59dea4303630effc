//! Publishes of a stream that wait until their message is durable.
//!
//! Their reply subjects stand one behind the other in one ring, so that a publish allocates nothing
//! for its answer. What bounds it is what bounds the bytes a store has not written yet.

use std::borrow::Cow;
use std::collections::VecDeque;

/// In the order of their sequences.
#[derive(Debug, Default)]
pub(super) struct Acks {
    waiting: VecDeque<Waiting>,
    replies: VecDeque<u8>,
}

#[derive(Debug)]
struct Waiting {
    seq: u64,
    reply_len: usize,
    body: Body,
}

/// What a publisher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// Where its message is, and then this.
    Stored(Cow<'static, str>),
    /// This alone.
    Whole(Vec<u8>),
}

/// An answer that may leave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ack {
    pub seq: u64,
    pub body: Body,
}

impl Acks {
    /// The publish of message `seq` is to be answered on `reply`; `end` follows the sequence.
    pub(super) fn push(&mut self, seq: u64, reply: &[u8], end: Cow<'static, str>) {
        self.push_body(seq, reply, Body::Stored(end));
    }

    /// The same with any body.
    pub(super) fn push_body(&mut self, seq: u64, reply: &[u8], body: Body) {
        self.replies.extend(reply);
        self.waiting.push_back(Waiting {
            seq,
            reply_len: reply.len(),
            body,
        });
    }

    /// The first, if its message is durable; its reply subject takes the place of what `reply` had.
    pub(super) fn pop(&mut self, durable: u64, reply: &mut Vec<u8>) -> Option<Ack> {
        let first = self.waiting.pop_front_if(|it| it.seq <= durable)?;
        reply.clear();
        let (head, tail) = self.replies.as_slices();
        let in_head = first.reply_len.min(head.len());
        reply.extend_from_slice(&head[..in_head]);
        reply.extend_from_slice(&tail[..first.reply_len - in_head]);
        self.replies.drain(..first.reply_len);
        Some(Ack {
            seq: first.seq,
            body: first.body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_leave_in_order_and_with_their_reply_subjects() {
        let mut acks = Acks::default();
        let mut reply = Vec::new();
        let (mut pushed, mut popped) = (0_u64, 0_u64);
        // The ring's end is met at many places.
        for round in 0..100 {
            for _ in 0..round % 7 {
                pushed += 1;
                acks.push(pushed, format!("r.{}", pushed * 37).as_bytes(), "}".into());
            }
            while let Some(ack) = acks.pop(pushed.saturating_sub(2), &mut reply) {
                popped += 1;
                assert_eq!(
                    ack,
                    Ack {
                        seq: popped,
                        body: Body::Stored("}".into())
                    }
                );
                assert_eq!(reply, format!("r.{}", popped * 37).as_bytes());
            }
        }
        assert_eq!(popped, pushed - 2);
    }
}
