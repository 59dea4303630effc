//! What operators ask and order through the system account, and what every account may ask about
//! itself (MON-40..58).

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Failure, envelope, pack};
use super::options::{Body, Question, parameters, question};
use super::services::{Outlet, Service};
use super::{profile, statsz};
use crate::accounts::registry::Accounts;
use crate::ids::{AccountId, ConnectionId};
use crate::ops::http::answers::{Answers, Endpoint};
use crate::ops::http::query::Parameters;
use crate::server::handle::Shared;
use crate::server::reload::Reloader;
use crate::shard::control::Control;
use crate::shard::identity::{ServerIdentity, event_id, rfc3339};
use crate::shard::internal::{InternalMessage, InternalPublish};
use crate::shard::requested::{ClientAction, ClientOutcome};
use crate::time::WallTime;

/// Longest wait for the shard that has a client.
const CLIENT_PATIENCE: Duration = Duration::from_secs(1);
/// Figures of an account are told again after this time although nothing changed (MON-62).
const ACCOUNT_EVERY: Duration = Duration::from_secs(30);

const ACCOUNT_CONNECTIONS: &str = "io.nats.server.advisory.v1.account_connections";

/// Questions with a handler of their own; the others are in [`super::options::QUESTIONS`].
const OWN_QUESTIONS: [&str; 3] = ["IDZ", "STATSZ", "PROFILEZ"];
/// Orders to one server.
const ORDERS: [&str; 3] = ["RELOAD", "KICK", "LDM"];
/// Questions about one account.
const OF_ACCOUNT: [&str; 7] = ["SUBSZ", "CONNZ", "LEAFZ", "JSZ", "INFO", "STATZ", "CONNS"];

/// The service.
pub(in crate::server) struct Requests {
    answers: Arc<Answers>,
    reloader: Arc<Reloader>,
    shared: Arc<Shared>,
    system: AccountId,
    server_id: String,
    statsz: statsz::Heartbeat,
    /// What was told of each account, by id: its changes so far, and when.
    told: Vec<(u64, Instant)>,
}

/// What operators' tools are told that people who look at a page are not, and the reverse.
fn as_stock(endpoint: Endpoint, parameters: &Parameters, answer: &mut Value) {
    match (endpoint, answer.as_object_mut()) {
        // The question itself is in stock's queue of them while it is answered.
        (Endpoint::Ipqueuesz, Some(answer)) if QUEUE.contains(parameters.text("queues")) => {
            let waiting = json!({"pending": 0, "in_progress": 1});
            answer.insert(QUEUE.to_owned(), waiting);
        }
        _ => {}
    }
}

/// Stock's name for what waits for the system account's services.
const QUEUE: &str = "System recvQ";

/// What a request comes to.
type Outcome = Result<Option<Value>, Failure>;

impl Requests {
    /// The service of a server with a system account.
    pub(in crate::server) fn new(
        answers: Arc<Answers>,
        reloader: Arc<Reloader>,
        shared: Arc<Shared>,
        system: AccountId,
    ) -> Self {
        let server_id = answers.facts().info.server_id.clone();
        Self {
            answers,
            reloader,
            shared,
            system,
            server_id,
            statsz: statsz::Heartbeat::new(Instant::now()),
            told: Vec::new(),
        }
    }

    fn identity(&self) -> ServerIdentity {
        self.reloader.identity()
    }

    fn stamp(&self) -> String {
        self.identity().stamp(wall())
    }

    /// Answers with an envelope, packed if it holds data.
    fn reply(&self, request: &InternalMessage, outlet: &Outlet, outcome: &Outcome) {
        reply(&self.stamp(), request, outlet, outcome);
    }

    /// Is this server one of those the request is for (MON-42)?
    fn is_meant(&self, body: &Body) -> bool {
        let facts = self.answers.facts();
        let cluster = facts.options.cluster_name.as_deref().unwrap_or("");
        let exact = body.is_true("exact_match");
        let fits = |field: &str, own: &str| {
            let wanted = body.text(field);
            wanted.is_empty()
                || if exact {
                    own == wanted
                } else {
                    own.contains(wanted)
                }
        };
        let tags = body.texts("tags").unwrap_or_default();
        fits("server_name", &facts.info.server_name)
            && fits("host", &facts.info.host)
            && fits("cluster", cluster)
            && tags
                .iter()
                .all(|tag| facts.options.tags.contains(&tag.to_lowercase()))
            && fits(
                "domain",
                facts.options.jetstream.domain.as_deref().unwrap_or(""),
            )
    }

