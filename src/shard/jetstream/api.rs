//! Requests to `$JS.API.>`, as shard 0 takes them: it answers what it knows itself and hands the
//! others on to the shard that has the stream.

use crate::ids::{AccountId, ShardId};
use crate::jetstream::api::decode::is_empty;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::is_beyond;
use crate::jetstream::api::request::StreamConfigRequest;
use crate::jetstream::api::subjects::{ApiSubject, Endpoint};
use crate::jetstream::limits::{AccountTiers, ServerLimits, Streams, Surroundings};
use crate::jetstream::stream::config::StreamConfig;
use crate::jetstream::stream::create::{Creation, create_stream, update_stream};
use crate::protocol::headers;
use crate::routing::interest::Handler;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::publish::Routed;

use super::command::{Command, Request};
use super::receive::split;
use super::registry::{KnownStream, Registry};
use super::state::Receiver;

/// All requests of an account.
const API: &[u8] = b"$JS.API.>";
/// Level of the API a request needs (JS-7).
pub(super) const REQUIRED_LEVEL: &[u8] = b"Nats-Required-Api-Level";

/// An account's streams, for those who judge configurations.
struct Known<'a>(&'a Registry, AccountId);

impl Streams for Known<'_> {
    fn stream(&self, name: &str) -> Option<&StreamConfig> {
        Some(&self.0.find(self.1, name)?.config)
    }

    fn each(&self, visit: &mut dyn FnMut(&StreamConfig)) {
        self.0
            .of(self.1)
            .for_each(|(_, known)| visit(&known.config));
    }
}

/// What streams cannot do yet is refused: stored plainly it would betray who asked for it.
fn check_served(config: &StreamConfig) -> Result<(), ApiError> {
    let asked = [
        (config.mirror.is_some(), "mirrors"),
        (!config.sources.is_empty(), "sources"),
        (config.allow_msg_counter, "message counters"),
        (config.allow_msg_schedules, "message schedules"),
    ];
    match asked.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, what)) => Err(errors::stream_invalid_config(format_args!(
            "{what} are not served by this version"
        ))),
        None => Ok(()),
    }
}

impl Core {
    /// Takes requests of the accounts there are now (JS-2). All are heard: one without JetStream is
    /// told so (JS-6).
    pub(in crate::shard) fn js_listen(&mut self) {
        let Some(settings) = self.local.settings.jetstream.clone() else {
            return;
        };
        let accounts = std::sync::Arc::clone(&self.local.settings.accounts);
        let domain = format!("$JS.{}.API.>", settings.domain);
        for account in accounts.iter() {
            let interest = &mut self.tables.of(account.id).interest;
            if !settings.domain.is_empty() && !interest.has_handler(domain.as_bytes()) {
                interest.add_handler(domain.as_bytes(), Handler::Domain);
            }
            if self.local.id != ShardId(0) {
                // As it will say itself: a client may be there before that.
                interest.set_remote(ShardId(0), API, None, 1);
                continue;
            }
            let heard = self.jetstream.receivers.iter();
            let heard = heard.filter(|(_, it)| it.receiver == Receiver::Api);
            if !heard.into_iter().any(|(_, it)| it.account == account.id) {
                self.js_register(account.id, API, Receiver::Api);
            }
        }
    }

    /// What is published under the server's domain goes on as if there were none (section 21).
    pub(in crate::shard) fn js_in_domain(&mut self, message: &Message<'_>) -> Routed {
        let Some(settings) = self.local.settings.jetstream.clone() else {
            return Routed::Nobody;
        };
        let prefix = format!("$JS.{}.API.", settings.domain);
        let Some(rest) = message.destination().strip_prefix(prefix.as_bytes()) else {
            return Routed::Nobody;
        };
        let mut subject = self.local.buffer();
        if !rest.starts_with(b"$KV.") && !rest.starts_with(b"$O.") {
            subject.extend_from_slice(b"$JS.API.");
        }
        subject.extend_from_slice(rest);
        let mut inner = Message {
            to: None,
            subject: &subject,
            shared: message.shared.clone(),
            ..*message
        };
        let routed = self.route(&mut inner);
        self.local.give_back(subject);
        routed
    }

    /// May this account use JetStream?
    pub(super) fn js_enabled(&self, account: AccountId) -> bool {
        let settings = self.local.settings.jetstream.as_ref();
        settings.is_some_and(|it| it.accounts.contains_key(&account))
    }

    /// Are requests with unknown fields refused?
    pub(super) fn js_strict(&self) -> bool {
        let settings = self.local.settings.jetstream.as_ref();
        settings.is_none_or(|it| it.strict)
    }

    /// A request. One that only a stream's owner hears is nobody's here (JS-5).
    pub(super) fn js_request(&mut self, message: &Message<'_>) -> Routed {
        let Some(subject) = ApiSubject::parse(message.destination()) else {
            return Routed::Here;
        };
        if matches!(
            subject.endpoint,
            Endpoint::MessageNext | Endpoint::DirectGet
        ) {
            return Routed::Nobody;
        }
        let (header, body) = split(message);
        let request = Request {
            account: message.account,
            subject: message.destination().into(),
            reply: message.reply.map(Into::into),
            header: header.into(),
            body: body.into(),
        };
        self.jetstream.registry.requested(message.account);
        if let Err(error) = self.js_dispatch(subject, &request) {
            self.js_fail(&request, subject.endpoint, error);
        }
        Routed::Here
    }

