//! `/healthz`: is it well? (MON-33, MON-34, JS-262, JS-263)

use serde::Serialize;

use serde_json::{Value, json};

use super::facts::ServerFacts;
use super::jetstream::Gathered;
use super::query::{BadRequest, Parameters};
use crate::shard::jetstream::report::JetStreamQuery;
use crate::shard::report::Figures;

/// The answer; the HTTP status is beside it, never in it.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    pub status: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    error: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<HealthError>,
}

/// One failed check, as `details=1` lists it.
#[derive(Debug, Default, Serialize)]
struct HealthError {
    r#type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    account: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    consumer: String,
    error: String,
}

/// Failed checks: HTTP status, what it says without details, and the checks.
struct Failure(u16, &'static str, Vec<HealthError>);

impl Failure {
    fn one(status: u16, word: &'static str, r#type: &'static str, error: &str) -> Self {
        let error = HealthError {
            r#type,
            error: error.to_owned(),
            ..HealthError::default()
        };
        Self(status, word, vec![error])
    }
}

const BAD_REQUEST: &str = "BAD_REQUEST";
const NO_ACCOUNT: &str = "\"account\" must not be empty when checking stream health";
const NO_STREAM: &str = "\"stream\" must not be empty when checking consumer health";
/// From the first word of lame duck mode on no client is accepted: probes take the server out.
const NOT_READY: &str = "failed to be ready for connections after 1ms: server";
/// JetStream is on and something is wrong with it.
const UNAVAILABLE: &str = "unavailable";

/// Health and the HTTP status that goes with it. `ready` says whether clients are accepted.
pub(super) fn healthz(
    facts: &ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
    ready: bool,
) -> Result<(u16, Health), BadRequest> {
    let enabled = parameters.bool("js-enabled")?;
    if enabled {
        log::warn!("Healthcheck: js-enabled deprecated, use js-enabled-only instead");
    }
    let enabled_only = parameters.bool("js-enabled-only")? || enabled;
    let server_only = parameters.bool("js-server-only")?;
    parameters.bool("js-meta-only")?;
    let details = parameters.bool("details")?;
    let is_named = |name: &str| !parameters.text(name).is_empty();
    let failure = if is_named("stream") && !is_named("account") {
        Some(Failure::one(400, "error", BAD_REQUEST, NO_ACCOUNT))
    } else if is_named("consumer") && !is_named("stream") {
        Some(Failure::one(400, "error", BAD_REQUEST, NO_STREAM))
    } else if !ready {
        Some(Failure::one(500, "error", "CONNECTION", NOT_READY))
    } else if server_only || enabled_only || !facts.options.jetstream.enabled {
        None
    } else {
        check_streams(facts, figures, parameters)
    };
    if let Some(failure) = failure {
        return Ok(failed(failure, details));
    }
    let health = Health {
        status: "ok",
        error: String::new(),
        errors: Vec::new(),
    };
    Ok((200, health))
}

/// Is everything there that was there before, and can it be written to?
fn check_streams(
    facts: &ServerFacts,
    figures: &dyn Figures,
    parameters: &Parameters,
) -> Option<Failure> {
    let named = |name: &str| Some(parameters.text(name)).filter(|it| !it.is_empty());
    let (account, stream) = (named("account"), named("stream"));
    let consumer = named("consumer");
    let query = JetStreamQuery {
        streams: true,
        consumers: consumer.is_some(),
        account: account.map(Into::into),
        most: usize::MAX,
    };
    let gathered = Gathered::ask(facts, figures, query)?;
    let is_wanted = |it: &str| stream.is_none_or(|stream| stream == it);
    let mut errors = Vec::new();
    let lost = facts.unrecovered.iter();
    let lost = lost.filter(|it| account.is_none_or(|account| account == it.account));
    for it in lost.filter(|it| is_wanted(&it.stream)) {
        let (account, stream) = (&it.account, &it.stream);
        errors.push(match facts.accounts.find(account) {
            None => HealthError {
                r#type: "ACCOUNT",
                account: account.clone(),
                error: format!("JetStream account '{account}' could not be resolved"),
                ..HealthError::default()
            },
            Some(_) => HealthError {
                r#type: "STREAM",
                account: account.clone(),
                stream: stream.clone(),
                error: format!("JetStream stream '{account} > {stream}' could not be recovered"),
                ..HealthError::default()
            },
        });
    }
    let found = gathered.streams.iter();
    let found: Vec<_> = found.filter(|it| is_wanted(&it.info.config.name)).collect();
    for it in &found {
        if let Some(trouble) = &it.trouble {
            let (account, stream) = (it.account.to_string(), it.info.config.name.clone());
            errors.push(HealthError {
                r#type: "STREAM",
                error: format!("JetStream stream '{account} > {stream}' write error: {trouble}"),
                account,
                stream,
                ..HealthError::default()
            });
        }
    }
    if !errors.is_empty() {
        return Some(Failure(503, UNAVAILABLE, errors));
    }
    let account = account?;
    let text = |it: Option<&str>| it.unwrap_or_default().to_owned();
    let missing = |r#type, error| {
        // A check names what it looked at.
        let (stream, consumer) = match r#type {
            "ACCOUNT" => (None, None),
            "STREAM" => (stream, None),
            _ => (stream, consumer),
        };
        let error = HealthError {
            r#type,
            account: account.to_owned(),
            stream: text(stream),
            consumer: text(consumer),
            error,
        };
        Some(Failure(404, UNAVAILABLE, vec![error]))
    };
    if !gathered.has(account) {
        let error = format!("JetStream account {account:?} not found");
        return missing("ACCOUNT", error);
    }
    let stream = stream?;
    if found.is_empty() {
        let error = format!("JetStream stream {stream:?} not found on account {account:?}");
        return missing("STREAM", error);
    }
    let consumer = consumer?;
    let mut all = found
        .iter()
        .flat_map(|it| it.consumers.iter().chain(&it.direct));
    if all.any(|it| it.name == consumer) {
        return None;
    }
    let error = format!(
        "JetStream consumer {consumer:?} not found for stream {stream:?} on account {account:?}"
    );
    missing("CONSUMER", error)
}

/// The answer with the HTTP status in it, as the system account gets it (MON-49).
pub(super) fn with_status(status: u16, health: &Health) -> Value {
    let mut answer = json!({ "status": health.status, "status_code": status });
    if !health.error.is_empty() {
        answer["error"] = json!(health.error);
    }
    if !health.errors.is_empty() {
        answer["errors"] = json!(health.errors);
    }
    answer
}

fn failed(Failure(status, word, errors): Failure, details: bool) -> (u16, Health) {
    let first = errors
        .first()
        .map(|it| it.error.clone())
        .unwrap_or_default();
    if details {
        log::warn!("Healthcheck failed: {} errors", errors.len());
    } else {
        log::warn!("Healthcheck failed: {first:?}");
    }
    let health = Health {
        status: if details { "error" } else { word },
        error: if details { String::new() } else { first },
        errors: if details { errors } else { Vec::new() },
    };
    (status, health)
}