    /// A question about the server, with some of its options fixed.
    fn ask(
        &self,
        request: &InternalMessage,
        outlet: &Outlet,
        question: &Question,
        fixed: &[(&str, &str)],
    ) {
        let body = match Body::of(question, &request.payload) {
            Ok(body) => body,
            Err(why) => return self.reply(request, outlet, &Err(Failure::bad_request(why))),
        };
        if self.is_meant(&body) {
            let parameters = parameters(question, &body, fixed);
            let answer = self.answers.answer(question.endpoint, &parameters);
            let outcome = answer.map(|mut answer| {
                as_stock(question.endpoint, &parameters, &mut answer);
                Some(answer)
            });
            let outcome = outcome.map_err(|it| Failure::no_data(it.0));
            self.reply(request, outlet, &outcome);
        }
    }

    /// A request whose body says no more than which servers are meant. `None` if this one is not,
    /// or the body makes no sense, which has been answered.
    fn plain(
        &self,
        request: &InternalMessage,
        outlet: &Outlet,
        options: &str,
        fields: &[(&'static str, &'static str, super::options::Kind)],
    ) -> Option<Body> {
        match Body::read(&request.payload, options, fields) {
            Ok(body) => self.is_meant(&body).then_some(body),
            Err(why) => {
                self.reply(request, outlet, &Err(Failure::bad_request(why)));
                None
            }
        }
    }

    fn of_server(&mut self, request: &InternalMessage, outlet: &Outlet, name: &str) {
        if let Some(question) = question(name) {
            return self.ask(request, outlet, question, &[]);
        }
        match name {
            "IDZ" => self.idz(request, outlet),
            "STATSZ" => self.statsz(request, outlet),
            "PROFILEZ" => self.profilez(request, outlet),
            "RELOAD" => self.reload(request, outlet),
            "KICK" => self.act_on_client(request, outlet, ClientAction::Kick),
            "LDM" => self.act_on_client(request, outlet, ClientAction::LameDuck),
            _ => {}
        }
    }

    /// MON-46.
    fn idz(&self, request: &InternalMessage, outlet: &Outlet) {
        let facts = self.answers.facts();
        let id = json!({
            "name": facts.info.server_name,
            "host": facts.info.host,
            "id": facts.info.server_id,
        });
        outlet.answer(request, id.to_string().into_bytes());
    }

    /// MON-44. Without a reply everybody who listens to this server's figures hears them.
    fn statsz(&mut self, request: &InternalMessage, outlet: &Outlet) {
        let body = match Body::read(&request.payload, "StatszEventOptions", &[]) {
            Ok(body) => body,
            Err(why) => {
                let outcome = Err(Failure::bad_request(why));
                let answer = envelope(&self.stamp(), &outcome);
                return outlet.answer(request, answer.into_bytes());
            }
        };
        if !self.is_meant(&body) {
            return;
        }
        if request.reply.is_some() {
            let answer = statsz::message(&self.answers, &self.identity(), wall());
            outlet.answer(request, answer.into_bytes());
        } else {
            self.tell_statsz(outlet);
        }
    }

    fn tell_statsz(&self, outlet: &Outlet) {
        let answer = statsz::message(&self.answers, &self.identity(), wall());
        let subject = format!("$SYS.SERVER.{}.STATSZ", self.server_id);
        self.tell(outlet, &subject, answer);
    }

    /// Publishes in the system account.
    fn tell(&self, outlet: &Outlet, subject: &str, payload: String) {
        outlet.publish(InternalPublish {
            account: self.system,
            subject: subject.as_bytes().into(),
            payload: payload.into_bytes().into(),
            ..InternalPublish::default()
        });
    }

    /// MON-50. On a thread of its own: a profile may take seconds.
    fn profilez(&self, request: &InternalMessage, outlet: &Outlet) {
        let Some(body) = self.plain(request, outlet, "ProfilezEventOptions", &profile::FIELDS)
        else {
            return;
        };
        let data = profile::answer(body.text("name"), body.int("duration"));
        self.reply(request, outlet, &Ok(Some(data)));
    }

