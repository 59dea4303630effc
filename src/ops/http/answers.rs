//! What monitoring knows and answers, whoever asks: a browser over HTTP, or an operator through the
//! system account.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::facts::{CurrentFacts, ServerFacts};
use super::process::{self, CpuMeter};
use super::query::{BadRequest, Parameters};
use super::{accounts, connz, healthz, jetstream, leafz, links, subsz, threads, varz};
use crate::routing::subject::{is_literal, pattern_matches, pattern_subset};
use crate::shard::report::{Counters, Figures, Query};

/// Everything an answer is made of. Shared by all who ask.
pub struct Answers {
    pub(super) facts: Arc<CurrentFacts>,
    pub(super) figures: Arc<dyn Figures>,
    ready: Arc<AtomicBool>,
    cpu: CpuMeter,
    /// Requests over HTTP by path, as `/varz` shows them.
    requests: Mutex<BTreeMap<&'static str, u64>>,
}

/// Something that can be asked for by name, without a path in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/varz`.
    Varz,
    /// `/connz`.
    Connz,
    /// `/subsz`.
    Subsz,
    /// `/routez`.
    Routez,
    /// `/gatewayz`.
    Gatewayz,
    /// `/leafz`.
    Leafz,
    /// `/accountz`.
    Accountz,
    /// `/accstatz`.
    Accstatz,
    /// `/jsz`.
    Jsz,
    /// `/healthz`, with its status inside.
    Healthz,
    /// `/ipqueuesz`.
    Ipqueuesz,
    /// `/raftz`, empty where there are no groups.
    Raftz,
    /// `/debug/vars`.
    Expvarz,
}

/// Usage of the machine by this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Resident memory in bytes.
    pub memory: u64,
    /// CPUs of the machine.
    pub cores: usize,
    /// Percent of one CPU.
    pub cpu: f64,
}

impl Answers {
    /// Answers from these. `ready` is true as long as the server accepts clients.
    pub fn new(
        facts: Arc<CurrentFacts>,
        figures: Arc<dyn Figures>,
        ready: Arc<AtomicBool>,
    ) -> Self {
        Self {
            facts,
            figures,
            ready,
            cpu: CpuMeter::new(),
            requests: Mutex::default(),
        }
    }

    /// The facts in force.
    pub fn facts(&self) -> Arc<ServerFacts> {
        self.facts.now()
    }

    /// Who is asked for figures.
    pub fn figures(&self) -> &dyn Figures {
        &*self.figures
    }

    /// Figures of all shards together.
    pub fn totals(&self) -> Counters {
        accounts::totals(self.figures())
    }

    /// What the process uses now.
    pub fn usage(&self) -> Usage {
        Usage {
            memory: process::memory(),
            cores: process::cores(),
            cpu: self.cpu.percent(),
        }
    }

    /// The answer of an endpoint.
    ///
    /// # Errors
    /// [`BadRequest`], in stock's words.
    pub fn answer(&self, endpoint: Endpoint, parameters: &Parameters) -> Result<Value, BadRequest> {
        let facts = &*self.facts();
        let figures = self.figures();
        match endpoint {
            Endpoint::Varz => Ok(self.varz(facts)),
            Endpoint::Connz => connz::connz(facts, figures, parameters).map(value),
            Endpoint::Subsz => subsz::subsz(facts, figures, parameters).map(value),
            Endpoint::Routez => links::routez(facts, parameters).map(value),
            Endpoint::Gatewayz => links::gatewayz(facts, parameters).map(value),
            Endpoint::Leafz => leafz::leafz(facts, figures, parameters).map(value),
            Endpoint::Accountz => accounts::accountz(facts, figures, parameters).map(value),
            Endpoint::Accstatz => accounts::accstatz(facts, figures, parameters).map(value),
            Endpoint::Jsz => jetstream::jsz(facts, figures, parameters),
            Endpoint::Healthz => healthz::healthz(facts, figures, parameters, self.is_ready())
                .map(|(status, health)| healthz::with_status(status, &health)),
            Endpoint::Ipqueuesz => jetstream::ipqueuesz(parameters),
            Endpoint::Raftz => Ok(Value::Object(serde_json::Map::new())),
            Endpoint::Expvarz => Ok(threads::expvar()),
        }
    }

    /// Everything about one account.
    ///
    /// # Errors
    /// There is no such account.
    pub fn account(&self, name: &str) -> Result<Value, BadRequest> {
        accounts::account_info(&self.facts(), self.figures(), name).map(value)
    }

    /// One account's part of `/jsz`.
    ///
    /// # Errors
    /// It has no JetStream, or a parameter makes no sense.
    pub fn account_streams(&self, parameters: &Parameters) -> Result<Value, BadRequest> {
        jetstream::account(&self.facts(), self.figures(), parameters)
    }

    /// What the server says of JetStream by itself; `None` if it is off.
    pub fn jetstream(&self) -> Option<Value> {
        let facts = self.facts();
        let enabled = facts.options.jetstream.enabled;
        enabled.then(|| jetstream::varz(&facts, self.figures(), false))
    }

    /// Figures of the accounts named, or of all; without those nobody uses, unless they are wanted.
    pub fn account_figures(&self, named: Option<&[String]>, unused: bool) -> Value {
        value(accounts::figures_of(
            &self.facts(),
            self.figures(),
            named,
            unused,
        ))
    }

    /// How many subscriptions of an account would get a message, or lie within a pattern; only those
    /// of a queue group if one is named.
    pub fn subscribers(&self, account: &str, wanted: &str, queue: Option<&str>) -> usize {
        let wanted = wanted.as_bytes();
        let literal = is_literal(wanted);
        let reports = self.figures.ask(Query::Subscriptions);
        let all = reports.iter().flat_map(|report| &report.subscriptions);
        let own = all.filter(|it| *it.account == *account);
        let found = own.filter(|it| {
            let pattern = it.subject.as_bytes();
            let fits = match literal {
                true => pattern_matches(pattern, wanted),
                false => pattern_subset(pattern, wanted),
            };
            fits && queue.is_none_or(|queue| it.queue.as_deref() == Some(queue))
        });
        found.count()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(super) fn count(&self, endpoint: &'static str) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry(endpoint).or_default() += 1;
    }

    pub(super) fn varz(&self, facts: &ServerFacts) -> Value {
        let counters = self.totals();
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let jetstream = jetstream::varz(facts, self.figures(), true);
        value(varz::varz(
            facts,
            &counters,
            &requests,
            self.cpu.percent(),
            jetstream,
        ))
    }
}

/// As JSON; what we serialise has text for keys and so cannot fail.
fn value(answer: impl Serialize) -> Value {
    serde_json::to_value(answer).unwrap_or_default()
}

/// The threads of this process and what each is doing, one a line.
pub fn threads() -> String {
    threads::stacks()
}