    fn js_dispatch(&mut self, subject: ApiSubject<'_>, request: &Request) -> Result<(), ApiError> {
        let level = headers::get(&request.header, REQUIRED_LEVEL);
        if level.is_some_and(is_beyond) {
            return Err(errors::REQUIRED_API_LEVEL);
        }
        if !self.js_enabled(request.account) {
            return Err(errors::NOT_ENABLED_FOR_ACCOUNT);
        }
        match subject.endpoint {
            Endpoint::AccountInfo => self.js_account_info(request),
            Endpoint::StreamNames => self.js_stream_names(request),
            Endpoint::StreamList => self.js_stream_list(request),
            Endpoint::StreamCreate => self.js_create_stream(subject, request),
            Endpoint::StreamUpdate => self.js_update_stream(subject, request),
            Endpoint::StreamDelete => self.js_delete_stream(subject, request),
            Endpoint::StreamLeaderStepDown
            | Endpoint::ConsumerLeaderStepDown
            | Endpoint::StreamPeerRemove
            | Endpoint::StreamPeerEvacuate
            | Endpoint::StreamCancelMove => Err(errors::CLUSTER_REQUIRED),
            _ => self.js_forward(subject, request),
        }
    }

    /// Hands a request on to the shard that has its stream. One about a stream that does not exist
    /// is looked at here, so that what else is wrong with it is found in the same order.
    fn js_forward(&mut self, subject: ApiSubject<'_>, request: &Request) -> Result<(), ApiError> {
        let known = self
            .jetstream
            .registry
            .find(request.account, subject.stream);
        let owner = known.map_or(self.local.id, |it| it.owner);
        self.js_command(owner, Command::Request(request.clone()));
        Ok(())
    }

    /// Reads the configuration a request has, and what `judge` makes of it among what there is.
    fn js_judge<T>(
        &self,
        request: &Request,
        judge: impl FnOnce(&StreamConfigRequest, Surroundings<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let wished = StreamConfigRequest::decode(&request.body, self.js_strict());
        let wished = wished.map_err(errors::invalid_json)?;
        let (server, account) = self.js_limits(request.account);
        let streams = Known(&self.jetstream.registry, request.account);
        let around = Surroundings {
            server: &server,
            account: &account,
            streams: &streams,
        };
        judge(&wished, around)
    }

    fn js_create_stream(
        &mut self,
        subject: ApiSubject<'_>,
        request: &Request,
    ) -> Result<(), ApiError> {
        match self.js_judge(request, |it, around| {
            create_stream(it, subject.stream, around)
        })? {
            Creation::Same => {
                // The owner tells of it as if it were new.
                let known = self
                    .jetstream
                    .registry
                    .find(request.account, subject.stream);
                let owner = known.map_or(self.local.id, |it| it.owner);
                self.js_command(owner, Command::Request(request.clone()));
            }
            Creation::New(config) => {
                check_served(&config)?;
                let created = self.local.wall;
                let shards = self.local.peers.others().count() + 1;
                let owner = self.jetstream.registry.place(shards);
                let known = KnownStream {
                    owner,
                    config: (*config).clone(),
                };
                self.jetstream.registry.insert(request.account, known);
                let command = Command::Create {
                    request: request.clone(),
                    config,
                    created,
                };
                self.js_command(owner, command);
            }
        }
        Ok(())
    }

    fn js_update_stream(
        &mut self,
        subject: ApiSubject<'_>,
        request: &Request,
    ) -> Result<(), ApiError> {
        let config = self.js_judge(request, |it, around| {
            update_stream(it, subject.stream, around, std::iter::empty())
        })?;
        check_served(&config)?;
        let registry = &mut self.jetstream.registry;
        let Some(known) = registry.find_mut(request.account, subject.stream) else {
            return Err(errors::STREAM_NOT_FOUND);
        };
        known.config.clone_from(&config);
        let owner = known.owner;
        let command = Command::Update {
            request: request.clone(),
            config: Box::new(config),
        };
        self.js_command(owner, command);
        Ok(())
    }

    fn js_delete_stream(
        &mut self,
        subject: ApiSubject<'_>,
        request: &Request,
    ) -> Result<(), ApiError> {
        if !is_empty(&request.body) {
            return Err(errors::NOT_EMPTY_REQUEST);
        }
        let registry = &mut self.jetstream.registry;
        let gone = registry.remove(request.account, subject.stream);
        let owner = gone.ok_or(errors::STREAM_NOT_FOUND)?.owner;
        let command = Command::Delete {
            request: request.clone(),
            name: subject.stream.into(),
        };
        self.js_command(owner, command);
        Ok(())
    }

    /// What the server and an account may have.
    pub(super) fn js_limits(&self, account: AccountId) -> (ServerLimits, AccountTiers) {
        let Some(settings) = &self.local.settings.jetstream else {
            return Default::default();
        };
        let tiers = settings.accounts.get(&account).cloned();
        (settings.server, tiers.unwrap_or_default())
    }
}
