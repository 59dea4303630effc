//! `/healthz`: is it well? Without JetStream every check of it is (MON-33, MON-34).

use serde::Serialize;

use serde_json::{Value, json};

use super::query::{BadRequest, Parameters};

/// The answer; the HTTP status is beside it, never in it.
#[derive(Debug, Serialize)]
pub(super) struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<HealthError>,
}

/// One failed check, as `details=1` lists it.
#[derive(Debug, Serialize)]
struct HealthError {
    r#type: &'static str,
    error: &'static str,
}

/// A failed check: HTTP status, its type among the details, its text.
struct Failure(u16, &'static str, &'static str);

const BAD_REQUEST: &str = "BAD_REQUEST";
const NO_ACCOUNT: Failure = Failure(
    400,
    BAD_REQUEST,
    "\"account\" must not be empty when checking stream health",
);
const NO_STREAM: Failure = Failure(
    400,
    BAD_REQUEST,
    "\"stream\" must not be empty when checking consumer health",
);
/// From the first word of lame duck mode on no client is accepted: probes take the server out.
const NOT_READY: Failure = Failure(
    500,
    "CONNECTION",
    "failed to be ready for connections after 1ms: server",
);

/// Health and the HTTP status that goes with it. `ready` says whether clients are accepted.
pub(super) fn healthz(parameters: &Parameters, ready: bool) -> Result<(u16, Health), BadRequest> {
    if parameters.bool("js-enabled")? {
        log::warn!("Healthcheck: js-enabled deprecated, use js-enabled-only instead");
    }
    for name in ["js-enabled-only", "js-server-only", "js-meta-only"] {
        parameters.bool(name)?;
    }
    let details = parameters.bool("details")?;
    let is_named = |name: &str| !parameters.text(name).is_empty();
    if is_named("stream") && !is_named("account") {
        return Ok(failed(&NO_ACCOUNT, details));
    }
    if is_named("consumer") && !is_named("stream") {
        return Ok(failed(&NO_STREAM, details));
    }
    if !ready {
        return Ok(failed(&NOT_READY, details));
    }
    let health = Health {
        status: "ok",
        error: "",
        errors: Vec::new(),
    };
    Ok((200, health))
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

fn failed(&Failure(status, r#type, error): &Failure, details: bool) -> (u16, Health) {
    if details {
        log::warn!("Healthcheck failed: 1 errors");
    } else {
        log::warn!("Healthcheck failed: {error:?}");
    }
    let health = Health {
        status: "error",
        error: if details { "" } else { error },
        errors: details
            .then_some(HealthError { r#type, error })
            .into_iter()
            .collect(),
    };
    (status, health)
}
