//! `accounts` and `mappings` (CFG-47, CFG-50, AUTH-27..43).

use super::super::authorization::{is_subject, permissions, users};
use super::super::error::ProblemKind;
use super::super::report::{Report, type_in};
use super::super::value::{Map, Node, Value};
use super::check::{
    Fields, Unknown, accounts as account_names, entries, flag, integer, list, text,
};
use super::jetstream;

/// The account every client is in that has no other.
const GLOBAL: &str = "$G";

/// Checks the block; whether an account beside the system account holds users.
pub fn accounts(report: &mut Report, value: &Value, system_account: &str) -> bool {
    match &value.node {
        Node::Array(names) => {
            let mut seen = std::collections::HashSet::new();
            for name in names {
                let Some(text) = report.keep(name, name.text()) else {
                    continue;
                };
                if text == GLOBAL {
                    reserved(report, name);
                } else if !seen.insert(text) {
                    let found = text.to_owned();
                    let text = "Duplicate Account Entry: ";
                    report.error(name, ProblemKind::TypeIn { text, found });
                }
            }
            false
        }
        Node::Map(map) => {
            let mut has_users = false;
            for (name, value) in map.iter().filter(|(_, value)| !value.is_variable) {
                let Node::Map(account) = &value.node else {
                    let text = "Expected map entries for accounts";
                    report.error(value, ProblemKind::Stock(text));
                    continue;
                };
                if name == GLOBAL.as_bytes() {
                    reserved(report, value);
                    continue;
                }
                entries(report, account.iter(), Unknown::Field, ACCOUNT);
                has_users |= name != system_account.as_bytes() && holds_users(account);
            }
            has_users
        }
        // Stock takes anything else as no accounts.
        _ => false,
    }
}

fn holds_users(account: &Map) -> bool {
    account.iter().any(|(key, value)| {
        key.eq_ignore_ascii_case(b"users")
            && !matches!(&value.node, Node::Array(users) if users.is_empty())
    })
}

fn reserved(report: &mut Report, value: &Value) {
    report.error(
        value,
        ProblemKind::Value {
            before: "",
            value: GLOBAL.to_owned(),
            after: " is a Reserved Account",
        },
    );
}

const ACCOUNT: Fields = &[
    (&["nkey"], account_nkey),
    (&["imports"], imports),
    (&["exports"], exports),
    (&["jetstream"], jetstream::of_account),
    (&["users"], |report, _, value| _ = users(report, value)),
    (&["default_permissions"], |report, _, value| {
        _ = permissions(report, value);
    }),
    (&["mappings", "maps"], |report, _, value| {
        mappings(report, value)
    }),
    (&["limits"], limits),
    (&["msg_trace", "trace_dest"], message_trace),
];

fn account_nkey(report: &mut Report, _: &str, value: &Value) {
    let valid = |it: &str| it.starts_with('A') && nkeys::KeyPair::from_public_key(it).is_ok();
    if !value.text().is_ok_and(valid) {
        report.error(
            value,
            ProblemKind::Value {
                before: "Not a valid public nkey for an account: ",
                value: value.node.shown(),
                after: "",
            },
        );
    }
}

fn limits(report: &mut Report, _: &str, value: &Value) {
    let wrong_type = "Expected account limits to be a map/struct, got ";
    if let Some(map) = report.map(wrong_type, value) {
        entries(
            report,
            map.iter(),
            Unknown::In("Unknown field ", " parsing account limits"),
            &[
                (&["max_connections", "max_conn"], integer),
                (&["max_subscriptions", "max_subs"], integer),
                (&["max_payload", "max_pay"], integer),
                (&["max_leafnodes", "max_leafs"], integer),
            ],
        );
    }
}

fn message_trace(report: &mut Report, _: &str, value: &Value) {
    match &value.node {
        Node::String(_) => {}
        Node::Map(map) => entries(
            report,
            map.iter(),
            Unknown::In(
                "Unknown field ",
                " parsing account message trace map/struct",
            ),
            &[(&["dest"], text), (&["sampling"], percentage)],
        ),
        _ => report.error(
            value,
            type_in(
                "Expected account message trace to be a string or a map/struct, got ",
                value,
            ),
        ),
    }
}

/// 1 to 100, or a string with or without the percent sign.
fn percentage(report: &mut Report, _: &str, value: &Value) {
    let number = match &value.node {
        Node::Integer(number) => Some(*number),
        Node::String(_) => value
            .text()
            .ok()
            .and_then(|it| it.trim_end_matches('%').parse().ok()),
        _ => None,
    };
    if !number.is_some_and(|it| (1..=100).contains(&it)) {
        let text = "sampling is a percentage from 1 to 100";
        report.error(value, ProblemKind::Stock(text));
    }
}

