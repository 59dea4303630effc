//! PUB and HPUB: what is checked, who receives, and what the publisher hears.

use crate::accounts::replies;
use crate::ids::{AccountId, ShardId, Slot};
use crate::mesh::batch::{Body, Names, RemoteMessage};
use crate::mesh::claim::Claim;
use crate::protocol::op::Publish;
use crate::protocol::parser;
use crate::protocol::{encode, error_text};
use smallvec::SmallVec;

use crate::routing::interest::{Delivery, Handler, Member, QueueDelivery};
use crate::routing::queue_group::Pick;
use crate::routing::subject;
use crate::shard::core::{Core, Local};
use crate::shard::deliver::{Message, Sizes};
use crate::shard::effects::Effect;
use crate::shard::internal::{self, InternalMessage};
use crate::shard::jetstream::JetStream;
use crate::shard::leaf::LinkChoices;
use crate::shard::message_trace::{self, Asked};
use crate::shard::query;
use crate::shard::report::Volume;

/// Reply subjects a client may not name: they are the server's own (CORE-48).
const RESERVED_REPLIES: [&[u8]; 3] = [b"_R_.", b"$JS.ACK.", b"_GR_."];
/// Subjects a client may not publish to (CORE-53).
const RESERVED_SUBJECTS: [&[u8]; 2] = [b"_GR_.", b"$NRG."];
/// Front of all questions to the system account.
const SYSTEM_REQUEST: &[u8] = b"$SYS.REQ.";
/// A user's question about itself (MON-56).
const USER_INFO: &[u8] = b"$SYS.REQ.USER.INFO";
/// What every account may ask about itself (MON-57).
const OF_TENANTS: [&[u8]; 3] = [
    b"$SYS.REQ.ACCOUNT.PING.CONNZ",
    b"$SYS.REQ.ACCOUNT.PING.STATZ",
    b"$SYS.REQ.SERVER.PING.CONNZ",
];

/// Queue groups of which a remote member was chosen, by the shard that has it. More groups than
/// this on one subject are rare enough to allocate.
pub(super) type RemoteChoices<'a> = smallvec::SmallVec<[(ShardId, &'a [u8]); 8]>;

/// Is a closer look needed at whether the subject is one of the server's own? (Not for `_INBOX`.)
#[inline]
fn may_be_reserved(subject: &[u8]) -> bool {
    matches!(subject, [b'$', ..] | [b'_', b'G' | b'R', ..])
}

