//! The server as a client of itself: subscriptions nobody's connection has, and messages nobody's
//! connection publishes (MON-40).
//!
//! All of them are on shard 0, which tells the others of their interest as of any other. What
//! arrives leaves the shard as an effect: whoever answers may read files and ask the shards, and
//! so must not run on one of them.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use crate::auth::callout::Ask;
use crate::connection::registry::Subscription;
use crate::ids::{AccountId, ShardId, Slot, SubscriptionId};
use crate::routing::interest::{InterestChange, Member};
use crate::routing::subject;
use crate::shard::core::{Core, Local};
use crate::shard::deliver::{Message, Sizes};
use crate::shard::effects::Effect;
use crate::transport::settings::TlsSettings;

/// Stands for the connection of a subscription of the server itself. No connection is ever there.
pub const INTERNAL: u32 = u32::MAX;

/// Which of the server's services a subscription belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceId(pub u32);

/// The service that answers requests about the server and its accounts. It is the first of them, and
/// there where there is a system account.
pub const REQUESTS: ServiceId = ServiceId(0);

/// The service that puts traces of messages together, there where [`REQUESTS`] is.
pub const TRACES: ServiceId = ServiceId(1);

/// What the server wants of its own account of subjects.
#[derive(Debug)]
pub enum InternalAction {
    /// Receive what is published on a pattern.
    Subscribe {
        /// Account the pattern is in.
        account: AccountId,
        /// Pattern; an invalid one is ignored.
        pattern: Box<[u8]>,
        /// Queue group.
        queue: Option<Box<[u8]>>,
        /// Who gets it.
        service: ServiceId,
    },
    /// End all subscriptions of a service.
    Unsubscribe(ServiceId),
    /// Publish.
    Publish(InternalPublish),
}

/// A message for one of the server's services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalMessage {
    /// Service whose subscription it arrived on.
    pub service: ServiceId,
    /// Account it was published in.
    pub account: AccountId,
    /// Its subject.
    pub subject: Box<[u8]>,
    /// Where an answer is awaited.
    pub reply: Option<Box<[u8]>>,
    /// Header block, with `NATS/1.0` and the empty line; empty without one.
    pub header: Box<[u8]>,
    /// Its payload.
    pub payload: Box<[u8]>,
    /// Connection that published it, and its shard; `None` for the server itself.
    pub requester: Option<(ShardId, Slot)>,
}

/// A message the server itself publishes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InternalPublish {
    /// Account of its subject.
    pub account: AccountId,
    /// Its subject.
    pub subject: Box<[u8]>,
    /// Where an answer is awaited.
    pub reply: Option<Box<[u8]>>,
    /// Header block, with `NATS/1.0` and the empty line; empty without one.
    pub header: Box<[u8]>,
    /// Its payload.
    pub payload: Box<[u8]>,
}

/// A question of a shard to an auth service.
#[derive(Debug, Clone)]
pub struct Question {
    /// Who wants to know.
    pub shard: ShardId,
    /// Of which connection.
    pub slot: Slot,
    /// Where and how to ask.
    pub ask: Ask,
    /// How long to wait for the answer.
    pub patience: Duration,
    /// `client_info` of the question.
    pub client_info: Value,
    /// `connect_opts` of the question.
    pub connect_opts: Value,
    /// `client_tls` of the question, where the connection is encrypted.
    pub client_tls: Option<Value>,
}

/// A connection waits for an account that is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSought {
    /// Its shard.
    pub shard: ShardId,
    /// The connection.
    pub slot: Slot,
    /// Public key of the account.
    pub key: String,
}

/// Was a peer's certificate revoked? Its authorities are asked (CORE-89).
#[derive(Debug)]
pub struct PeerCheck {
    /// Who wants to know.
    pub shard: ShardId,
    /// Of which connection.
    pub slot: Slot,
    /// What it has shown, its own first.
    pub certificates: Vec<CertificateDer<'static>>,
    /// Whom it was verified against, and how it is to be asked.
    pub settings: Arc<TlsSettings>,
}

/// What shards leave for the server's own services.
#[derive(Debug)]
pub enum Mail {
    /// A message on one of their subscriptions.
    Message(Box<InternalMessage>),
    /// A question to an auth service.
    Question(Box<Question>),
    /// An account to be looked for.
    Seek(Box<AccountSought>),
    /// A peer to be asked about.
    Peer(Arc<PeerCheck>),
}

