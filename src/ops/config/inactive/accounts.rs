//! `accounts` and `mappings` (CFG-47, CFG-50, AUTH-27..43).

use super::super::error::ProblemKind;
use super::super::report::{Report, type_in};
use super::super::value::{Node, Value};
use super::check::{Unknown, entries, text};

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
