//! `accounts` and `mappings` (CFG-47, CFG-50, AUTH-27..43).

use super::super::error::ProblemKind;
use super::super::report::{Report, type_in};
use super::super::value::{Node, Value};
use super::check::{
    Fields, Unknown, accounts as account_names, entries, flag, integer, list, text,
};

pub fn message_trace(report: &mut Report, _: &str, value: &Value) {
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

pub fn exports(report: &mut Report, _: &str, value: &Value) {
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

pub fn imports(report: &mut Report, _: &str, value: &Value) {
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
