//! Requests to `$JS.API.>`: taken where they are published, judged by shard 0, which answers what it
//! knows itself and hands the others on to the shard that has the stream.

use crate::ids::{AccountId, ShardId};
use crate::jetstream::api::decode::{decode, is_empty};
use crate::jetstream::api::encode::to_json;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::api::levels::is_beyond;
use crate::jetstream::api::request::{RestoreRequest, StreamConfigRequest};
use crate::jetstream::api::response::{Purging, Response, typed_error};
use crate::jetstream::api::subjects::{ApiSubject, Endpoint, IN_DOMAIN};
use crate::jetstream::limits::{AccountTiers, ServerLimits, Streams, Surroundings};
use crate::jetstream::stream::config::{Storage, StreamConfig};
use crate::jetstream::stream::create::{Creation, create_stream, update_stream};
use crate::protocol::headers;
use crate::routing::interest::Handler;
use crate::shard::core::Core;
use crate::shard::deliver::Message;
use crate::shard::effects::{Effect, Level};
use crate::shard::publish::Routed;

use super::command::{Command, Request};
use super::receive::split;
use super::registry::{KnownStream, Registry};

/// All requests of an account.
const API: &[u8] = b"$JS.API.>";
const ACCOUNT_INFO: &[u8] = b"$JS.API.INFO";
/// What the consumer itself hears.
const NEXT: &[u8] = b"$JS.API.CONSUMER.MSG.NEXT.";
/// What the stream itself hears.
const DIRECT: &[u8] = b"$JS.API.DIRECT.GET.";
/// What the system account asks of clusters (JS-45..49).
const OF_CLUSTERS: [&[u8]; 3] = [b"$JS.API.META.", b"$JS.API.SERVER.", b"$JS.API.ACCOUNT."];
const ACCOUNT_PURGE: &[u8] = b"$JS.API.ACCOUNT.PURGE.";
const ACCOUNT_PURGE_RESPONSE: &str = "io.nats.jetstream.api.v1.account_purge_response";
const SYSTEM_RESPONSE: &str = "io.nats.jetstream.api.v1.system_response";
/// Level of the API a request needs (JS-7).
pub(super) const REQUIRED_LEVEL: &[u8] = b"Nats-Required-Api-Level";

/// Is this subject below the API heard by the stream or consumer it names, and by nobody else?
pub(super) fn goes_to_its_stream(subject: &[u8]) -> bool {
    subject.starts_with(NEXT) || subject.starts_with(DIRECT)
}

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

impl Core {
    /// Takes requests of the accounts there are now (JS-2). All are heard: one without JetStream is
    /// told so (JS-6).
    pub(in crate::shard) fn js_listen(&mut self) {
        let Some(settings) = self.local.settings.jetstream.clone() else {
            return;
        };
        let accounts = std::sync::Arc::clone(&self.local.settings.accounts);
        let domain = |rest: &&str| format!("$JS.{}.API.{rest}", settings.domain).into_bytes();
        let domain: Vec<_> = match settings.domain.is_empty() {
            true => Vec::new(),
            false => IN_DOMAIN.iter().map(domain).collect(),
        };
        for account in accounts.iter() {
            let domain = domain.iter().map(|it| (it.as_slice(), Handler::Domain));
            for (pattern, handler) in domain.chain([(API, Handler::Api)]) {
                self.change_interest(account.id, pattern, None, |interest| {
                    if !interest.has_handler(pattern) {
                        interest.add_handler(pattern, handler);
                    }
                });
            }
        }
        self.js_resume_or_suspend();
    }

