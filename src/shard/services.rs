//! Requests to other accounts' services, and the answers' way back (AUTH-33..38).
//!
//! A request goes over on the shard it was published on: the importer's interest there has a
//! handler for each import, the exporter gets the message with a reply subject made here, and the
//! answer to that comes back to this shard by interest, as any message does. So nothing is asked
//! of other shards, and what crosses the mesh does so once.

use std::sync::Arc;

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::accounts::export::ServiceExport;
use crate::accounts::import::ServiceImport;
use crate::accounts::registry::Accounts;
use crate::accounts::replies::{self, Measured, Replies, Reply};
use crate::ids::{AccountId, ShardId, Slot};
use crate::jetstream::stream::batch::SUFFIX as FAST_BATCH_SUFFIX;
use crate::limits;
use crate::protocol::encode::Decimal;
use crate::routing::interest::{Handler, InterestChange};
use crate::shard::core::{Core, Local};
use crate::shard::deliver::Message;
use crate::shard::publish::Routed;
use crate::shard::request_info;
use crate::time::Nanos;

/// Acknowledgements find their own way: their subjects are not replaced.
const ACKNOWLEDGEMENT: &[u8] = b"$JS.ACK.";

/// Requests to services that wait for answers, by the account asked.
#[derive(Default)]
pub struct Services {
    replies: HashMap<AccountId, Replies, ahash::RandomState>,
    /// Some requests have been measured: who leaves must be looked for among those.
    measures: bool,
    /// What another shard said of the publisher of the message it brings next.
    publisher: Option<(ShardId, Box<[u8]>)>,
    /// When to look for what is out of time.
    look_at: Option<Nanos>,
}

/// A service import that a message has come through. They form a chain on the stack.
pub(super) struct Hop<'a> {
    pub export: &'a Arc<ServiceExport>,
    /// The first importer lets the requester be seen.
    pub share: bool,
    /// The server has been named on the way.
    pub server: bool,
    depth: u32,
    previous: Option<&'a Hop<'a>>,
}

impl Hop<'_> {
    fn passed(&self, export: &Arc<ServiceExport>) -> bool {
        let previous = self.previous.is_some_and(|it| it.passed(export));
        Arc::ptr_eq(self.export, export) || previous
    }
}

impl Services {
    /// When something is to be done next.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.look_at
    }

    /// Another shard says who publishes the message that it brings next.
    pub(super) fn publisher_is(&mut self, from: ShardId, publisher: &[u8]) {
        self.publisher = Some((from, publisher.into()));
    }

    /// That message has been dealt with.
    pub(super) fn publisher_was(&mut self, from: ShardId) {
        if self.publisher.as_ref().is_some_and(|(it, _)| *it == from) {
            self.publisher = None;
        }
    }

    /// What is known of the publisher of a message that another shard brought.
    pub(super) fn publisher(&self, home: ShardId) -> Option<serde_json::Value> {
        let (from, publisher) = self.publisher.as_ref()?;
        let known = serde_json::from_slice(publisher).ok();
        known.filter(|_| *from == home)
    }

    fn wait_for(&mut self, at: Nanos) {
        self.look_at = Some(self.look_at.map_or(at, |it| it.min(at)));
    }
}

impl Local {
    /// Requests that wait for answers of an account.
    pub(super) fn services_of(&mut self, account: AccountId) -> Option<&mut Replies> {
        self.services.replies.get_mut(&account)
    }
}

impl Core {
    /// Puts the handlers of these accounts' imports and exports in place of those of `before`.
    pub(super) fn install_services(&mut self, before: Option<&Accounts>, now: &Accounts) {
        for old in before.into_iter().flat_map(Accounts::iter) {
            let new = now.get(old.id);
            if new.is_some_and(|new| new.service_imports == old.service_imports) {
                continue;
            }
            for (number, import) in old.service_imports.iter().enumerate() {
                let handler = Handler::Import(number as u32);
                let from = import.from.as_bytes();
                self.change_interest(old.id, from, None, |it| it.remove_handler(from, handler));
            }
        }
        for new in now.iter() {
            let old = before.and_then(|it| it.get(new.id));
            if old.is_none_or(|old| old.service_imports != new.service_imports)
                && !new.service_imports.is_empty()
            {
                for (number, import) in new.service_imports.iter().enumerate() {
                    let handler = Handler::Import(number as u32);
                    let from = import.from.as_bytes();
                    self.change_interest(new.id, from, None, |it| it.add_handler(from, handler));
                }
            }
        }
    }

