//! What `/accountz` says of one account's exports, imports, mappings and token (MON-31).

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::facts::ServerFacts;
use super::format;
use crate::accounts::account::Account;
use crate::accounts::mapping;
use crate::auth::jwt::account::{Export, Revocations};
use crate::auth::jwt::token;
use crate::auth::jwt::trust::{TrustedAccount, seconds};
use crate::ids::AccountId;
use crate::jetstream::api::subjects::IN_DOMAIN;
use crate::options::{LatencyOptions, MappingOptions, ResponseType};
use crate::routing::subject::pattern_matches;
use crate::shard::report::ResponseReport;
use crate::time::WallTime;

/// What an account's token says of it.
#[derive(Serialize, Default)]
pub(super) struct TokenDetail {
    #[serde(skip_serializing_if = "String::is_empty")]
    jwt: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    issuer_key: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    decoded_jwt: Value,
    #[serde(skip_serializing_if = "Value::is_null")]
    revoked_user: Value,
}

impl TokenDetail {
    pub fn of(account: &TrustedAccount) -> Self {
        let claims = &account.claims;
        Self {
            jwt: account.token.to_string(),
            issuer_key: claims.standard.issuer.clone(),
            tags: claims.body.tags.clone(),
            decoded_jwt: decoded(account),
            revoked_user: revoked(&claims.body.revocations),
        }
    }
}

/// The claims as they are, with those that stock shows even where they say nothing.
fn decoded(account: &TrustedAccount) -> Value {
    let mut claims = token::shown(&account.token).unwrap_or_default();
    if let Some(body) = claims.get_mut("nats").and_then(Value::as_object_mut) {
        body.entry("authorization").or_insert_with(|| json!({}));
        body.entry("default_permissions")
            .or_insert_with(|| json!({ "pub": {}, "sub": {} }));
        if let Some(signers) = body.get_mut("signing_keys").and_then(Value::as_array_mut) {
            let key = |it: &Value| it.get("key").unwrap_or(it).to_string();
            signers.sort_by_key(key);
            for scope in signers.iter_mut().filter_map(Value::as_object_mut) {
                scope.entry("description").or_insert_with(|| "".into());
            }
        }
    }
    claims
}

/// Has the account's token expired?
pub(super) fn is_expired(account: &TrustedAccount, now: WallTime) -> bool {
    account.expired(seconds(now))
}

fn revoked(list: &Revocations) -> Value {
    let time = |second: i64| format::time(WallTime(second.max(0) as u64 * 1_000_000_000));
    match list.is_empty() {
        true => Value::Null,
        false => list
            .iter()
            .map(|(key, &second)| (key.clone(), time(second).into()))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// What it gives to others.
pub(super) fn exports(account: &Account, token: Option<&TrustedAccount>) -> Vec<Value> {
    let claimed = |kind: &str, subject: &str| -> Option<&Export> {
        let mut all = token?.claims.body.exports.iter();
        all.find(|it| it.kind == kind && it.subject == subject)
    };
    let shown = |kind: &str, subject: &str, approved: Option<&Vec<String>>| {
        let mut export = json!({ "subject": subject, "type": kind });
        let claimed = claimed(kind, subject);
        if claimed.is_some_and(|it| it.token_req) {
            export["token_req"] = true.into();
        } else if let Some(approved) = approved.filter(|it| !it.is_empty()) {
            export["approved_accounts"] = json!(approved);
        }
        if let Some(list) = claimed.filter(|it| !it.revocations.is_empty()) {
            export["revoked_activations"] = revoked(&list.revocations);
        }
        export
    };
    let services = account.service_exports.iter().map(|it| {
        let mut export = shown("service", &it.subject, it.approval.accounts.as_ref());
        export["response_type"] = match it.response {
            ResponseType::Singleton => "Singleton",
            ResponseType::Stream => "Streamed",
            ResponseType::Chunked => "Chunked",
        }
        .into();
        if let Some(latency) = &it.latency {
            export["service_latency"] = shown_latency(latency);
        }
        export
    });
    let streams = account.stream_exports.iter();
    services
        .chain(streams.map(|it| shown("stream", &it.subject, it.approval.accounts.as_ref())))
        .collect()
}

fn shown_latency(latency: &LatencyOptions) -> Value {
    let sampling = match latency.sampling {
        0 => json!("headers"),
        percent => json!(percent),
    };
    json!({ "sampling": sampling, "results": latency.subject })
}

/// What it takes from others.
pub(super) fn imports(facts: &ServerFacts, account: &Account) -> Vec<Value> {
    let name = |id: AccountId| facts.accounts.name(id).to_owned();
    let streams = account.stream_imports.iter().map(|it| {
        json!({
            "subject": it.from, "account": name(it.account), "local_subject": it.to,
            "type": "stream", "invalid": false, "share": false, "tracking": false,
        })
    });
    let services = account.service_imports.iter().map(|it| {
        let mut import = json!({
            "subject": it.to, "account": name(it.account), "to": it.from, "local_subject": it.from,
            "type": "service", "invalid": false, "share": it.share, "tracking": false,
        });
        if let Some(latency) = &it.export.latency {
            import["latency"] = shown_latency(latency);
        }
        import
    });
    streams.chain(services).collect()
}

/// A request that waits for its answer, as the import that the answer is.
pub(super) fn response(facts: &ServerFacts, report: &ResponseReport) -> Value {
    let asker = facts.accounts.get(report.account);
    let imports = asker.iter().flat_map(|it| &it.service_imports);
    let subject = report.subject.as_bytes();
    let import = { imports }.find(|it| pattern_matches(it.from.as_bytes(), subject));
    let mut shown = json!({
        "subject": report.reply, "account": facts.accounts.name(report.account),
        "to": report.made_up, "local_subject": report.made_up,
        // As a number, unlike those of imports and exports.
        "type": 2, "invalid": false, "share": import.is_some_and(|it| it.share),
        "tracking": report.measured,
    });
    let latency = import.and_then(|it| it.export.latency.as_ref());
    if let Some(latency) = latency.filter(|_| report.measured) {
        shown["latency"] = shown_latency(latency);
    }
    shown
}

/// Where messages go instead, with the per cent that go there or to one before.
pub(super) fn mappings(options: &[MappingOptions]) -> BTreeMap<String, Vec<Value>> {
    let shown = |it: &MappingOptions| {
        let destinations = mapping::cumulative(it).into_iter().map(|it| {
            let mut shown = json!({ "subject": it.subject, "weight": it.weight });
            if let Some(cluster) = it.cluster {
                shown["cluster"] = cluster.into();
            }
            shown
        });
        (it.source.clone(), destinations.collect())
    };
    options.iter().map(shown).collect()
}

/// The same for what is asked below JetStream's domain, if it has one (section 21 of JetStream).
pub(super) fn of_domain(
    facts: &ServerFacts,
    is_system: bool,
) -> impl Iterator<Item = (String, Vec<Value>)> {
    let options = &facts.options.jetstream;
    let domain = options.domain.clone().filter(|_| options.enabled);
    let all: &[&str] = if is_system { &[">"] } else { &IN_DOMAIN };
    domain.into_iter().flat_map(move |domain| {
        all.iter().map(move |rest| {
            let to = match rest.starts_with('$') {
                true => (*rest).to_owned(),
                false => format!("$JS.API.{rest}"),
            };
            let from = format!("$JS.{domain}.API.{rest}");
            (from, vec![json!({ "subject": to, "weight": 100 })])
        })
    })
}
