//! Pull requests: what is refused at once, who waits, who is served next (section 16).

use std::time::Duration;

use bytes::Bytes;

use super::advisory::Advisory;
use super::consumer::Consumer;
use super::effect::{Effect, Presence, StreamView, Turn};
use super::outstanding::Outstanding;
use super::priority::Pinned;
use super::request::{GroupRequest, PullRequest};
use super::settings::Priority;
use super::status;
use super::waiting::Waiting;
use crate::time::duration::Shown;

/// Largest `priority` a request may have (JS-222).
const PRIORITY_MAX: i64 = 9;

/// Who gets the next message, and what the request still wants then.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) to: Bytes,
    pub(super) batch: i64,
    pub(super) bytes: i64,
}

impl Consumer {
    /// A client asks for messages (JS-210).
    pub fn request<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, reply: Bytes, body: &[u8]) {
        if reply.is_empty() {
            return;
        }
        if let Err((code, text)) = self.take_request(turn, &reply, body) {
            turn.effects.push(Effect::Status {
                to: reply,
                reply: None,
                headers: status::plain(code, &text),
            });
        }
    }

    /// Puts a request in line, or says what is wrong with it; an empty text is no answer.
    fn take_request<S: StreamView>(
        &mut self,
        turn: &mut Turn<'_, S>,
        reply: &Bytes,
        body: &[u8],
    ) -> Result<(), (u16, String)> {
        let now = turn.now.nanos;
        if !self.is_pull() {
            return Err((409, "Consumer is push based".to_owned()));
        }
        let bad = |text: &str| (400, format!("Bad Request - {text}"));
        let request = PullRequest::parse(body).map_err(|it| bad(&it))?;
        self.check_limits(&request).map_err(|it| (409, it))?;
        if let Some(group) = &request.group {
            self.check_group(group).map_err(bad)?;
            self.check_pin(turn, group)?;
        }
        let is_full = |it: &Self| it.waiting.len() >= it.settings.pull.waiting;
        if is_full(self) {
            self.look_at_waiting(turn, false);
        }
        if request.no_wait {
            let pending = self.pending() + self.out.again_len() as u64;
            if pending == 0 && request.expires == 0 {
                self.last_used = now;
                return Err((404, "No Messages".to_owned()));
            }
            if pending > 0 {
                self.look_at_waiting(turn, false);
                let wanted: i64 = self.waiting.iter().map(|it| it.batch).sum();
                if i64::try_from(pending).is_ok_and(|it| it < wanted) {
                    self.last_used = now;
                    return Err((408, "Requests Pending".to_owned()));
                }
            }
        }
        if is_full(self) {
            // Who gets heartbeats will miss them and ask again, not too soon (JS-215).
            return match request.heartbeat {
                0 => Err((409, "Exceeded MaxWaiting".to_owned())),
                _ => Ok(()),
            };
        }
        let after = |nanos: i64| Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        self.last_used = now;
        self.waiting.add(Waiting {
            reply: reply.clone(),
            batch: request.batch,
            delivered: 0,
            bytes: request.bytes,
            expires: (request.expires != 0).then(|| now + after(request.expires)),
            heartbeat: (request.heartbeat > 0)
                .then(|| (after(request.heartbeat), now + after(request.heartbeat))),
            no_wait: request.no_wait,
            group: request.group,
        });
        Ok(())
    }

    /// The consumer's bounds of a request (JS-215).
    fn check_limits(&self, request: &PullRequest) -> Result<(), String> {
        let limits = &self.settings.pull;
        let over = |asked: i64, limit: i64| limit > 0 && asked > limit;
        if over(request.batch, limits.batch) {
            return Err(format!("Exceeded MaxRequestBatch of {}", limits.batch));
        }
        if over(request.expires, limits.expires) {
            let limit = Shown(limits.expires);
            return Err(format!("Exceeded MaxRequestExpires of {limit}"));
        }
        if over(request.bytes, limits.bytes) {
            return Err(format!("Exceeded MaxRequestMaxBytes of {}", limits.bytes));
        }
        Ok(())
    }

    /// What a request says to a priority group must fit the policy (JS-220 to JS-223).
    fn check_group(&self, group: &GroupRequest) -> Result<(), &'static str> {
        let policy = self.settings.priority;
        if (group.min_pending != 0 || group.min_ack_pending != 0) && policy != Priority::Overflow {
            return Err("Not a Overflow Priority consumer");
        }
        if !group.id.is_empty() && !matches!(policy, Priority::Pinned(_)) {
            return Err("Not a Pinned Client Priority consumer");
        }
        if !(0..=PRIORITY_MAX).contains(&group.priority) {
            return Err("Priority must be between 0 and 9");
        }
        if policy == Priority::None {
            return Ok(());
        }
        if group.name.is_empty() {
            return Err("Priority Group missing");
        }
        let mut groups = self.settings.priority_groups.iter();
        if !groups.any(|it| **it == *group.name.as_bytes()) {
            return Err("Invalid Priority Group");
        }
        Ok(())
    }

    /// A request that has the pin keeps it; one that has an older one is told (JS-221).
    fn check_pin<S>(
        &mut self,
        turn: &Turn<'_, S>,
        group: &GroupRequest,
    ) -> Result<(), (u16, String)> {
        match &self.pin {
            Some(pin) if pin.id == group.id => {
                self.keep_pin(turn.now.nanos);
                Ok(())
            }
            Some(_) if !group.id.is_empty() => Err((423, "Nats-Pin-Id mismatch".to_owned())),
            _ => Ok(()),
        }
    }

    /// Looks at all requests that wait: those whose time is over or whose client is gone end,
    /// heartbeats are sent. `empty`: nothing is left to deliver.
    pub(super) fn look_at_waiting<S: StreamView>(&mut self, turn: &mut Turn<'_, S>, empty: bool) {
        let now = turn.now.nanos;
        let (presence, effects) = (&mut *turn.presence, &mut *turn.effects);
        let (seq, cursor) = (self.next_seq, self.cursor);
        self.waiting.look(|waiting| {
            let ending = if waiting.expires.is_some_and(|it| it <= now) {
                timed_out(waiting)
            } else if empty && waiting.ends_when_empty() {
                status::plain(404, "No Messages")
            } else {
                if presence(&waiting.reply) != Presence::Here {
                    return false;
                }
                if let Some((every, at)) = &mut waiting.heartbeat
                    && *at <= now
                {
                    *at = now + *every;
                    effects.push(Effect::Status {
                        to: waiting.reply.clone(),
                        reply: None,
                        headers: status::heartbeat(seq - 1, cursor - 1, None),
                    });
                }
                return true;
            };
            effects.push(Effect::Status {
                to: waiting.reply.clone(),
                reply: None,
                headers: ending,
            });
            false
        });
    }

    /// Chooses who gets a message of `size` bytes; `ahead` messages are there with it. Requests
    /// that cannot be served any more end here, too (JS-214, JS-218, JS-221).
    pub(super) fn next_waiting<S: StreamView>(
        &mut self,
        turn: &mut Turn<'_, S>,
        size: i64,
        ahead: i64,
    ) -> Option<Served> {
        let now = turn.now.nanos;
        let free = self.pin.is_none();
        let mut cycled = 0;
        loop {
            let overflow = self.settings.priority == Priority::Overflow;
            let first = self.waiting.front()?;
            if first.expires.is_some_and(|it| it <= now) {
                let headers = timed_out(first);
                self.end_first(turn, Some(headers));
                continue;
            }
            let mut stands_by = overflow && !is_overflowing(first, ahead, &self.out);
            let mut took_pin = false;
            match self.judge_pin(turn, free) {
                Pinned::Serve(took) => took_pin = took,
                Pinned::StandBy => stands_by = true,
                Pinned::Wrong => {
                    self.end_with(turn, 423, "Nats-Wrong-Pin-Id");
                    continue;
                }
            }
            if stands_by {
                self.waiting.cycle();
                cycled += 1;
                if cycled >= self.waiting.len() {
                    return None;
                }
                continue;
            }
            let first = self.waiting.front()?;
            if first.bytes > 0 {
                if size > first.bytes {
                    if took_pin {
                        self.pin = None;
                    }
                    self.end_with(turn, 409, "Message Size Exceeds MaxBytes");
                    continue;
                }
                first.bytes -= size;
                if first.bytes == 0 {
                    // This is its last one.
                    first.batch = 1;
                }
            }
            match (turn.presence)(&first.reply) {
                Presence::Here => {
                    let (to, batch, bytes) = self.waiting.serve(now)?;
                    return Some(Served { to, batch, bytes });
                }
                Presence::Gone => self.end_first(turn, None),
                Presence::ImportGone => self.end_with(turn, 408, "Interest Expired"),
            }
        }
    }

    /// Ends the first request with a status that says what it still wanted.
    fn end_with<S>(&mut self, turn: &mut Turn<'_, S>, code: u16, text: &str) {
        if let Some(first) = self.waiting.front() {
            let headers = status::remaining(code, text, first.batch, first.bytes);
            self.end_first(turn, Some(headers));
        }
    }

    fn end_first<S>(&mut self, turn: &mut Turn<'_, S>, headers: Option<Bytes>) {
        if let (Some(first), Some(headers)) = (self.waiting.pop(), headers) {
            turn.effects.push(Effect::Status {
                to: first.reply,
                reply: None,
                headers,
            });
        }
    }

    /// The consumer is being deleted: that is told, and those who wait are (JS-216, JS-233).
    pub fn deleted<S>(&mut self, turn: &mut Turn<'_, S>) {
        turn.effects.push(Effect::Advisory(Advisory::Deleted));
        for waiting in self.waiting.iter() {
            turn.effects.push(Effect::Status {
                to: waiting.reply.clone(),
                reply: None,
                headers: status::plain(409, "Consumer Deleted"),
            });
        }
        self.waiting.clear();
    }
}

/// The end of a request whose time is over (JS-212).
fn timed_out(waiting: &Waiting) -> Bytes {
    status::remaining(408, "Request Timeout", waiting.batch, waiting.bytes)
}

/// Is so much there that this request is served (JS-220)? One bound reached is enough.
fn is_overflowing(waiting: &Waiting, ahead: i64, out: &Outstanding) -> bool {
    let Some(group) = &waiting.group else {
        return true;
    };
    let (pending, unacknowledged) = (group.min_pending, group.min_ack_pending);
    let reached = |bound: i64, there: i64| bound > 0 && bound <= there;
    (pending <= 0 && unacknowledged <= 0)
        || reached(pending, ahead)
        || reached(unacknowledged, out.len() as i64)
}
