//! Messages whose way is told to somebody (CORE-98..104): what came in, how its subject changed,
//! who got it and who did not, and why.
//!
//! A traced message takes a way of its own beside the fast one, so that the others pay nothing: the
//! same walk over the same delivery list, each step written down. What happens on other shards they
//! send to the server's tracing service themselves, with the number of the trace; it waits for all
//! parts and publishes one event.

use std::sync::{Arc, LazyLock};

use memchr::memmem::Finder;
use serde_json::{Map, Value, json};

use crate::ids::{AccountId, ShardId};
use crate::mesh::batch::RemoteMessage;
use crate::protocol::error_text;
use crate::protocol::leaf::op::LeafMessage;
use crate::protocol::op::Publish;
use crate::routing::interest::{Delivery, Handler, Member};
use crate::routing::queue_group::Pick;
use crate::routing::subject;
use crate::shard::core::{Core, Local};
use crate::shard::deliver::Message;
use crate::shard::effects::{Effect, Level};
use crate::shard::identity::rfc3339;
use crate::shard::internal::{self, InternalMessage};
use crate::shard::jetstream::pace::is_consumer;
use crate::shard::leaf::{HOP, Hops, LEAF, LinkChoices};
use crate::shard::publish::{Choice, RemoteChoices, Routed};

/// Where the event goes.
pub(super) const DESTINATION: &str = "Nats-Trace-Dest";
/// The value of it that turns tracing off.
pub(super) const DISABLED: &str = "trace disabled";
/// Whether it is only traced.
const ONLY: &str = "Nats-Trace-Only";
/// What makes stock of long ago trace; never traced any more.
const ORIGIN_ACCOUNT: &str = "Nats-Trace-Origin-Account";
/// What others put into a message they trace, in either case.
const EXTERNAL: &str = "traceparent";
/// A client, among the kinds of connection in events.
const CLIENT: u32 = 0;

const NO_ECHO: &str = "Not delivered because of no echo";
const DENIED: &str = "Not delivered because subscription denies this subject";
const SUBSCRIPTION_CLOSED: &str = "Not delivered because subscription is closed";
const CLIENT_CLOSED: &str = "Not delivered because client is closed";
const ENDED: &str = "Not delivered because auto-unsubscribe exceeded";
const SLOW: &str = "Not delivered because fast producer not stalled and consumer is slow";

/// One message being traced on this shard.
#[derive(Debug)]
pub struct Trace {
    id: u64,
    /// Deliver nothing.
    only: bool,
    /// Account it came in through.
    account: AccountId,
    events: Vec<Value>,
    /// Shards that will tell their part.
    parts: u32,
    /// Of the links it leaves by.
    hops: Hops,
    /// Where it came in.
    origin: Option<Origin>,
}

impl Trace {
    /// Account it came in through.
    pub(super) fn account(&self) -> AccountId {
        self.account
    }

    /// Is nothing delivered?
    pub(super) fn is_only(&self) -> bool {
        self.only
    }

    /// The hops of links.
    pub(super) fn hops(&mut self) -> &mut Hops {
        &mut self.hops
    }

    /// Writes something down.
    pub(super) fn push(&mut self, event: Value) {
        self.events.push(event);
    }
}

/// What only the shard knows where the message came in.
#[derive(Debug)]
struct Origin {
    destination: String,
    request: Value,
    header: Box<[u8]>,
}

/// May this header block ask for a trace? `external`: the account traces what others trace.
#[inline]
pub(super) fn is_asked(block: &[u8], external: bool) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(DESTINATION));
    FINDER.find(block).is_some() || (external && has_external(block))
}

#[cold]
fn has_external(block: &[u8]) -> bool {
    block
        .to_ascii_lowercase()
        .windows(EXTERNAL.len())
        .any(|it| it == EXTERNAL.as_bytes())
}