    /// Makes sure that answers to requests to an account come here. Other shards and links are told
    /// with the first request, which goes to them behind it: whoever gets it knows where to answer
    /// (TOPO-39).
    fn expect_answers(&mut self, account: AccountId) {
        if self.local.services.replies.contains_key(&account) {
            return;
        }
        let replies = Replies::new(self.local.secret_random());
        let pattern = replies.pattern();
        self.local.services.replies.insert(account, replies);
        let change = self.change_interest(account, &pattern, None, |interest| {
            interest.add_handler(&pattern, Handler::Replies)
        });
        if change != InterestChange::None {
            let peers = &mut self.local.peers;
            peers.broadcast_interest(account, &pattern, None, 1);
        }
    }

    /// Hands a message to parts of the server.
    pub(super) fn hand_over(&mut self, handlers: &[Handler], message: &Message<'_>) -> Routed {
        let mut routed = Routed::Nobody;
        for handler in handlers {
            routed = routed.or(match handler {
                Handler::Import(number) => self.request(*number, message),
                Handler::Replies => self.answer(message),
                Handler::Domain => self.js_in_domain(message),
                Handler::Api => self.js_asked(message),
                Handler::JetStream(receiver) => self.jetstream_receives(*receiver, message),
            });
        }
        routed
    }

    /// A request goes over to the account whose service it asks.
    fn request(&mut self, number: u32, message: &Message<'_>) -> Routed {
        let settings = Arc::clone(&self.local.settings);
        let accounts = &settings.accounts;
        let imports = accounts.get(message.account).map(|it| &it.service_imports);
        let Some(import) = imports.and_then(|it| it.get(number as usize)) else {
            return Routed::Nobody;
        };
        let depth = message.hop.map_or(0, |hop| hop.depth + 1);
        if depth >= limits::SERVICE_HOPS_MAX
            || message.hop.is_some_and(|hop| hop.passed(&import.export))
        {
            return Routed::Nobody;
        }
        let mut subject = self.local.buffer();
        import.remote_subject(message.destination(), &mut subject);
        self.map_again(accounts, import.account, &mut subject);
        let mut reply = self.local.buffer();
        let mut body = self.local.buffer();
        let measured = self.measured(import, message);
        if let Some(asked) = message.awaited() {
            if asked.starts_with(ACKNOWLEDGEMENT) {
                reply.extend_from_slice(asked);
            } else if !self.open_reply(import, message, asked, measured, &mut reply) {
                return Routed::Nobody;
            }
        } else if let Some(measured) = measured {
            self.report_bad_request(import, message, *measured);
        }

        let share = message.hop.map_or(import.share, |hop| hop.share);
        let to_system = accounts.system() == Some(import.account);
        let server = message.hop.is_some_and(|hop| hop.server)
            || share
            || (message.hop.is_some() && import.share)
            || to_system;
        let hop = Hop {
            export: &import.export,
            share,
            server,
            depth,
            previous: message.hop,
        };
        let header_len = self.add_request_info(message, &hop, &mut body);
        let (mut header_size, mut size) = (Decimal::new(), Decimal::new());
        let as_it_is = header_len.is_none();
        let mut inner = Message {
            account: import.account,
            crossed: true,
            hop: Some(&hop),
            to: None,
            subject: &subject,
            reply: message.awaited().map(|_| &reply[..]),
            shared: message.shared.clone().filter(|_| as_it_is),
            tail: b"",
            ..*message
        };
        if let Some(header_len) = header_len {
            inner.header_len = Some(header_len);
            inner.header_size_text = header_size.format(header_len);
            inner.size_text = size.format(body.len());
            inner.body = &body;
        }
        let routed = self.route(&mut inner);
        if routed == Routed::Nobody && !reply.is_empty() {
            self.close_reply(import.account, &reply, Some(503));
        }
        self.local.give_back(subject);
        self.local.give_back(reply);
        self.local.give_back(body);
        routed
    }

