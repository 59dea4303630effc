//! Messages that are to be sent later: what is asked of them when they are stored (JS-138, JS-139,
//! JS-141), and what is sent when they are due (JS-140).

use std::time::Duration;

use bytes::Bytes;
use memchr::memmem;

use super::headers;
use super::publish::{Accepted, Fate, Publish, present};
use super::schedule::Schedule;
use super::stream::Stream;
use super::ttl;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::store::{Fetch, Filter, Purge, StoredMessage};
use crate::protocol::headers::append_with;
use crate::routing::subject::{is_valid_literal, pattern_matches};
use crate::time::WallTime;

/// Front of the names of all headers about schedules.
const ABOUT: &[u8] = b"Nats-Schedule";
/// What ends a schedule, and says so in the last message of it.
const PURGE: &[u8] = b"purge";
/// Time before what could not be stored is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// What a message is not sent with, beside all about schedules.
const NOT_SENT: [&[u8]; 3] = [headers::MSG_ID, headers::TTL, headers::ROLLUP];

/// What came of a schedule that was due.
#[derive(Debug)]
pub enum Sent {
    /// None is, or the disk has been asked for it first.
    Nothing,
    /// It could not be stored; it is tried again later, or never where it is no schedule any more.
    Dropped,
    /// A message was taken, with this body.
    Message(Accepted, Bytes),
}

/// The disk has been asked for a message.
struct Reading;

/// Is anything in a header block about schedules?
pub(super) fn concerns(block: &[u8]) -> bool {
    memmem::find(block, ABOUT).is_some()
}

/// What a message that is about to be stored says as a schedule.
pub(super) fn schedule_of(block: &[u8]) -> Option<Schedule> {
    match concerns(block) {
        true => Schedule::of(block).ok().flatten(),
        false => None,
    }
}