/// The lines of a header block in order, those without a key or a value left out.
fn lines(block: &[u8]) -> Vec<(String, String)> {
    let text = String::from_utf8_lossy(block);
    let lines = text.split("\r\n").skip(1);
    lines
        .filter_map(|line| {
            let (key, value) = line.split_once(':')?;
            let value = value.trim_matches([' ', '\t']);
            (!key.is_empty() && !value.is_empty()).then(|| (key.to_owned(), value.to_owned()))
        })
        .collect()
}

/// Has whoever traces the message elsewhere chosen it for that?
fn is_sampled(value: &str) -> bool {
    let parts: Vec<&str> = value.split('-').collect();
    let flags = match *parts {
        [_, _, _, flags] if flags.len() == 2 => i8::from_str_radix(flags, 16).ok(),
        _ => None,
    };
    flags.is_some_and(|flags| flags & 1 == 1)
}

fn first<'a>(lines: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let found = lines.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value.as_str())
}

/// All lines by key, as events show them.
fn header_map(lines: &[(String, String)]) -> Value {
    let mut map = Map::new();
    for (key, value) in lines {
        let values = map.entry(key.clone()).or_insert_with(|| json!([]));
        if let Some(values) = values.as_array_mut() {
            values.push(json!(value));
        }
    }
    Value::Object(map)
}

/// What comes of a message that asks for a trace.
pub(super) enum Asked {
    /// Nothing: it is a message like any other.
    No,
    /// It is lost.
    Lost,
    /// It is traced.
    Yes,
}

impl Core {
    /// Begins to trace a message that asks for it.
    pub(super) fn begin_trace(&mut self, index: u32, publish: &Publish<'_>) -> Asked {
        if self.local.settings.accounts.system().is_none() {
            return Asked::No;
        }
        let block = publish.body.get(..publish.header_len).unwrap_or_default();
        let lines = lines(block);
        let destination = first(&lines, DESTINATION);
        if destination == Some(DISABLED) {
            return Asked::No;
        }
        let random = self.local.random();
        let Some(connection) = self.local.connections.at(index) else {
            return Asked::Lost;
        };
        let tenant = Arc::clone(&connection.tenant);
        let (destination, only) = match (destination, &tenant.trace) {
            (Some(destination), _) => {
                let only = first(&lines, ONLY).unwrap_or("").to_lowercase();
                (destination, matches!(&*only, "1" | "true" | "on"))
            }
            (None, Some(account)) => {
                let mut external = lines
                    .iter()
                    .filter(|(key, _)| key.eq_ignore_ascii_case(EXTERNAL));
                let sampled = external.any(|(_, value)| is_sampled(value));
                // Who sent it over a link has chosen already.
                let is_first = connection.leaf.is_none();
                if !sampled || (is_first && random % 100 >= u64::from(account.sampling)) {
                    return Asked::No;
                }
                (account.destination.as_str(), false)
            }
            (None, None) => return Asked::No,
        };
        let refused = if only { Asked::Lost } else { Asked::No };
        if first(&lines, ORIGIN_ACCOUNT).is_some() {
            return refused;
        }
        if !subject::is_valid_literal(destination.as_bytes()) {
            let text =
                format!("Destination {destination:?} is not valid, won't be able to trace events");
            self.local.log(Level::Error, index, &text);
            return refused;
        }
        let is_link = connection.leaf.is_some();
        if is_link && !self.leaf_may_publish(index, destination.as_bytes()) {
            return Asked::Lost;
        }
        if !is_link && !self.may_publish_to(index, destination.as_bytes()) {
            let mut text = Vec::new();
            error_text::publish_violation(&mut text, destination.as_bytes());
            self.complain(index, &text);
            return Asked::Lost;
        }
        let now = rfc3339(self.local.wall);
        let Some(connection) = self.local.connections.at(index) else {
            return Asked::Lost;
        };
        let (kind, name, hop) = match &connection.leaf {
            Some(leaf) => (LEAF, &leaf.server, first(&lines, HOP).unwrap_or("")),
            None => (CLIENT, &connection.options.name, ""),
        };
        let mut ingress = json!({ "type": "in", "ts": now, "kind": kind, "cid": connection.cid.0 });
        if !name.is_empty() {
            ingress["name"] = json!(name);
        }
        ingress["acc"] = json!(*connection.tenant.name);
        ingress["subj"] = json!(String::from_utf8_lossy(publish.subject));
        let trace = Trace {
            id: 0,
            only,
            account: connection.account,
            events: vec![ingress],
            parts: 0,
            hops: Hops::new(hop),
            origin: Some(Origin {
                destination: destination.to_owned(),
                request: json!({ "header": header_map(&lines), "msgsize": publish.body.len() }),
                header: block.into(),
            }),
        };
        let local = &mut self.local;
        local.traces_begun += 1;
        let id = local.traces_begun << 8 | u64::from(local.id.0);
        local.trace = Some(Box::new(Trace { id, ..trace }));
        Asked::Yes
    }