    /// The mappings of the exporting account apply to what comes to it, too.
    fn map_again(&mut self, accounts: &Accounts, account: AccountId, subject: &mut Vec<u8>) {
        let Some(exporter) = accounts.get(account).filter(|it| !it.mappings.is_empty()) else {
            return;
        };
        let local = &mut self.local;
        let mut mapped = local.buffer();
        if exporter
            .mappings
            .map(subject, &mut mapped, || local.random())
        {
            std::mem::swap(subject, &mut mapped);
        }
        local.give_back(mapped);
    }

    /// Remembers who is to be answered on `asked`, and writes the subject the service gets instead.
    fn open_reply(
        &mut self,
        import: &ServiceImport,
        message: &Message<'_>,
        asked: &[u8],
        measured: Option<Box<Measured>>,
        subject: &mut Vec<u8>,
    ) -> bool {
        let requester = self.own_source(message);
        let now = self.local.now;
        let subjects = (message.subject, asked);
        let mut reply = Reply::new(message.account, requester, &import.export, now, subjects);
        let is_measured = measured.is_some();
        reply.measured = measured;
        if !self.open(import.account, reply, subject) {
            return false;
        }
        if is_measured {
            self.local.services.measures = true;
            // The end tells other servers which of them measures.
            subject.push(b'.');
            let id = self.local.settings.info.server_id.as_bytes();
            subject.extend_from_slice(id.get(..8).unwrap_or(id));
            subject.extend_from_slice(b".T");
        }
        true
    }

    fn open(&mut self, account: AccountId, reply: Reply, subject: &mut Vec<u8>) -> bool {
        self.expect_answers(account);
        let due = reply.at + reply.export.threshold;
        let random = self.local.secret_random();
        let services = &mut self.local.services;
        let Some(replies) = services.replies.get_mut(&account) else {
            return false;
        };
        let opened = replies.open(reply, random, subject);
        if opened {
            services.wait_for(due);
        }
        opened
    }

    /// The connection a message is of, if it is one of this shard.
    pub(super) fn own_source(&self, message: &Message<'_>) -> Option<Slot> {
        let own = message.source.filter(|(home, _)| *home == self.local.id);
        own.map(|(_, slot)| slot)
    }

    /// An answer goes back to the account that asked.
    pub(super) fn answer(&mut self, message: &Message<'_>) -> Routed {
        let account = message.account;
        let Some(replies) = self.local.services.replies.get_mut(&account) else {
            return Routed::Nobody;
        };
        let Some(entry) = replies.find(message.destination()) else {
            return Routed::Nobody;
        };
        let (asker, export) = (entry.account, Arc::clone(&entry.export));
        let to: SmallVec<[u8; 64]> = entry.reply().into();
        if entry.measured.is_some() {
            self.report_answer(account, message);
        }
        // Who answers may ask in turn.
        let mut back = self.local.buffer();
        if let Some(asked) = message.awaited() {
            if asked.starts_with(ACKNOWLEDGEMENT) {
                back.extend_from_slice(asked);
            } else {
                let requester = self.own_source(message);
                let subjects = (message.subject, asked);
                let reply = Reply::new(account, requester, &export, self.local.now, subjects);
                self.open(asker, reply, &mut back);
            }
        }
        let mut inner = Message {
            account: asker,
            crossed: true,
            hop: None,
            // What is delivered keeps the subject it is seen under.
            to: message.to.map(|_| &to[..]),
            subject: message.to.map_or(&to, |_| message.subject),
            reply: Some(&back[..]).filter(|it| !it.is_empty()),
            claim: None,
            shared: message.shared.clone(),
            tail: b"",
            ..*message
        };
        let routed = self.route(&mut inner);
        if routed == Routed::Nobody && !back.is_empty() {
            self.close_reply(asker, &back, None);
        }
        self.local.give_back(back);
        let last = replies::is_last(export.response, message.body.is_empty());
        if routed == Routed::Nobody || last {
            self.close_reply(account, message.destination(), None);
        } else if let Some(replies) = self.local.services.replies.get_mut(&account)
            && let Some(entry) = replies.find(message.destination())
        {
            entry.at = self.local.now;
        }
        routed
    }

    /// Forgets a request. One that is measured and was not answered is reported with `status`.
    fn close_reply(&mut self, account: AccountId, subject: &[u8], status: Option<u16>) {
        let replies = self.local.services.replies.get_mut(&account);
        let Some(reply) = replies.and_then(|it| it.close(subject)) else {
            return;
        };
        if let Some(status) = status {
            self.report_failure(account, reply, status);
        }
    }