    /// Streams hear nothing while their account may not use JetStream (JS-244).
    fn js_resume_or_suspend(&mut self) {
        let streams = self.jetstream.streams.iter();
        let streams: Vec<_> = streams.map(|(key, it)| (key, it.account)).collect();
        for (key, account) in streams {
            self.js_receive_for(key);
            self.js_look_again(account);
        }
        let consumers = self.jetstream.consumers.iter();
        let consumers: Vec<_> = consumers.map(|(key, _)| key).collect();
        for key in consumers {
            self.js_receive_for_consumer(key);
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
        if !rest.starts_with(b"$KV.") && !rest.starts_with(b"$OBJ.") {
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

    /// A request of a client of this shard, or of one whose request came here. One that only its
    /// stream's owner hears is nobody's here (JS-5).
    pub(in crate::shard) fn js_asked(&mut self, message: &Message<'_>) -> Routed {
        let subject = message.destination();
        if goes_to_its_stream(subject) {
            return Routed::Nobody;
        }
        let endpoint = ApiSubject::parse(subject).map(|it| it.endpoint);
        if endpoint.is_some() || self.js_is_system(message.account) {
            let (header, body) = split(message);
            // The consumer itself hears of these.
            let client = match endpoint {
                Some(Endpoint::ConsumerReset) => None,
                _ => self.js_audited(message),
            };
            let request = Request {
                account: message.account,
                home: self.local.id,
                subject: subject.into(),
                reply: message.reply.map(Into::into),
                header: header.into(),
                body: body.into(),
                client,
            };
            self.js_command(ShardId(0), Command::Ask(request));
        }
        Routed::Here
    }

    fn js_is_system(&self, account: AccountId) -> bool {
        self.local.settings.accounts.system() == Some(account)
    }

    /// Shard 0 takes a request.
    pub(super) fn js_request(&mut self, request: &Request) {
        if self.js_is_system(request.account) && request.subject[..] != *ACCOUNT_INFO {
            return match request.subject.strip_prefix(ACCOUNT_PURGE) {
                Some(name) if !name.contains(&b'.') => self.js_purge_account(request, name),
                _ => self.js_refuse_system(request),
            };
        }
        let Some(subject) = ApiSubject::parse(&request.subject) else {
            return;
        };
        let registry = &mut self.jetstream.registry;
        registry.requested(request.account, subject.endpoint);
        if let Err(error) = self.js_dispatch(subject, request) {
            self.js_fail(request, subject.endpoint, error);
        }
    }

    /// The system account has no streams: all it may ask for is its info. What only servers in a
    /// cluster hear stays without an answer.
    fn js_refuse_system(&mut self, request: &Request) {
        let of_clusters = OF_CLUSTERS.iter().any(|it| request.subject.starts_with(it));
        if !of_clusters {
            let error = errors::NOT_ENABLED_FOR_ACCOUNT;
            self.js_answer(request, typed_error(SYSTEM_RESPONSE, error));
        }
    }

    /// JS-49: all streams of an account go.
    fn js_purge_account(&mut self, request: &Request, name: &[u8]) {
        let mut answer = Response {
            kind: ACCOUNT_PURGE_RESPONSE,
            error: None,
            content: None,
        };
        if memchr::memchr2(b'/', b'\\', name).is_some() {
            let why = "account name can not contain path separators";
            answer.error = Some(errors::stream_general_error(why));
            return self.js_answer(request, to_json(&answer));
        }
        let accounts = &self.local.settings.accounts;
        let account = std::str::from_utf8(name).ok();
        let account = account.and_then(|it| accounts.find(it));
        let all = account.map_or(Vec::new(), |account| {
            let all = self.jetstream.registry.of(account);
            all.map(|(name, _)| (account, Box::<str>::from(name)))
                .collect()
        });
        let line = format!(
            "Purge request for account {} (streams: {}, hasAccount: {})",
            name.escape_ascii(),
            all.len(),
            account.is_some()
        );
        self.local.effects.push(Effect::Log(Level::Info, line));
        for (account, name) in all {
            let registry = &mut self.jetstream.registry;
            if registry.is_restoring(account, &name) {
                continue; // it is not there yet
            }
            let Some(gone) = registry.remove(account, &name) else {
                continue;
            };
            let request = Request {
                account,
                reply: None,
                client: None,
                ..request.clone()
            };
            self.js_command(gone.owner, Command::Delete { request, name });
        }
        answer.content = Some(Purging { initiated: true });
        self.js_answer(request, to_json(&answer));
    }

    fn js_dispatch(&mut self, subject: ApiSubject<'_>, request: &Request) -> Result<(), ApiError> {
        let level = headers::get(&request.header, REQUIRED_LEVEL);
        if level.is_some_and(is_beyond) {
            return Err(errors::REQUIRED_API_LEVEL);
        }
        if !self.js_enabled(request.account) {
            // Somebody else may answer.
            let account = self.local.settings.accounts.get(request.account);
            if account.is_some_and(|it| it.usage.is_linked()) {
                return Ok(());
            }
            return Err(errors::NOT_ENABLED_FOR_ACCOUNT);
        }
        match subject.endpoint {
            Endpoint::AccountInfo => self.js_account_info(request),
            Endpoint::StreamNames => self.js_stream_names(request),
            Endpoint::StreamList => self.js_stream_list(request),
            Endpoint::StreamCreate => self.js_create_stream(subject, request),
            Endpoint::StreamUpdate => self.js_update_stream(subject, request),
            Endpoint::StreamDelete => self.js_delete_stream(subject, request),
            Endpoint::StreamRestore => self.js_judge_restore(subject, request),
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
        let registry = &self.jetstream.registry;
        if let Some(offline) = registry.offline(request.account, subject.stream) {
            let offline = offline.clone();
            return self.js_asked_offline(subject, request, &offline);
        }
        let known = registry.find(request.account, subject.stream);
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
            Creation::Same if self.js_is_restoring(request, subject) => {
                return Err(errors::STREAM_NAME_EXIST);
            }
            Creation::Same => {
                let registry = &self.jetstream.registry;
                if let Some(offline) = registry.offline(request.account, subject.stream) {
                    return Err(errors::stream_offline_reason(&offline.reason));
                }
                // The owner tells of it as if it were new.
                let known = self
                    .jetstream
                    .registry
                    .find(request.account, subject.stream);
                let owner = known.map_or(self.local.id, |it| it.owner);
                self.js_command(owner, Command::Request(request.clone()));
            }
            Creation::New(config) => {
                let created = self.local.wall;
                let shards = self.local.peers.others().count() + 1;
                let owner = self.jetstream.registry.place(shards);
                let known = KnownStream {
                    owner,
                    config: (*config).clone(),
                    offline: None,
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
        if self.js_is_restoring(request, subject) {
            return Err(errors::STREAM_NOT_FOUND);
        }
        let registry = &self.jetstream.registry;
        if let Some(offline) = registry.offline(request.account, subject.stream) {
            return Err(errors::stream_offline_reason(&offline.reason));
        }
        let config = self.js_judge(request, |it, around| {
            update_stream(it, subject.stream, around, std::iter::empty())
        })?;
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
        if self.js_is_restoring(request, subject) {
            return Err(errors::STREAM_NOT_FOUND);
        }
        let registry = &mut self.jetstream.registry;
        let gone = registry.remove(request.account, subject.stream);
        let gone = gone.ok_or(errors::STREAM_NOT_FOUND)?;
        if let Some(offline) = gone.offline {
            self.local.effects.push(Effect::RemoveStore(offline.path));
        }
        let command = Command::Delete {
            request: request.clone(),
            name: subject.stream.into(),
        };
        self.js_command(gone.owner, command);
        Ok(())
    }

    /// Is the stream a request is about not there yet, but being made of a copy?
    fn js_is_restoring(&self, request: &Request, subject: ApiSubject<'_>) -> bool {
        let registry = &self.jetstream.registry;
        registry.is_restoring(request.account, subject.stream)
    }

    /// JS-28: a stream is to be made of a copy.
    fn js_judge_restore(
        &mut self,
        subject: ApiSubject<'_>,
        request: &Request,
    ) -> Result<(), ApiError> {
        if is_empty(&request.body) {
            return Err(errors::BAD_REQUEST);
        }
        let asked: RestoreRequest =
            decode(&request.body, self.js_strict()).map_err(errors::invalid_json)?;
        let mut wished = StreamConfigRequest {
            config: asked.config,
            pedantic: false,
        };
        if wished.config.name.is_empty() {
            subject.stream.clone_into(&mut wished.config.name);
        }
        // What was sealed may come back so.
        let sealed = std::mem::take(&mut wished.config.sealed);
        let (server, account) = self.js_limits(request.account);
        let streams = Known(&self.jetstream.registry, request.account);
        let around = Surroundings {
            server: &server,
            account: &account,
            streams: &streams,
        };
        let mut created = create_stream(&wished, subject.stream, around);
        // As in stock these are told at the end.
        let at_the_end = [
            errors::STREAM_REPLICAS_NOT_SUPPORTED,
            errors::STREAM_SUBJECT_OVERLAP,
        ];
        let refused = created.clone().err().filter(|it| at_the_end.contains(it));
        if refused.is_some() {
            wished.config.num_replicas = 1;
            let alone = Registry::default();
            let streams = Known(&alone, request.account);
            let streams = &streams;
            created = create_stream(&wished, subject.stream, Surroundings { streams, ..around });
        }
        let mut config = match created {
            Ok(Creation::New(config)) => config,
            Ok(Creation::Same) => return Err(errors::STREAM_NAME_EXIST_RESTORE_FAILED),
            Err(error) if error == errors::STREAM_NAME_EXIST => {
                return Err(errors::STREAM_NAME_EXIST_RESTORE_FAILED);
            }
            Err(error) => return Err(error),
        };
        config.sealed = sealed;
        let shards = self.local.peers.others().count() + 1;
        let registry = &mut self.jetstream.registry;
        let owner = registry.place(shards);
        let mut known = KnownStream {
            owner,
            config: (*config).clone(),
            offline: None,
        };
        if refused.is_some() {
            // They are another stream's.
            known.config.subjects.clear();
        }
        registry.insert(request.account, known);
        registry.begin_restore(request.account, subject.stream);
        let command = Command::Restore {
            request: request.clone(),
            config,
            created: self.local.wall,
            refused,
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
        let mut server = settings.server;
        let registry = &self.jetstream.registry;
        server.reserved_memory = registry.reserved(Storage::Memory);
        server.reserved_storage = registry.reserved(Storage::File);
        (server, tiers.unwrap_or_default())
    }
}