/// The server's own subscriptions on this shard.
#[derive(Default)]
pub(super) struct InternalSubscriptions {
    sids: HashTable<SubscriptionId>,
    /// So that no two have the same sid.
    made: u64,
}

impl Core {
    /// Does what the server wants done.
    pub fn act(&mut self, action: InternalAction) {
        match action {
            InternalAction::Subscribe {
                account,
                pattern,
                queue,
                service,
            } => self.subscribe_internal(account, &pattern, queue.as_deref(), service),
            InternalAction::Unsubscribe(service) => self.unsubscribe_internal(service),
            InternalAction::Publish(publish) => self.publish_internal(&publish),
        }
    }

    fn subscribe_internal(
        &mut self,
        account: AccountId,
        pattern: &[u8],
        queue: Option<&[u8]>,
        service: ServiceId,
    ) {
        if !subject::is_valid_pattern(pattern) {
            return;
        }
        let own = &mut self.local.internal;
        own.made += 1;
        let sid = format!("{}.{}", service.0, own.made);
        let subscription = Subscription::new(INTERNAL, account, pattern, queue, sid.as_bytes());
        let id = self.local.subscriptions.insert(subscription, &mut own.sids);
        let member = Member {
            subscription: id,
            connection: INTERNAL,
        };
        let change = self.change_interest(account, pattern, queue, |interest| {
            interest.insert_local(pattern, queue, member)
        });
        if change != InterestChange::None {
            self.interest_changed(INTERNAL, account, pattern, queue, change);
        }
    }

    fn unsubscribe_internal(&mut self, service: ServiceId) {
        let ids: Vec<SubscriptionId> = self.local.internal.sids.iter().copied().collect();
        for id in ids {
            let subscriptions = &mut self.local.subscriptions;
            let own = |it: &Subscription| service_of(it) == Some(service);
            if !subscriptions.get(id).is_some_and(own) {
                continue;
            }
            let sids = &mut self.local.internal.sids;
            let Some(subscription) = subscriptions.remove(id, sids) else {
                continue;
            };
            let member = Member {
                subscription: id,
                connection: INTERNAL,
            };
            let (pattern, queue) = (subscription.subject(), subscription.queue.as_deref());
            let account = subscription.account;
            let change = self.change_interest(account, pattern, queue, |interest| {
                interest.remove_local(pattern, queue, member)
            });
            if change != InterestChange::None {
                self.interest_changed(INTERNAL, account, pattern, queue, change);
            }
        }
    }

    /// Publishes a message of the server itself.
    pub fn publish_internal(&mut self, publish: &InternalPublish) {
        let body = [&*publish.header, &*publish.payload].concat();
        let (header_len, mut sizes) = (publish.header.len(), Sizes::default());
        let (account, subject) = (publish.account, &publish.subject);
        let mut message = Message {
            reply: Some(publish.reply.as_deref().unwrap_or_default()),
            ..Message::own(account, subject, &body, header_len, &mut sizes)
        };
        self.route(&mut message);
        self.after_delivery();
    }
}

/// Whose it is, as its sid says.
fn service_of(subscription: &Subscription) -> Option<ServiceId> {
    let digits = subscription.sid().split(|&byte| byte == b'.').next()?;
    Some(ServiceId(std::str::from_utf8(digits).ok()?.parse().ok()?))
}

impl Local {
    /// Takes a message for a subscription whose connection is not there: one of the server's own,
    /// or of a connection that has just gone. False if nobody has it.
    #[cold]
    pub(super) fn deliver_internal(&mut self, member: Member, message: &Message<'_>) -> bool {
        if member.connection != INTERNAL {
            return false;
        }
        if self.choose_receiver(member, message) {
            return true;
        }
        let Some(subscription) = self.subscriptions.get(member.subscription) else {
            return false;
        };
        let Some(service) = service_of(subscription) else {
            return false;
        };
        let (header, payload) = message.body.split_at(message.header_len.unwrap_or(0));
        self.effects
            .push(Effect::Internal(Box::new(InternalMessage {
                service,
                account: message.account,
                subject: message.subject.into(),
                reply: message.awaited().map(Into::into),
                header: header.into(),
                payload: payload.into(),
                requester: message.source,
            })));
        true
    }
}
