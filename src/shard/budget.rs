//! The memory budget (PROC-14, `GOMEMLIMIT`): what waits for this shard's clients together is
//! bounded, not only what waits for each.
//!
//! Half of the budget, in equal shares for the shards, is for output that clients have not taken.
//! The other half is left for what has bounds of its own (receive buffers, batches between shards,
//! partial operations), for what clients keep here (subscriptions), and for the slack of growing
//! buffers. Back-pressure comes long before; who still has the most waiting when a share is full is
//! closed as a slow consumer, and so on until a quarter of the share is free.

use crate::connection::close_reason::CloseReason;
use crate::shard::core::Core;
use crate::shard::effects::Level;
use crate::shard::report::Counters;

/// Bytes of a message's head, for the estimate.
const HEAD: u64 = 64;

/// What was found at the last look.
#[derive(Debug, Default)]
pub(super) struct OutputSeen {
    /// Bytes that waited.
    waiting: u64,
    /// What had been delivered by then.
    delivered: u64,
}

/// A shard's share of a budget.
pub fn output_share(budget: u64, shards: usize) -> u64 {
    (budget / 2 / shards.max(1) as u64).max(crate::limits::OUTPUT_SHARE_MIN)
}

fn delivered(counters: &Counters) -> u64 {
    counters.out_bytes + counters.out_msgs * HEAD
}

impl Core {
    /// Keeps to the budget; called once a turn.
    ///
    /// Two additions and a comparison, as a rule: more can wait than at the last look only by as
    /// much as was delivered since. The connections are gone through when that could fill the
    /// share, at the soonest after an eighth of it. (Answers to a client's own PINGs count only
    /// then; what they may come to is bounded by `max_pending`.)
    pub fn keep_budget(&mut self) {
        let Some(share) = self.local.settings.output_share else {
            return;
        };
        let seen = &self.local.output_seen;
        let since = delivered(&self.local.counters) - seen.delivered;
        if since >= share.saturating_sub(seen.waiting).max(share / 8) {
            self.look_at_output(share);
        }
    }

    #[cold]
    fn look_at_output(&mut self, share: u64) {
        let open = self.local.connections.iter().filter(|it| !it.closing());
        let mut pending: Vec<(u64, u32)> = open
            .map(|it| (it.outbound.pending() as u64, it.slot.index))
            .collect();
        let mut waiting: u64 = pending.iter().map(|(bytes, _)| bytes).sum();
        if waiting > share {
            pending.sort_unstable();
            while waiting > share / 4 * 3
                && let Some((bytes, index)) = pending.pop()
            {
                waiting -= bytes;
                self.local.counters.slow_consumers += 1;
                let link = self.local.connections.at(index);
                let link = link.is_some_and(|it| it.leaf.is_some());
                self.local.counters.slow_links += u64::from(link);
                let text = format!(
                    "Slow Consumer Detected: {bytes} bytes pending, the most of all while the \
                     memory budget of this shard ({share} bytes) is used up"
                );
                self.local.log(Level::Info, index, &text);
                self.close(index, CloseReason::SlowConsumerPendingBytes);
            }
        }
        self.local.output_seen = OutputSeen {
            waiting,
            delivered: delivered(&self.local.counters),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_budget_in_equal_shares() {
        assert_eq!(output_share(1 << 30, 4), 1 << 27);
        assert_eq!(output_share(100, 4), crate::limits::OUTPUT_SHARE_MIN);
    }
}
