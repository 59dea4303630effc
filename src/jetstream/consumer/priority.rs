//! The pin: of several clients that pull, the one that gets all messages (JS-221).

use std::time::Duration;

use bytes::Bytes;

use super::advisory::Advisory;
use super::consumer::Consumer;
use super::effect::{Effect, StreamView, Turn};
use super::settings::Priority;
use crate::time::{Nanos, WallTime};

/// Characters of a pin.
const PIN_LENGTH: usize = 22;

/// Who has the pin, until when.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) id: Bytes,
    pub(super) since: WallTime,
    /// The group it was given to.
    group: String,
    pub(super) ends: Nanos,
}

/// What a pin says to the request that stands first.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pinned {
    /// Serve it. True if it was given the pin just now.
    Serve(bool),
    /// It stands by.
    StandBy,
    /// It has a pin that is no longer one.
    Wrong,
}

impl Consumer {
    fn pin_time(&self) -> Option<Duration> {
        match self.settings.priority {
            Priority::Pinned(time) => Some(time),
            _ => None,
        }
    }

    /// A request came from who has the pin: it lasts longer.
    pub(super) fn keep_pin(&mut self, now: Nanos) {
        if let (Some(time), Some(pin)) = (self.pin_time(), &mut self.pin) {
            pin.ends = now + time;
        }
    }

    /// Judges the first request by the pin. `free`: nobody had it when serving began.
    pub(super) fn judge_pin<S: StreamView>(
        &mut self,
        turn: &mut Turn<'_, S>,
        free: bool,
    ) -> Pinned {
        let (Some(time), Some(first)) = (self.pin_time(), self.waiting.front()) else {
            return Pinned::Serve(false);
        };
        let id = first.group.as_ref().map_or(&b""[..], |it| &it.id);
        if !free {
            return match &self.pin {
                None => Pinned::Serve(false),
                Some(pin) if pin.id == id => Pinned::Serve(false),
                Some(_) if id.is_empty() => Pinned::StandBy,
                Some(_) => Pinned::Wrong,
            };
        }
        if !id.is_empty() {
            return Pinned::Wrong;
        }
        // A request that names no group is served, but gets no pin.
        let Some(group) = first.group.as_mut().filter(|it| !it.name.is_empty()) else {
            return Pinned::Serve(true);
        };
        let id = self.random.letters(PIN_LENGTH);
        group.id = id.clone();
        let group = group.name.clone();
        turn.effects.push(Effect::Advisory(Advisory::Pinned {
            group: group.clone(),
            id: id.clone(),
        }));
        self.pin = Some(Pin {
            id,
            since: turn.now.wall,
            group,
            ends: turn.now.nanos + time,
        });
        Pinned::Serve(true)
    }

    /// Ends a pin whose client has been silent for too long.
    pub(super) fn expire_pin<S: StreamView>(&mut self, turn: &mut Turn<'_, S>) {
        if let Some(pin) = self.pin.take_if(|it| it.ends <= turn.now.nanos) {
            turn.effects.push(Effect::Advisory(Advisory::Unpinned {
                group: pin.group,
                reason: "timeout",
            }));
        }
    }

    /// Takes the pin away, for an operator.
    pub fn unpin<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, group: &str) {
        self.pin = None;
        turn.effects.push(Effect::Advisory(Advisory::Unpinned {
            group: group.to_owned(),
            reason: "admin",
        }));
    }
}