    /// The message in hand would have had this size.
    pub(super) fn trace_size(&mut self, size: usize) {
        if let Some(origin) = self.local.trace.as_mut().and_then(|it| it.origin.as_mut()) {
            origin.request["msgsize"] = json!(size);
        }
    }

    /// The message in hand is refused: its trace says why.
    pub(super) fn trace_refusal(&mut self, text: &[u8]) {
        if let Some(trace) = &mut self.local.trace
            && let Some(ingress) = trace.events.first_mut()
        {
            ingress["error"] = json!(String::from_utf8_lossy(text));
        }
    }

    /// The message in hand goes elsewhere than its publisher said.
    pub(super) fn trace_mapping(&mut self, to: &[u8]) {
        let wall = self.local.wall;
        if let Some(trace) = &mut self.local.trace {
            let now = rfc3339(wall);
            let to = String::from_utf8_lossy(to);
            trace
                .events
                .push(json!({ "type": "sm", "ts": now, "to": to }));
        }
    }

    /// Sends what is known of the message in hand to the tracing service.
    pub(super) fn finish_trace(&mut self) {
        let Some(trace) = self.local.trace.take() else {
            return;
        };
        let Trace {
            id,
            account,
            events,
            parts,
            origin,
            hops,
            ..
        } = *trace;
        let hops = hops.given();
        let (reply, header, origin) = match origin {
            Some(origin) => (
                Some(origin.destination.into_bytes().into()),
                origin.header,
                origin.request,
            ),
            None => (None, Box::default(), Value::Null),
        };
        let payload = json!({ "request": origin, "events": events, "parts": parts, "hops": hops });
        self.local
            .effects
            .push(Effect::Internal(Box::new(InternalMessage {
                service: internal::TRACES,
                account,
                subject: id.to_string().into_bytes().into(),
                reply,
                header,
                payload: payload.to_string().into_bytes().into(),
                requester: None,
            })));
    }

    /// Hands a traced message to everybody interested, here and on other shards.
    #[cold]
    pub(super) fn route_traced(&mut self, message: &mut Message<'_>) -> Routed {
        let before = self.local.counters.sent();
        let table = self.tables.of(message.account);
        let delivery = table.interest.lookup(message.subject);
        let handlers: Vec<Handler> = delivery.handlers.to_vec();
        let routed = self.local.fan_out_traced(delivery, message, None);
        table.sent_since(before, &self.local.counters);
        let mut routed = routed;
        for handler in handlers {
            routed = routed.or(self.hand_over_traced(handler, message));
        }
        routed
    }

    /// Puts what happened to the message in hand into its trace.
    pub(super) fn trace_event(&mut self, event: Value) {
        if let Some(trace) = &mut self.local.trace {
            trace.events.push(event);
        }
    }

    /// Is the message in hand only traced?
    pub(super) fn only_traced(&self) -> bool {
        self.local.trace.as_ref().is_some_and(|it| it.only)
    }