impl Core {
    /// Takes the publishes at the front of `input` for as long as nothing is special about them,
    /// and says how many bytes they were. What is the same for all of them is looked at once; the
    /// first one that needs more is left to [`Core::publish`].
    pub(super) fn publish_burst(&mut self, index: u32, input: &[u8]) -> usize {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return 0;
        };
        if !connection.publishes_freely() || self.local.settings.trace {
            return 0;
        }
        let (limits, slot, account) = (connection.limits, connection.slot, connection.account);
        let no_responders = connection.options.no_responders;
        let traces = connection.tenant.trace.is_some();
        let checked = connection.publish_cache.is_some();
        let mut allowed: &[u8] = b"";
        let before = self.local.counters.sent();
        let table = self.tables.of(account);
        let source = Some((self.local.id, slot));
        let (mut used, mut msgs, mut bytes) = (0, 0, 0);
        let mut unanswered = None;
        let mut asked_elsewhere = false;
        while let Some((publish, length)) = parser::common_publish(&input[used..], &limits) {
            if may_be_reserved(publish.subject) || publish.reply.is_some_and(may_be_reserved) {
                break;
            }
            if publish.header_len > 0
                && message_trace::is_asked(&publish.body[..publish.header_len], traces)
            {
                break;
            }
            let delivery = table.interest.lookup(publish.subject);
            if !delivery.handlers.is_empty() {
                break;
            }
            if checked && publish.subject != allowed {
                if !self.local.is_allowed(index, publish.subject) {
                    break;
                }
                allowed = publish.subject;
            }
            used += length;
            msgs += 1;
            bytes += publish.body.len() as u64;
            let mut routed = Routed::Nobody;
            if !delivery.is_nobody() {
                let claim = self.local.claim(no_responders, publish.reply);
                let mut message = Message::published(account, &publish, source, claim);
                routed = self.local.fan_out(delivery, &mut message);
                asked_elsewhere |= claim.is_some() && routed == Routed::Elsewhere;
            }
            if routed == Routed::Nobody
                && let Some(reply) = publish.reply
            {
                unanswered = Some((publish.subject, reply));
                break;
            }
            if routed != Routed::Nobody && !self.local.may_go_on(index) {
                break;
            }
        }
        table.sent_since(before, &self.local.counters);
        table.figures.received = table.figures.received.plus(Volume { msgs, bytes });
        self.local.counters.in_msgs += msgs;
        self.local.counters.in_bytes += bytes;
        if let Some(connection) = self.local.connections.at(index) {
            connection.traffic.in_msgs += msgs;
            connection.traffic.in_bytes += bytes;
            connection.keep_alive.last_in = now;
            connection.asked_elsewhere |= asked_elsewhere;
        }
        if let Some((subject, reply)) = unanswered {
            self.no_responders(index, subject, reply);
        }
        self.after_delivery();
        used
    }

    /// PUB or HPUB.
    pub(super) fn publish(&mut self, index: u32, publish: &Publish<'_>) {
        let size = publish.body.len() as u64;
        let now = self.local.now;
        self.local.counters.in_msgs += 1;
        self.local.counters.in_bytes += size;
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        connection.traffic.in_msgs += 1;
        connection.traffic.in_bytes += size;
        connection.keep_alive.last_in = now;
        let account = connection.account;
        let figures = &mut self.tables.of(account).figures;
        figures.received = figures.received.plus(Volume {
            msgs: 1,
            bytes: size,
        });
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.rates.is_some() && !self.may_publish_now(index, publish.subject, size) {
            return;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.options.pedantic && !subject::is_valid_literal(publish.subject) {
            self.send_error(index, error_text::INVALID_PUBLISH_SUBJECT);
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let block = publish.body.get(..publish.header_len).unwrap_or_default();
        if !block.is_empty() && message_trace::is_asked(block, connection.tenant.trace.is_some()) {
            return self.publish_traced(index, account, publish);
        }
        self.publish_unmapped(index, account, publish);
    }

    fn publish_unmapped(&mut self, index: u32, account: AccountId, publish: &Publish<'_>) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if connection.tenant.mappings.is_empty() {
            self.publish_to(index, account, publish);
        } else {
            self.publish_mapped(index, account, publish);
        }
    }

    /// A publish that asks for a trace.
    #[cold]
    fn publish_traced(&mut self, index: u32, account: AccountId, publish: &Publish<'_>) {
        match self.begin_trace(index, publish) {
            Asked::No => self.publish_unmapped(index, account, publish),
            Asked::Lost => {}
            Asked::Yes => {
                self.publish_unmapped(index, account, publish);
                self.finish_trace();
            }
        }
    }

    /// The rest of a publish: everything from here on concerns the subject it really goes to.
    pub(super) fn publish_to(&mut self, index: u32, account: AccountId, publish: &Publish<'_>) {
        let id = self.local.id;
        if !self.may_publish(index, publish) {
            return;
        }
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let (verbose, slot) = (connection.options.verbose, connection.slot);
        let no_responders = connection.options.no_responders;
        if verbose {
            self.send_ok(index);
        }
        if publish.subject.starts_with(SYSTEM_REQUEST)
            && let Some(reply) = publish.reply
            && self.ask_system(index, account, publish, reply)
        {
            // Servers behind links are asked, too.
            if publish.subject != USER_INFO && self.is_linked(account) {
                let mut message = Message::published(account, publish, Some((id, slot)), None);
                self.route(&mut message);
                self.after_delivery();
            }
            return;
        }
        if publish.subject.starts_with(replies::PREFIX) && publish.subject.ends_with(b".T") {
            self.introduce_responder(slot, account, publish.subject);
        }
        let claim = self.local.claim(no_responders, publish.reply);
        let mut message = Message::published(account, publish, Some((id, slot)), claim);
        match (self.route(&mut message), publish.reply) {
            (Routed::Nobody, Some(reply)) => self.no_responders(index, publish.subject, reply),
            (Routed::Elsewhere, _) if claim.is_some() => {
                if let Some(connection) = self.local.connections.at(index) {
                    connection.asked_elsewhere = true;
                }
            }
            _ => {}
        }
        self.after_delivery();
    }

    /// Takes a question that everybody may ask of the system account, which only looks like a
    /// message in the account it comes from. False if this is none.
    #[cold]
    fn ask_system(
        &mut self,
        index: u32,
        account: AccountId,
        publish: &Publish<'_>,
        reply: &[u8],
    ) -> bool {
        let Some(system) = self.local.settings.accounts.system() else {
            return false;
        };
        if publish.subject == USER_INFO {
            self.answer_user_info(index, reply);
            return true;
        }
        let (header, payload) = publish.body.split_at(publish.header_len);
        account != system
            && self.ask_of_tenant((account, publish.subject), reply, (header, payload))
    }

    /// Has an account's question about itself answered. False if this is none.
    pub(in crate::shard) fn ask_of_tenant(
        &mut self,
        (account, subject): (AccountId, &[u8]),
        reply: &[u8],
        (header, payload): (&[u8], &[u8]),
    ) -> bool {
        let system = self.local.settings.accounts.system();
        if system.is_none_or(|it| it == account) || !OF_TENANTS.contains(&subject) {
            return false;
        }
        self.local
            .effects
            .push(Effect::Internal(Box::new(InternalMessage {
                service: internal::REQUESTS,
                account,
                subject: subject.into(),
                reply: Some(reply.into()),
                header: header.into(),
                payload: payload.into(),
                requester: None,
            })));
        true
    }

    fn is_linked(&self, account: AccountId) -> bool {
        let tenant = self.local.settings.accounts.get(account);
        tenant.is_some_and(|it| it.usage.is_linked())
    }

    /// Closes and ends what the last delivery left to be closed and ended.
    pub(super) fn after_delivery(&mut self) {
        if !self.local.expired.is_empty() {
            self.end_expired();
        }
        if !self.local.doomed.is_empty() {
            self.close_doomed();
        }
        if !self.local.chosen.is_empty() {
            self.js_take_chosen();
        }
    }

    /// May this connection publish this? If not it is told.
    fn may_publish(&mut self, index: u32, publish: &Publish<'_>) -> bool {
        let now = self.local.now;
        let reserved = may_be_reserved(publish.subject)
            && RESERVED_SUBJECTS
                .iter()
                .any(|prefix| publish.subject.starts_with(prefix));
        let permitted = self.local.is_allowed(index, publish.subject)
            || self
                .local
                .connections
                .at(index)
                .and_then(|connection| connection.responses.as_mut())
                .is_some_and(|responses| responses.take(publish.subject, now));
        if reserved || !permitted {
            let mut text = Vec::new();
            error_text::publish_violation(&mut text, publish.subject);
            self.trace_refusal(&text);
            self.complain(index, &text);
            return false;
        }
        if let Some(reply) = publish.reply
            && RESERVED_REPLIES
                .iter()
                .any(|prefix| reply.starts_with(prefix))
        {
            let mut text = Vec::new();
            error_text::reply_violation(&mut text, reply);
            self.trace_refusal(&text);
            self.complain(index, &text);
            return false;
        }
        true
    }

    /// May this connection publish on a subject? Nothing is counted or told.
    pub(super) fn may_publish_to(&mut self, index: u32, subject: &[u8]) -> bool {
        let reserved = RESERVED_SUBJECTS
            .iter()
            .any(|prefix| subject.starts_with(prefix));
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let user = connection.user.as_ref();
        let permissions = user.and_then(|user| user.permissions.as_ref());
        !reserved && permissions.is_none_or(|it| it.can_publish(subject))
    }

    /// Hands a message to everybody interested, here and on other shards.
    pub(super) fn route(&mut self, message: &mut Message<'_>) -> Routed {
        if self.local.trace.is_some() {
            return self.route_traced(message);
        }
        let before = self.local.counters.sent();
        let table = self.tables.of(message.account);
        let delivery = table.interest.lookup(message.destination());
        let handlers = SmallVec::<[Handler; 4]>::from_slice(&delivery.handlers);
        if !handlers.is_empty() && JetStream::takes(&handlers, message.destination()) {
            message.claim = None;
        }
        let routed = self.local.fan_out(delivery, message);
        table.sent_since(before, &self.local.counters);
        if handlers.is_empty() {
            return routed;
        }
        // What is given back must not count twice: of several ways none is asked about.
        if routed != Routed::Nobody || handlers.len() > 1 {
            message.claim = None;
        }
        routed.or(self.hand_over(&handlers, message))
    }

    /// Tells a requester that nobody is there (CORE-71).
    pub(super) fn no_responders(&mut self, index: u32, subject: &[u8], reply: &[u8]) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        if !connection.options.no_responders {
            return;
        }
        let interest = &mut self.tables.of(connection.account).interest;
        let delivery = interest.lookup(reply);
        let Some(member) = delivery
            .plain
            .iter()
            .find(|member| member.connection == index)
        else {
            return;
        };
        let Some(subscription) = self.local.subscriptions.get(member.subscription) else {
            return;
        };
        let sid: smallvec::SmallVec<[u8; 16]> = subscription.sid().into();
        self.local.append(index, |out| {
            encode::no_responders(out, reply, &sid, subject)
        });
    }

    /// Answers `$SYS.REQ.USER.INFO` (MON-56).
    fn answer_user_info(&mut self, index: u32, reply: &[u8]) {
        let wall = self.local.wall;
        let settings = std::sync::Arc::clone(&self.local.settings);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.account;
        let body = query::user_info(connection, &settings, wall);
        let mut sizes = Sizes::default();
        let mut message = Message::own(account, reply, &body, 0, &mut sizes);
        self.route(&mut message);
        self.after_delivery();
    }
}

