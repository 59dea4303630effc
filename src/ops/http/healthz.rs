//! `/healthz`: is it well? Without JetStream every check of it is (MON-33, MON-34).

use serde::Serialize;

use super::query::{BadRequest, Parameters};

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Health and the HTTP status that goes with it.
pub(super) fn healthz(parameters: &Parameters, ready: bool) -> Result<(u16, Health), BadRequest> {
    for name in [
        "js-enabled",
        "js-enabled-only",
        "js-server-only",
        "js-meta-only",
        "details",
    ] {
        parameters.bool(name)?;
    }
    let has = |name: &str| !parameters.text(name).is_empty();
    let bad = |text: &str| {
        Ok((
            400,
            Health {
                status: "error",
                error: Some(text.into()),
            },
        ))
    };
    if has("stream") && !has("account") {
        return bad("\"account\" must not be empty when checking stream health");
    }
    if has("consumer") && !has("account") {
        return bad("\"account\" must not be empty when checking consumer health");
    }
    if has("consumer") && !has("stream") {
        return bad("\"stream\" must not be empty when checking consumer health");
    }
    if !ready {
        let error = Some("failed to be ready for connections after 1ms: client".into());
        return Ok((
            500,
            Health {
                status: "error",
                error,
            },
        ));
    }
    Ok((
        200,
        Health {
            status: "ok",
            error: None,
        },
    ))
}