    /// MON-51.
    fn reload(&self, request: &InternalMessage, outlet: &Outlet) {
        let Some(_) = self.plain(request, outlet, "EventFilterOptions", &[]) else {
            return;
        };
        let (request, outlet) = (request.clone(), outlet.clone());
        let reloader = Arc::downgrade(&self.reloader);
        self.reloader.request(move |outcome| {
            let Some(reloader) = reloader.upgrade() else {
                return;
            };
            let outcome = match outcome {
                Ok(()) => Ok(None),
                Err(error) => Err(Failure::failed(error.to_string())),
            };
            reply(
                &reloader.identity().stamp(wall()),
                &request,
                &outlet,
                &outcome,
            );
        });
    }

    /// MON-52, MON-53. A body that makes no sense is not answered, as in stock.
    fn act_on_client(&self, request: &InternalMessage, outlet: &Outlet, action: ClientAction) {
        let fields = [("cid", "cid", super::options::Kind::Uint)];
        let Ok(body) = Body::read(&request.payload, "KickClientReq", &fields) else {
            return log::error!("A request to close or warn a client makes no sense");
        };
        if request.payload.is_empty() || !self.is_meant(&body) {
            return;
        }
        let (sender, outcomes) = sync_channel(self.shared.shards.0.len());
        let cid = ConnectionId(body.uint("cid"));
        self.shared
            .tell_all(|| Control::ToClient(cid, action, sender.clone()));
        drop(sender); // when every shard has let go of theirs, none has the client
        let outcome = match (outcomes.recv_timeout(CLIENT_PATIENCE), action) {
            (Ok(ClientOutcome::Done), _) => Ok(None),
            (Ok(ClientOutcome::Deaf), _) => Err(Failure::failed(
                "client does not support Lame Duck Mode or is not ready to receive the notification",
            )),
            (Err(_), ClientAction::Kick) => Err(Failure::failed("no such client or leafnode id")),
            (Err(_), ClientAction::LameDuck) => Err(Failure::failed("no such client id")),
        };
        self.reply(request, outlet, &outcome);
    }

    /// MON-54, MON-55. `PING` in the place of an account means all of them, for its figures.
    fn of_account(
        &mut self,
        request: &InternalMessage,
        outlet: &Outlet,
        account: &str,
        name: &str,
    ) {
        let ask = |name: &str, fixed: &[(&str, &str)]| {
            if let Some(question) = question(name) {
                self.ask(request, outlet, question, fixed);
            }
        };
        match name {
            "SUBSZ" => ask(name, &[("acc", account), ("subs", "1")]),
            "CONNZ" | "LEAFZ" => ask(name, &[("acc", account)]),
            "JSZ" => self.account_streams(request, outlet, account),
            "INFO" => {
                let outcome = || {
                    let answer = self.answers.account(account);
                    answer.map(Some).map_err(|it| Failure::no_data(it.0))
                };
                self.of_account_bare(request, outlet, "AccInfoEventOptions", outcome);
            }
            "STATZ" if account == "PING" => self.account_figures(request, outlet, None),
            "STATZ" => self.account_figures(request, outlet, Some(account)),
            "CONNS" => {
                if let Some(event) = self.account_connections(account)
                    && event.connections > 0
                {
                    outlet.answer(request, event.text.into_bytes());
                }
            }
            _ => {}
        }
    }

    /// JS-265.
    fn account_streams(&self, request: &InternalMessage, outlet: &Outlet, account: &str) {
        let Some(question) = question("JSZ") else {
            return;
        };
        let body = match Body::of(question, &request.payload) {
            Ok(body) => body,
            Err(why) => return self.reply(request, outlet, &Err(Failure::bad_request(why))),
        };
        if self.is_meant(&body) {
            let parameters = parameters(question, &body, &[("acc", account)]);
            let answer = self.answers.account_streams(&parameters);
            let outcome = answer.map(Some).map_err(|it| Failure::no_data(it.0));
            self.reply(request, outlet, &outcome);
        }
    }

    /// A question about an account that has no options.
    fn of_account_bare(
        &self,
        request: &InternalMessage,
        outlet: &Outlet,
        options: &str,
        outcome: impl FnOnce() -> Outcome,
    ) {
        if self.plain(request, outlet, options, &[]).is_some() {
            self.reply(request, outlet, &outcome());
        }
    }