impl Local {
    /// May this connection publish there by its lists alone?
    pub(super) fn is_allowed(&mut self, index: u32, subject: &[u8]) -> bool {
        let Some(connection) = self.connections.at(index) else {
            return false;
        };
        let user = connection.user.as_ref();
        match user.and_then(|user| user.permissions.as_deref()) {
            None => true,
            Some(permissions) => connection
                .publish_cache
                .as_mut()
                .is_some_and(|cache| cache.allowed(subject, |it| permissions.can_publish(it))),
        }
    }

    /// What a request carries whose requester is to hear if nobody receives it (CORE-71).
    fn claim(&mut self, no_responders: bool, reply: Option<&[u8]>) -> Option<Claim> {
        (no_responders && reply.is_some()).then(|| self.claims.issue())
    }

    /// Has the last delivery left nothing to be seen to, and may more be taken from its publisher?
    fn may_go_on(&mut self, index: u32) -> bool {
        self.expired.is_empty()
            && self.doomed.is_empty()
            && self
                .connections
                .at(index)
                .is_some_and(|connection| connection.takes_input())
    }

    /// Walks a delivery list.
    pub(super) fn fan_out(&mut self, delivery: &Delivery, message: &mut Message<'_>) -> Routed {
        if let Some(member) = delivery.only() {
            return match self.deliver(member, None, message) {
                true => Routed::Here,
                false => Routed::Nobody,
            };
        }
        let remote_shards = delivery.remote_plain.count_ones() as usize;
        message.share_for(delivery.plain.len() + delivery.queues.len() + remote_shards);
        let message = &*message;
        let mut delivered = false;
        for &member in &delivery.plain {
            delivered |= self.deliver(member, None, message);
        }
        let mut choices = RemoteChoices::new();
        let mut link_choices = LinkChoices::new();
        // A shard is marked as tried only if that holds for all groups: asking it again costs a
        // detour, not asking a member that could have taken the message loses it.
        let mut tried = u64::MAX;
        for group in &delivery.queues {
            match self.choose(group, message) {
                Choice::Delivered => delivered = true,
                Choice::Remote(shard, in_vain) => {
                    tried &= in_vain;
                    choices.push((shard, &group.name));
                }
                Choice::Link(member) => link_choices.push((member, &group.name)),
                Choice::Nobody => {}
            }
        }
        delivered |= self.deliver_links(&delivery.links, &link_choices, message);
        let elsewhere = delivery.remote_plain != 0 || !choices.is_empty();
        if elsewhere {
            let claim = message.claim.filter(|_| !delivered);
            self.forward(delivery.remote_plain, &choices, message, tried, claim);
        }
        match (delivered, elsewhere) {
            (true, _) => Routed::Here,
            (false, true) => Routed::Elsewhere,
            (false, false) => Routed::Nobody,
        }
    }