fn exports(report: &mut Report, _: &str, value: &Value) {
    list(
        report,
        value,
        "Exports should be an array, got ",
        "Export Items should be a map with type entry, got ",
        &[
            (&["stream"], text),
            (&["service"], text),
            (&["response", "response_type"], response_type),
            (
                &[
                    "threshold",
                    "response_threshold",
                    "response_max_time",
                    "response_time",
                ],
                super::check::text_duration,
            ),
            (&["accounts"], account_names),
            (&["latency"], latency),
            (&["account_token_position"], integer),
            (&["allow_trace"], flag),
        ],
    );
}

fn response_type(report: &mut Report, _: &str, value: &Value) {
    let known = ["single", "singleton", "stream", "chunk", "chunked"];
    if let Some(text) = report.keep(value, value.text())
        && !known.contains(&text.to_lowercase().as_str())
    {
        report.error(
            value,
            ProblemKind::Value {
                before: "Unknown response type: ",
                value: text.to_owned(),
                after: "",
            },
        );
    }
}

fn latency(report: &mut Report, _: &str, value: &Value) {
    match &value.node {
        Node::String(_) => {}
        Node::Map(map) => entries(
            report,
            map.iter(),
            Unknown::Ignored,
            &[(&["subject"], text), (&["sampling"], |_, _, _| {})],
        ),
        _ => report.error(
            value,
            type_in(
                "Expected latency entry to be a map/struct or string, got ",
                value,
            ),
        ),
    }
}

fn imports(report: &mut Report, _: &str, value: &Value) {
    list(
        report,
        value,
        "Imports should be an array, got ",
        "Import Items should be a map with type entry, got ",
        &[
            (&["stream"], import_source),
            (&["service"], import_source),
            (&["prefix"], text),
            (&["to"], text),
            (&["share"], flag),
            (&["allow_trace"], flag),
        ],
    );
}

fn import_source(report: &mut Report, key: &str, value: &Value) {
    let Node::Map(map) = &value.node else {
        let text = match key {
            "stream" => "Stream entry should be an account map, got ",
            _ => "Service entry should be an account map, got ",
        };
        return report.error(value, type_in(text, value));
    };
    const FIELDS: Fields = &[(&["account"], text), (&["subject"], text)];
    entries(report, map.iter(), Unknown::Field, FIELDS);
    if map.find("account").is_none() || map.find("subject").is_none() {
        let text = "Expect an account name and a subject";
        report.error(value, ProblemKind::Stock(text));
    }
}

/// `mappings` of an account, or of the global account at the top level.
pub fn mappings(report: &mut Report, value: &Value) {
    let Some(map) = report.keep(value, value.map()) else {
        return;
    };
    for (subject, destination) in map.iter() {
        let subject = String::from_utf8_lossy(subject);
        if !is_subject(&subject) {
            report.error(
                value,
                ProblemKind::Value {
                    before: "Subject ",
                    value: subject.into_owned(),
                    after: " is not a valid subject",
                },
            );
            continue;
        }
        match &destination.node {
            Node::String(_) => {}
            Node::Array(entries) => entries.iter().for_each(|it| weighted(report, it)),
            _ => weighted(report, destination),
        }
    }
}

fn weighted(report: &mut Report, value: &Value) {
    let Node::Map(map) = &value.node else {
        let text = "Expected an entry for the mapping destination";
        return report.error(value, ProblemKind::Stock(text));
    };
    entries(
        report,
        map.iter(),
        Unknown::In("Unknown field ", " for mapping destination"),
        &[
            (&["dest", "destination"], text),
            (&["weight"], weight),
            (&["cluster"], text),
        ],
    );
    if !map
        .iter()
        .any(|(key, _)| key.eq_ignore_ascii_case(b"weight"))
    {
        let destination = map.find("destination").or(map.find("dest"));
        report.error(
            value,
            ProblemKind::Value {
                before: "Missing weight for mapping destination ",
                value: destination.map(|it| it.node.shown()).unwrap_or_default(),
                after: "",
            },
        );
    }
}

fn weight(report: &mut Report, _: &str, value: &Value) {
    let number = match &value.node {
        Node::Integer(number) => Some(*number),
        Node::String(_) => value
            .text()
            .ok()
            .and_then(|it| it.strip_suffix('%').unwrap_or(it).parse().ok()),
        _ => None,
    };
    if !number.is_some_and(|it| (0..=100).contains(&it)) {
        let found = format!("{} for mapping destination", value.node.shown());
        let text = "Invalid weight ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
}