    /// A traced message goes over to another account, with its trace if that is allowed there.
    pub(super) fn hand_over_traced(&mut self, handler: Handler, message: &Message<'_>) -> Routed {
        let number = match handler {
            Handler::Import(number) => number,
            Handler::JetStream(number) => return self.js_traced(number, message),
            Handler::Replies | Handler::Domain | Handler::Api => {
                return self.hand_over(&[handler], message);
            }
        };
        let settings = Arc::clone(&self.local.settings);
        let importer = settings.accounts.get(message.account);
        let import = importer.and_then(|it| it.service_imports.get(number as usize));
        let Some(import) = import else {
            return Routed::Nobody;
        };
        let mut to = self.local.buffer();
        import.remote_subject(message.subject, &mut to);
        let now = rfc3339(self.local.wall);
        let event = json!({
            "type": "si", "ts": now, "acc": settings.accounts.name(import.account),
            "from": String::from_utf8_lossy(message.subject), "to": String::from_utf8_lossy(&to),
        });
        self.local.give_back(to);
        let Some(trace) = &mut self.local.trace else {
            return Routed::Nobody;
        };
        trace.events.push(event);
        if import.export.allow_trace {
            return self.hand_over(&[handler], message);
        }
        let only = trace.only;
        let kept = self.local.trace.take();
        let routed = match only {
            true => Routed::Here,
            false => self.hand_over(&[handler], message),
        };
        self.local.trace = kept;
        routed
    }

    /// Another shard hands a traced message to our own subscriptions.
    pub(super) fn begin_remote_trace(&mut self, mark: &[u8]) {
        let Some((&only, rest)) = mark.split_first() else {
            return;
        };
        let Some((id, account)) = rest.split_first_chunk::<8>() else {
            return;
        };
        let Some((account, rest)) = account.split_first_chunk::<4>() else {
            return;
        };
        let Some((number, prefix)) = rest.split_first_chunk::<4>() else {
            return;
        };
        let prefix = String::from_utf8_lossy(prefix);
        self.local.trace = Some(Box::new(Trace {
            id: u64::from_ne_bytes(*id),
            only: only == 1,
            account: AccountId(u32::from_ne_bytes(*account)),
            events: Vec::new(),
            parts: 0,
            hops: Hops::reserved(&prefix, u32::from_ne_bytes(*number)),
            origin: None,
        }));
    }

    /// The receivers of a traced message that another shard brought.
    pub(super) fn deliver_remote_traced(
        &mut self,
        remote: &RemoteMessage<'_>,
        message: &Message<'_>,
    ) -> bool {
        let table = self.tables.of(remote.account);
        let delivery = table.interest.lookup(remote.subject);
        let mut delivered = false;
        if remote.plain {
            for &member in &delivery.plain {
                delivered |= self.local.deliver_traced(member, None, message);
            }
        }
        let links: &[_] = if remote.plain { &delivery.links } else { &[] };
        let mut link_choices = LinkChoices::new();
        for name in remote.queues {
            let group = delivery.queues.iter().find(|it| it.name[..] == *name);
            let at = self.local.random() as usize;
            let mut members = group.into_iter().flat_map(|group| group.local_from(at));
            if members.any(|member| self.local.deliver_traced(member, Some(name), message)) {
                delivered = true;
            } else if let Some(group) = group
                && let Choice::Link(member) = self.local.choose_link(group, message, remote.tried)
            {
                link_choices.push((member, name));
            }
        }
        delivered | self.local.deliver_links(links, &link_choices, message)
    }
}

