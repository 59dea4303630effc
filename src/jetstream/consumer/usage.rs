//! Whether anybody still uses the consumer (JS-185, JS-224, JS-225).

use std::time::Duration;

use super::consumer::Consumer;
use super::effect::{Effect, Now, StreamView, Turn};
use super::run::clock;
use crate::time::Nanos;

/// Milliseconds the end of an unused pull consumer is spread over, so that not all end at once.
const SPREAD: std::ops::Range<u64> = 100..1000;

impl Consumer {
    /// Takes over the inactive threshold; its time begins now.
    pub(super) fn set_threshold(&mut self, now: Now) {
        let spread = SPREAD.start + self.random.next() % (SPREAD.end - SPREAD.start);
        let spread = Duration::from_millis(if self.is_pull() { spread } else { 0 });
        self.threshold = self.settings.inactive_threshold.map(|it| it + spread);
        self.inactive_at = None;
        if self.is_pull() || !self.active {
            self.count_down(now.nanos);
        }
    }

    fn count_down(&mut self, now: Nanos) {
        self.inactive_at = self.threshold.map(|it| now + it);
    }

    /// A client has shown that it works with the consumer.
    pub(super) fn used(&mut self, now: Nanos) {
        self.last_used = now;
        if self.inactive_at.is_some() {
            self.count_down(now);
        }
    }

    /// Somebody subscribed to the deliver subject, or nobody is any more.
    pub fn interest<S>(&mut self, turn: &mut Turn<'_, S>, active: bool) {
        if self.is_pull() {
            return;
        }
        self.active = active;
        if active {
            self.inactive_at = None;
        } else if self.inactive_at.is_none() {
            self.count_down(turn.now.nanos);
        }
    }

    /// Ends the consumer if nobody has used it for its threshold.
    pub(super) fn check_use<S: StreamView>(&mut self, turn: &mut Turn<'_, S>) {
        let now = turn.now.nanos;
        let Some(threshold) = self.threshold else {
            return;
        };
        if self.inactive_at.is_none_or(|it| it > now) {
            return;
        }
        if self.is_pull() {
            let used_until = self.last_used + threshold;
            if used_until > now {
                self.inactive_at = Some(used_until);
                return;
            }
            self.look_at_waiting(turn, true);
            if !self.waiting.is_empty() {
                self.count_down(now);
                return;
            }
            // Whoever got a message may still be at work on it.
            let sent = self.out.iter();
            let worked_on = sent
                .map(|(seq, it)| it.at.saturating_add(self.out.wait(seq)))
                .max();
            let worked_on = worked_on.and_then(|it| u64::try_from(it).ok());
            if let Some(until) = worked_on.map(|it| Nanos(it) + threshold)
                && clock(until) > clock(now)
            {
                self.inactive_at = Some(until);
                return;
            }
        }
        self.inactive_at = None;
        turn.effects.push(Effect::Expired);
    }
}