impl Stream {
    /// Is a schedule, or the end of one, as it should be? Gives the block to store where that is
    /// another one: a schedule replaces those before it. `staged` says of a subject whether the last
    /// message that is about to be stored on it is a schedule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check_schedule(
        &self,
        subject: &[u8],
        block: &[u8],
        now: WallTime,
        staged: &dyn Fn(&[u8]) -> Option<bool>,
    ) -> Result<Option<Vec<u8>>, ApiError> {
        let allowed = self.config.allow_msg_schedules;
        let schedule = match Schedule::of(block) {
            Ok(None) => None,
            _ if !allowed => return Err(errors::MESSAGE_SCHEDULES_DISABLED),
            Ok(Some(schedule)) if schedule.after(now).is_none() => {
                return Err(errors::MESSAGE_SCHEDULES_PATTERN_INVALID);
            }
            other => other?,
        };
        let stored = match schedule {
            Some(_) => self.check_target(subject, block)?,
            None => None,
        };
        self.check_end(subject, block, staged)?;
        Ok(stored)
    }

    fn check_target(&self, subject: &[u8], block: &[u8]) -> Result<Option<Vec<u8>>, ApiError> {
        let config = &self.config;
        let ttl = present(block, headers::SCHEDULE_TTL);
        if ttl.is_some_and(|it| ttl::parse(it).is_err()) {
            return Err(errors::MESSAGE_SCHEDULES_TTL_INVALID);
        }
        if present(block, headers::SCHEDULE_ROLLUP).is_some_and(|it| it != b"sub") {
            return Err(errors::MESSAGE_SCHEDULES_ROLLUP_INVALID);
        }
        if ttl.is_some() && !config.allow_msg_ttl {
            return Err(errors::MESSAGE_TTL_DISABLED);
        }
        let comes_in = |it: &[u8]| {
            let mut patterns = config.subjects.iter();
            patterns.any(|pattern| pattern_matches(pattern.as_bytes(), it))
        };
        let target = present(block, headers::SCHEDULE_TARGET);
        let is_fine = |it: &[u8]| it != subject && is_valid_literal(it);
        if !target.is_some_and(is_fine) {
            return Err(errors::MESSAGE_SCHEDULES_TARGET_INVALID);
        }
        let source = present(block, headers::SCHEDULE_SOURCE);
        if source.is_some_and(|it| Some(it) == target || !is_fine(it)) {
            return Err(errors::MESSAGE_SCHEDULES_SOURCE_INVALID);
        }
        if !target.is_some_and(comes_in) {
            return Err(errors::MESSAGE_SCHEDULES_TARGET_INVALID);
        }
        if source.is_some_and(|it| !comes_in(it)) {
            return Err(errors::MESSAGE_SCHEDULES_SOURCE_INVALID);
        }
        match present(block, headers::ROLLUP) {
            None => {
                let mut stored = Vec::new();
                append_with(&mut stored, block, headers::ROLLUP, b"sub");
                Ok(Some(stored))
            }
            Some(rollup) if rollup.eq_ignore_ascii_case(b"sub") => Ok(None),
            Some(_) => Err(errors::MESSAGE_SCHEDULES_ROLLUP_INVALID),
        }
    }

    /// Who publishes may end a schedule, and say nothing else of that kind.
    fn check_end(
        &self,
        subject: &[u8],
        block: &[u8],
        staged: &dyn Fn(&[u8]) -> Option<bool>,
    ) -> Result<(), ApiError> {
        let invalid = Err(errors::MESSAGE_SCHEDULES_SCHEDULER_INVALID);
        let scheduler = present(block, headers::SCHEDULER);
        let Some(next) = present(block, headers::SCHEDULE_NEXT) else {
            return scheduler.map_or(Ok(()), |_| invalid);
        };
        let scheduler = scheduler.filter(|it| *it != subject && is_valid_literal(it));
        let Some(scheduler) = scheduler.filter(|_| next == PURGE) else {
            return invalid;
        };
        if !self.config.allow_msg_schedules {
            return Err(errors::MESSAGE_SCHEDULES_DISABLED);
        }
        // One that is there no more may be ended once more.
        let stored = || {
            let last = self.store.subject(scheduler)?.last;
            Some(self.store.is_schedule(last))
        };
        match staged(scheduler).or_else(stored) {
            Some(false) => invalid,
            _ => Ok(()),
        }
    }

    /// Ends the schedule that a message says it ends.
    pub(super) fn end_schedule(&mut self, block: &[u8]) {
        let purges = self.config.allow_rollup_hdrs && !self.config.deny_purge;
        if !purges || !concerns(block) || present(block, headers::SCHEDULE_NEXT) != Some(PURGE) {
            return;
        }
        if let Some(scheduler) = present(block, headers::SCHEDULER) {
            self.purge(Purge {
                filter: &Filter::new(&[scheduler]),
                up_to: 0,
                keep: 0,
            });
            self.forget_schedule(scheduler);
        }
    }

    /// Sends the message of a schedule that is due, if one is. `interested` is as in
    /// [`Stream::publish`].
    pub fn send_due(
        &mut self,
        now: WallTime,
        interested: impl FnOnce(&[u8]) -> bool,
        random: impl FnMut() -> u64,
    ) -> Sent {
        self.schedules.reading = false;
        if self.config.sealed {
            return Sent::Nothing;
        }
        let Some((subject, waiting)) = self.schedules.first(now) else {
            return Sent::Nothing;
        };
        let seq = waiting.seq;
        let Ok(message) = self.read_due(seq) else {
            return Sent::Nothing;
        };
        let known = message.and_then(|it| Some((schedule_of(&it.headers)?, it)));
        let Some((schedule, message)) = known else {
            self.forget_schedule(&subject);
            return Sent::Dropped;
        };
        let next = match schedule.is_once() {
            true => None,
            false => schedule.following(waiting.due, now),
        };
        let target = present(&message.headers, headers::SCHEDULE_TARGET);
        let Some(target) = target.filter(|_| next.is_some() || schedule.is_once()) else {
            self.forget_schedule(&subject);
            return Sent::Dropped;
        };
        let Ok(content) = self.content_of(&message) else {
            return Sent::Nothing;
        };
        let says = match next {
            Some(next) => schedule.shown(next).to_string(),
            None => String::from_utf8_lossy(PURGE).into_owned(),
        };
        let block = sent_with(&content.headers, &message, &says);
        let publish = Publish {
            subject: target,
            headers: &block,
            payload: &content.payload,
            now,
            sourced: true,
        };
        match self.publish(&publish, interested, random) {
            Ok(accepted) if accepted.fate != Fate::TooEarly => {
                match next {
                    Some(next) => self.repeat_schedule(&subject, seq, next),
                    None => self.forget_schedule(&subject),
                }
                Sent::Message(accepted, content.payload)
            }
            _ => {
                let retry = u64::try_from(RETRY.as_nanos()).unwrap_or(u64::MAX);
                let until = WallTime(now.0.saturating_add(retry));
                self.schedules.postpone(&subject, until);
                Sent::Dropped
            }
        }
    }

    /// A message, if it is there; an error while it is being read.
    fn read_due(&mut self, seq: u64) -> Result<Option<StoredMessage>, Reading> {
        match self.store.fetch(seq) {
            Fetch::Message(message) => Ok(Some(message)),
            Fetch::Absent | Fetch::Damaged => Ok(None),
            Fetch::Reading => {
                self.schedules.reading = true;
                Err(Reading)
            }
        }
    }

    /// The message whose body and headers are sent: the schedule's own, or the last one of the
    /// subject it names.
    fn content_of(&mut self, schedule: &StoredMessage) -> Result<StoredMessage, Reading> {
        let source = present(&schedule.headers, headers::SCHEDULE_SOURCE);
        let last = source.and_then(|it| self.store.subject(it));
        let other = match last {
            Some(it) => self.read_due(it.last)?,
            None => None,
        };
        Ok(other.unwrap_or_else(|| schedule.clone()))
    }
}

/// The header block a message of a schedule is sent with.
fn sent_with(content: &[u8], schedule: &StoredMessage, next: &str) -> Vec<u8> {
    let mut kept = Vec::new();
    headers::append_lines(&mut kept, content, |line| {
        line.starts_with(ABOUT)
            || line.starts_with(b"Nats-Expected-")
            || NOT_SENT.iter().any(|key| headers::is_of(line, key))
    });
    let ttl = present(&schedule.headers, headers::SCHEDULE_TTL).map(|it| (headers::TTL, it));
    let rollup = present(&schedule.headers, headers::SCHEDULE_ROLLUP);
    let rollup = rollup.map(|it| (headers::ROLLUP, it));
    let lines = [
        Some((headers::SCHEDULER, &schedule.subject[..])),
        Some((headers::SCHEDULE_NEXT, next.as_bytes())),
        ttl,
        rollup,
    ];
    for (key, value) in lines.into_iter().flatten() {
        let mut more = Vec::with_capacity(kept.len() + key.len() + value.len() + 4);
        append_with(&mut more, &kept, key, value);
        kept = more;
    }
    kept
}