    /// Picks a member of a queue group, each with the same chance, and delivers if it is here.
    /// One that cannot take the message is passed over (CORE-70).
    pub(super) fn choose(&mut self, group: &QueueDelivery, message: &Message<'_>) -> Choice {
        match group.pick(self.random(), 0) {
            Pick::Local(at) => self.choose_local(group, message, 0, at),
            Pick::Remote(shard) => Choice::Remote(shard, 0),
            Pick::Nobody => self.choose_link(group, message, 0),
        }
    }

    /// The part of [`Local::choose`] that stays here, starting with member number `at`; another
    /// shard only if nobody here can take the message.
    pub(super) fn choose_local(
        &mut self,
        group: &QueueDelivery,
        message: &Message<'_>,
        tried: u64,
        at: usize,
    ) -> Choice {
        for member in group.local_from(at) {
            if self.deliver(member, Some(&group.name), message) {
                return Choice::Delivered;
            }
        }
        let tried = tried | 1 << self.id.0;
        match group.next_remote(tried) {
            Some(shard) => Choice::Remote(shard, tried),
            None => self.choose_link(group, message, tried),
        }
    }

    /// Appends a message to the batches of the shards in `plain` and of the chosen queue members,
    /// and splits `claim` among them.
    pub(super) fn forward(
        &mut self,
        plain: u64,
        choices: &[(ShardId, &[u8])],
        message: &Message<'_>,
        tried: u64,
        claim: Option<Claim>,
    ) {
        let source = message.source.map_or(NOBODY, |(_, slot)| slot);
        let home = message.source.map(|(home, _)| home);
        let mut shards = choices
            .iter()
            .fold(plain, |all, (shard, _)| all | 1 << shard.0);
        let parts = shards.count_ones();
        while shards != 0 {
            let shard = ShardId(shards.trailing_zeros() as u8);
            let bit = 1u64 << shard.0;
            shards &= !bit;
            let remote = RemoteMessage {
                source,
                account: message.account,
                crossed: message.crossed,
                home: home.filter(|&home| home != self.id),
                claim: claim.and_then(|claim| claim.part(shards.count_ones(), parts)),
                subject: message.destination(),
                reply: message.reply,
                header_len: message.header_len,
                header_size_text: message.header_size_text,
                size_text: message.size_text,
                tail: message.tail,
                body: match &message.shared {
                    Some(shared) => Body::Shared(shared),
                    None => Body::Inline(message.body),
                },
                plain: plain & bit != 0,
                tried,
                queues: Names::NONE,
            };
            let queues = choices
                .iter()
                .filter(|(chosen, _)| *chosen == shard)
                .map(|&(_, name)| name);
            let batch = self.peers.outgoing(shard);
            if message.to.is_some() {
                batch.shown(message.subject);
            }
            if self.from_cluster != 0 {
                batch.from_cluster(self.from_cluster);
            }
            batch.message(&remote, queues);
            if self.peers.congested(shard)
                && let Some((home, slot)) = message.source
                && home == self.id
            {
                let first = self.peers.stall(shard, slot);
                self.stall(slot, first);
            }
        }
    }
}

/// Source of a message that no connection published.
pub(super) const NOBODY: Slot = Slot {
    index: u32::MAX,
    generation: u32::MAX,
};

/// What became of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Routed {
    /// Somebody here has it.
    Here,
    /// Nobody here has it, other shards may have somebody.
    Elsewhere,
    /// There is nobody.
    Nobody,
}

impl Routed {
    /// Of two ways the same message went.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Here, _) | (_, Self::Here) => Self::Here,
            (Self::Elsewhere, _) | (_, Self::Elsewhere) => Self::Elsewhere,
            (Self::Nobody, Self::Nobody) => Self::Nobody,
        }
    }
}

/// What became of a queue group's copy.
pub(super) enum Choice {
    /// A member here has it.
    Delivered,
    /// A member on that shard is to have it; those of the shards in the mask could not.
    Remote(ShardId, u64),
    /// A link is to have it: somebody at its other end.
    Link(Member),
    /// Nobody can take it.
    Nobody,
}