    /// A request that went over came back: nobody on any shard has it. The subject its requester
    /// asked on and the one it waits on, through all accounts it passed (AUTH-37).
    pub(super) fn give_up_reply(&mut self, subject: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut found: Option<Reply> = None;
        let mut reply = subject.to_vec();
        while reply.starts_with(replies::PREFIX) {
            let mut all = self.local.services.replies.iter_mut();
            let (account, entry) = all.find_map(|(id, it)| Some((*id, it.close(&reply)?)))?;
            reply = entry.reply().to_vec();
            if entry.measured.is_some() {
                let asked = entry.subject().to_vec();
                self.report_failure(account, entry, 503);
                found = None;
                if !reply.starts_with(replies::PREFIX) {
                    return Some((asked, reply));
                }
            } else {
                found = Some(entry);
            }
        }
        found.map(|it| (it.subject().to_vec(), it.reply().to_vec()))
    }

    /// Forgets requests that have been without an answer for too long (AUTH-31).
    pub(super) fn expire_replies(&mut self) {
        let now = self.local.now;
        if self.local.services.look_at.is_none_or(|at| at > now) {
            return;
        }
        let mut gone: SmallVec<[(AccountId, Vec<Reply>); 2]> = SmallVec::new();
        let mut next: Option<Nanos> = None;
        for (account, replies) in &mut self.local.services.replies {
            let mut expired = Vec::new();
            let due = replies.expire(now, &mut expired);
            next = next.into_iter().chain(due).min();
            gone.push((*account, expired));
        }
        self.local.services.look_at = next.map(|at| replies::pause(at, now));
        for (account, expired) in gone {
            for reply in expired {
                self.report_failure(account, reply, 504);
            }
        }
    }

    /// A connection has gone, or waits no more: its measured requests are reported (AUTH-62).
    pub(super) fn abandon_replies(&mut self, requester: Slot) {
        if !self.local.services.measures {
            return;
        }
        let mut gone: SmallVec<[(AccountId, Vec<Reply>); 2]> = SmallVec::new();
        for (account, replies) in &mut self.local.services.replies {
            let mut left = Vec::new();
            replies.abandon(requester, &mut left);
            if !left.is_empty() {
                gone.push((*account, left));
            }
        }
        for (account, left) in gone {
            for reply in left {
                self.report_failure(account, reply, 408);
            }
        }
    }

    /// A subscription has ended: measured requests whose answers it was there for are reported
    /// (AUTH-62), unless somebody else of the account hears them.
    pub(super) fn abandon_unheard(&mut self, account: AccountId, pattern: &[u8]) {
        if !self.local.services.measures {
            return;
        }
        let interest = &mut self.tables.of(account).interest;
        let mut gone: SmallVec<[(AccountId, Vec<Reply>); 2]> = SmallVec::new();
        for (service, replies) in &mut self.local.services.replies {
            let mut left = Vec::new();
            let heard = |reply: &[u8]| !interest.lookup(reply).is_nobody();
            replies.unheard(account, pattern, heard, &mut left);
            if !left.is_empty() {
                gone.push((*service, left));
            }
        }
        for (service, left) in gone {
            for reply in left {
                self.report_failure(service, reply, 408);
            }
        }
    }

    /// Writes header and payload of a request with what its service is told of the requester; the
    /// header's length, or `None` where there is nothing to tell.
    fn add_request_info(
        &mut self,
        message: &Message<'_>,
        hop: &Hop<'_>,
        out: &mut Vec<u8>,
    ) -> Option<usize> {
        let slot = self.own_source(message)?;
        let settings = Arc::clone(&self.local.settings);
        let connection = self.local.connections.of(slot)?;
        let mut info = request_info::describe(connection, hop.share);
        if hop.server {
            info.server = &settings.info.server_name;
        }
        if message.hop.is_some() {
            info.svc = settings.accounts.name(message.account);
        }
        let reply = message.reply.filter(|it| it.ends_with(FAST_BATCH_SUFFIX));
        info.reply = reply.map(|it| String::from_utf8_lossy(it).into_owned());
        let header = message.header_len.and_then(|len| message.body.get(..len));
        let payload = &message.body[message.header_len.unwrap_or(0)..];
        Some(request_info::with_header(out, header, &info, payload))
    }
}