    /// Figures of one account, or of those the body names. Silent where there is nothing to tell.
    fn account_figures(&self, request: &InternalMessage, outlet: &Outlet, account: Option<&str>) {
        use super::options::Kind;
        let fields = [
            ("accounts", "", Kind::Texts),
            ("include_unused", "", Kind::Bool),
        ];
        let options = "AccountStatzEventOptions";
        let Some(body) = self.plain(request, outlet, options, &fields) else {
            return;
        };
        let named = match account {
            Some(account) => Some(vec![account.to_owned()]),
            None => body.texts("accounts").filter(|it| !it.is_empty()),
        };
        let unused = body.is_true("include_unused");
        let figures = self.answers.account_figures(named.as_deref(), unused);
        let is_empty = figures["account_statz"]
            .as_array()
            .is_none_or(Vec::is_empty);
        if unused || !is_empty {
            self.reply(request, outlet, &Ok(Some(figures)));
        }
    }

    /// The event that says how many connections an account has (MON-62).
    fn account_connections(&self, account: &str) -> Option<ConnectionsEvent> {
        let named = [account.to_owned()];
        let figures = self.answers.account_figures(Some(&named), true);
        let figures = figures["account_statz"].as_array()?.first()?.clone();
        let id = event_id(|| getrandom::u64().unwrap_or_default());
        let now = wall();
        let server = self.identity().stamp(now);
        let time = rfc3339(now);
        let connections = figures["total_conns"].as_u64().unwrap_or(0);
        let fields = figures.to_string();
        let fields = fields.strip_prefix('{')?;
        let text = format!(
            "{{\"type\":\"{ACCOUNT_CONNECTIONS}\",\"id\":\"{id}\",\"timestamp\":\"{time}\",\"server\":{server},{fields}"
        );
        Some(ConnectionsEvent { text, connections })
    }

    /// Tells of accounts whose connections have changed, or that have some and were silent for
    /// long. Nothing is told of `$G`, as in stock.
    fn tell_connections(&mut self, now: Instant, outlet: &Outlet) {
        let accounts: Arc<Accounts> = self.reloader.accounts();
        if self.told.len() < accounts.ids() {
            self.told.resize(accounts.ids(), (0, now));
        }
        for account in accounts.iter().filter(|it| it.id != AccountId::GLOBAL) {
            let Some(told) = self.told.get_mut(account.id.0 as usize) else {
                continue;
            };
            let changes = account.usage.changes();
            let due = account.usage.connections() > 0 && now - told.1 >= ACCOUNT_EVERY;
            if changes == told.0 && !due {
                continue;
            }
            *told = (changes, now);
            let name = account.name.clone();
            if let Some(event) = self.account_connections(&name) {
                let subject = format!("$SYS.ACCOUNT.{name}.SERVER.CONNS");
                self.tell(outlet, &subject, event.text.clone());
                let old_subject = format!("$SYS.SERVER.ACCOUNT.{name}.CONNS");
                self.tell(outlet, &old_subject, event.text);
            }
        }
    }

    /// MON-58: how many subscriptions would get it, as a bare number.
    fn subscribers(&self, request: &InternalMessage, outlet: &Outlet) {
        let text = String::from_utf8_lossy(&request.payload);
        let mut words = text.trim().split(' ');
        let wanted = words.next().unwrap_or("");
        let accounts = self.reloader.accounts();
        let account = accounts.name(request.account);
        let count = self.answers.subscribers(account, wanted, words.next());
        let count = count.to_string();
        outlet.answer(request, count.into_bytes());
    }

    /// The same for an account by its name, asked by another server (MON-67): nobody answers where
    /// nobody is connected.
    fn subscribers_of(&self, request: &InternalMessage, outlet: &Outlet) {
        if request.payload.is_empty() {
            return log::error!("SYSTEM - request requires a body");
        }
        let wanted: Wanted = match serde_json::from_slice(&request.payload) {
            Ok(wanted) => wanted,
            Err(error) => {
                let what = "SYSTEM - Error unmarshalling account nsubs request message";
                return log::error!("{what}: {error}");
            }
        };
        let queue = wanted.queue.as_deref();
        let Ok(queue) = queue.map(|it| BASE64.decode(it.as_bytes())).transpose() else {
            return log::error!("SYSTEM - a queue that is not base64 in an account nsubs request");
        };
        let queue = queue.map(|it| String::from_utf8_lossy(&it).into_owned());
        let accounts = self.reloader.accounts();
        let account = accounts.find(&wanted.acc).and_then(|id| accounts.get(id));
        if account.is_some_and(|it| it.usage.in_use()) {
            let count = self
                .answers
                .subscribers(&wanted.acc, &wanted.subject, queue.as_deref());
            outlet.answer(request, count.to_string().into_bytes());
        }
    }

