//! `/routez` and `/gatewayz`: links to other servers, of which there are none yet (MON-26, MON-27).

use serde::Serialize;
use serde_json::{Map, Value};

use super::facts::ServerFacts;
use super::format;
use super::query::{BadRequest, Parameters};

#[derive(Serialize)]
pub(super) struct Routez<'a> {
    server_id: &'a str,
    server_name: &'a str,
    now: String,
    num_routes: u64,
    routes: [Value; 0],
}

#[derive(Serialize)]
pub(super) struct Gatewayz<'a> {
    server_id: &'a str,
    now: String,
    outbound_gateways: Map<String, Value>,
    inbound_gateways: Map<String, Value>,
}

/// `subs` is a truth value or `detail`.
fn check_subs(parameters: &Parameters) -> Result<(), BadRequest> {
    if parameters.text("subs").eq_ignore_ascii_case("detail") {
        return Ok(());
    }
    parameters.bool("subs").map(drop)
}

/// Answers `/routez`.
pub(super) fn routez<'a>(
    facts: &'a ServerFacts,
    parameters: &Parameters,
) -> Result<Routez<'a>, BadRequest> {
    check_subs(parameters)?;
    Ok(Routez {
        server_id: &facts.info.server_id,
        server_name: &facts.info.server_name,
        now: format::time(format::now()),
        num_routes: 0,
        routes: [],
    })
}

/// Answers `/gatewayz`.
pub(super) fn gatewayz<'a>(
    facts: &'a ServerFacts,
    parameters: &Parameters,
) -> Result<Gatewayz<'a>, BadRequest> {
    check_subs(parameters)?;
    parameters.bool("accs")?;
    Ok(Gatewayz {
        server_id: &facts.info.server_id,
        now: format::time(format::now()),
        outbound_gateways: Map::new(),
        inbound_gateways: Map::new(),
    })
}