impl Local {
    /// To all queue groups, or those that are `named`.
    pub(super) fn fan_out_traced(
        &mut self,
        delivery: &Delivery,
        message: &Message<'_>,
        named: Option<&LeafMessage<'_>>,
    ) -> Routed {
        let mut delivered = false;
        for &member in &delivery.plain {
            delivered |= self.deliver_traced(member, None, message);
        }
        let mut choices = RemoteChoices::new();
        let mut link_choices = LinkChoices::new();
        for group in &delivery.queues {
            let is_it = |name: &[u8]| *name == group.name[..];
            if named.is_some_and(|it| !it.queue_names().any(is_it)) {
                continue;
            }
            match group.pick(self.random(), 0) {
                Pick::Local(at) => {
                    let mut members = group.local_from(at);
                    let name = Some(&group.name[..]);
                    if members.any(|member| self.deliver_traced(member, name, message)) {
                        delivered = true;
                    } else if let Some(shard) = group.next_remote(1 << self.id.0) {
                        choices.push((shard, &group.name));
                    }
                }
                Pick::Remote(shard) => choices.push((shard, &group.name)),
                Pick::Nobody => match self.choose_link(group, message, 0) {
                    Choice::Link(member) => link_choices.push((member, &group.name)),
                    Choice::Remote(shard, _) => choices.push((shard, &group.name)),
                    Choice::Delivered | Choice::Nobody => {}
                },
            }
        }
        delivered |= self.deliver_links(&delivery.links, &link_choices, message);
        let shards = choices
            .iter()
            .fold(delivery.remote_plain, |all, (shard, _)| all | 1 << shard.0);
        if shards != 0 {
            self.mark_traced(shards);
            let claim = message.claim.filter(|_| !delivered);
            self.forward(delivery.remote_plain, &choices, message, 0, claim);
        }
        match (delivered, shards != 0) {
            (true, _) => Routed::Here,
            (false, true) => Routed::Elsewhere,
            (false, false) => Routed::Nobody,
        }
    }

    /// Tells shards that the message they get next is traced, and expects their parts.
    fn mark_traced(&mut self, mut shards: u64) {
        let Some(trace) = &mut self.trace else {
            return;
        };
        trace.parts += shards.count_ones();
        let mut number = trace.hops.reserve(shards.count_ones());
        let mut front = vec![u8::from(trace.only)];
        front.extend_from_slice(&trace.id.to_ne_bytes());
        front.extend_from_slice(&trace.account.0.to_ne_bytes());
        while shards != 0 {
            let shard = ShardId(shards.trailing_zeros() as u8);
            shards &= shards - 1;
            let prefix = trace.hops.prefix().as_bytes();
            let mark = [&front, &number.to_ne_bytes()[..], prefix].concat();
            self.peers.outgoing(shard).traced(&mark);
            number += 1;
        }
    }

    /// Delivers to one subscription unless the message is only traced, and writes down what comes
    /// of it. True if it takes the message.
    fn deliver_traced(
        &mut self,
        member: Member,
        queue: Option<&[u8]>,
        message: &Message<'_>,
    ) -> bool {
        let only = self.trace.as_ref().is_some_and(|trace| trace.only);
        let Some(subscription) = self.subscriptions.get(member.subscription) else {
            return false;
        };
        if let Some(shadow) = &subscription.shadow {
            if message.crossed {
                return false;
            }
            let allowed = shadow.import.allow_trace;
            let mut to = Vec::new();
            shadow.import.local_subject(message.subject, &mut to);
            self.trace_stream_import(member, &to);
            if !allowed {
                return only || self.deliver(member, queue, message);
            }
        }
        match self.obstacle(member, queue, message) {
            // One of the server's own: it is no connection.
            None if self.connections.at(member.connection).is_none() => {
                only || self.deliver(member, queue, message)
            }
            None => {
                self.trace_egress(member, queue, None);
                only || self.deliver(member, queue, message)
            }
            Some(why) => {
                self.trace_egress(member, queue, Some(why));
                false
            }
        }
    }