    /// A request of an account that is not the system's own: about itself only (MON-57).
    fn of_tenant(&mut self, request: &InternalMessage, outlet: &Outlet, subject: &str) {
        let accounts = self.reloader.accounts();
        let own = accounts.name(request.account).to_owned();
        match subject {
            "$SYS.REQ.ACCOUNT.PING.CONNZ" | "$SYS.REQ.SERVER.PING.CONNZ" => {
                self.of_account(request, outlet, &own, "CONNZ");
            }
            "$SYS.REQ.ACCOUNT.PING.STATZ" => self.of_account(request, outlet, &own, "STATZ"),
            _ => {}
        }
    }
}

/// Whose subscriptions another server wants counted.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Wanted {
    acc: String,
    subject: String,
    /// Base64.
    queue: Option<String>,
}

/// An event with the number of connections in it.
struct ConnectionsEvent {
    text: String,
    connections: u64,
}

fn reply(server: &str, request: &InternalMessage, outlet: &Outlet, outcome: &Outcome) {
    let Some(subject) = &request.reply else {
        return;
    };
    let answer = envelope(server, outcome);
    let (header, payload) = match outcome {
        Ok(_) => pack(request, answer),
        Err(_) => (Vec::new(), answer.into_bytes()),
    };
    outlet.publish(InternalPublish {
        account: request.account,
        subject: subject.clone(),
        header: header.into(),
        payload: payload.into(),
        ..InternalPublish::default()
    });
}

/// Now.
pub(super) fn wall() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    WallTime(since.unwrap_or_default().as_nanos() as u64)
}

impl Service for Requests {
    fn start(&mut self, outlet: &Outlet) {
        let subscribe = |pattern: &str| outlet.subscribe(self.system, pattern, None);
        let id = &self.server_id;
        subscribe("$SYS.REQ.SERVER.PING");
        let questions = super::options::QUESTIONS.iter().map(|it| it.name);
        for name in questions.chain(OWN_QUESTIONS) {
            subscribe(&format!("$SYS.REQ.SERVER.PING.{name}"));
            subscribe(&format!("$SYS.REQ.SERVER.{id}.{name}"));
        }
        for name in ORDERS {
            subscribe(&format!("$SYS.REQ.SERVER.{id}.{name}"));
        }
        for name in OF_ACCOUNT {
            subscribe(&format!("$SYS.REQ.ACCOUNT.*.{name}"));
        }
        subscribe("$SYS.DEBUG.SUBSCRIBERS");
        subscribe("$SYS.REQ.ACCOUNT.NSUBS");
    }

    fn message(&mut self, message: &InternalMessage, outlet: &Outlet) {
        let Ok(subject) = std::str::from_utf8(&message.subject) else {
            return;
        };
        let subject = subject.to_owned();
        let tokens: Vec<&str> = subject.split('.').collect();
        let broadcast = matches!(
            *tokens,
            ["$SYS", "REQ", "SERVER", _] | ["$SYS", "REQ", "SERVER", _, "STATSZ"]
        );
        // Nobody waits for an answer (MON-40).
        if message.reply.is_none() && !broadcast {
            return;
        }
        if message.account != self.system {
            return self.of_tenant(message, outlet, &subject);
        }
        match *tokens {
            ["$SYS", "REQ", "SERVER", _] => self.statsz(message, outlet),
            ["$SYS", "REQ", "SERVER", _, name] => self.of_server(message, outlet, name),
            ["$SYS", "REQ", "ACCOUNT", account, name] => {
                self.of_account(message, outlet, account, name);
            }
            ["$SYS", "REQ", "ACCOUNT", "NSUBS"] => self.subscribers_of(message, outlet),
            ["$SYS", "DEBUG", "SUBSCRIBERS"] => self.subscribers(message, outlet),
            _ => {}
        }
    }

    fn tick(&mut self, now: Instant, outlet: &Outlet) {
        let accounts = self.reloader.accounts();
        // Events are for those in the system account, and those it lets have its streams: without
        // any nobody can hear them.
        let system = accounts.get(self.system);
        let heard =
            system.is_some_and(|it| it.usage.connections() > 0 || !it.stream_exports.is_empty());
        if self.statsz.is_due(now) && heard {
            self.tell_statsz(outlet);
        }
        if heard {
            self.tell_connections(now, outlet);
        }
    }
}