    /// Why a subscription would not take a message. As [`Local::deliver`] sees it.
    fn obstacle(
        &mut self,
        member: Member,
        queue: Option<&[u8]>,
        message: &Message<'_>,
    ) -> Option<&'static str> {
        let Some(subscription) = self.subscriptions.get(member.subscription) else {
            return Some(SUBSCRIPTION_CLOSED);
        };
        let (filtered, shadow) = (subscription.filtered, subscription.shadow.is_some());
        let ended = subscription.max > 0 && subscription.delivered >= subscription.max && !shadow;
        let max_pending = self.settings.limits.max_pending;
        let gives_up = self.settings.limits.no_fast_producer_stall;
        let connection = self.connections.at(member.connection)?;
        let user = connection.user.as_ref();
        let permissions = user.and_then(|user| user.permissions.as_ref());
        let denied = permissions.is_some_and(|it| !it.can_deliver(message.subject, queue));
        if connection.closing() {
            Some(CLIENT_CLOSED)
        } else if !connection.options.echo && message.source == Some((self.id, connection.slot)) {
            Some(NO_ECHO)
        } else if filtered && denied {
            Some(DENIED)
        } else if gives_up
            && message.source.is_some_and(|(_, it)| !is_consumer(it))
            && connection.outbound.pending() > max_pending / 4 * 3
        {
            Some(SLOW)
        } else if ended {
            Some(ENDED)
        } else {
            None
        }
    }

    fn trace_stream_import(&mut self, member: Member, to: &[u8]) {
        let now = rfc3339(self.wall);
        let Some(connection) = self.connections.at(member.connection) else {
            return;
        };
        let event = json!({
            "type": "se", "ts": now, "acc": *connection.tenant.name,
            "to": String::from_utf8_lossy(to),
        });
        if let Some(trace) = &mut self.trace {
            trace.events.push(event);
        }
    }

    fn trace_egress(&mut self, member: Member, queue: Option<&[u8]>, error: Option<&str>) {
        let now = rfc3339(self.wall);
        let Some(trace) = &mut self.trace else {
            return;
        };
        let (Some(subscription), Some(connection)) = (
            self.subscriptions.get(member.subscription),
            self.connections.at(member.connection),
        ) else {
            return;
        };
        let mut event = json!({ "type": "eg", "ts": now, "kind": CLIENT, "cid": connection.cid.0 });
        if !connection.options.name.is_empty() {
            event["name"] = json!(connection.options.name);
        }
        if connection.account != trace.account {
            event["acc"] = json!(*connection.tenant.name);
        }
        event["sub"] = json!(String::from_utf8_lossy(subscription.subject()));
        if let Some(queue) = queue {
            event["queue"] = json!(String::from_utf8_lossy(queue));
        }
        if let Some(error) = error {
            event["error"] = json!(error);
        }
        trace.events.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_098_only_blocks_that_name_a_destination_ask() {
        let block = |line: &str| format!("NATS/1.0\r\n{line}\r\n\r\n").into_bytes();
        assert!(is_asked(&block("Nats-Trace-Dest: a"), false));
        assert!(!is_asked(&block("Trace: a"), true));
        assert!(!is_asked(&block("traceparent: a"), false));
        assert!(is_asked(&block("TraceParent: a"), true));
    }

    #[test]
    fn core_102_a_sampled_parent_has_four_parts_and_the_bit_set() {
        for (value, sampled) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                true,
            ),
            ("00-a-b-00", false),
            ("00-a-b-03", true),
            ("00-a-b-1", false),
            ("00-a-01", false),
            ("00-a-b-zz", false),
            ("", false),
        ] {
            assert_eq!(is_sampled(value), sampled, "{value}");
        }
    }

    #[test]
    fn core_099_keys_keep_their_case_and_values_their_order() {
        let block = b"NATS/1.0\r\nA: 1\r\na: 2\r\nA:  3 \r\nnone:\r\n\r\n";
        let map = header_map(&lines(block));
        assert_eq!(map, json!({ "A": ["1", "3"], "a": ["2"] }));
    }
}
