//! `msg_trace` of an account (AUTH-40).

use super::super::error::ProblemKind;
use super::super::report::Report;
use super::super::value::{Map, Node, Value};
use crate::routing::subject::{is_valid_literal, is_valid_pattern};

pub fn message_trace(report: &mut Report, key: &str, value: &Value) {
    match &value.node {
        Node::String(_) => {
            destination(report, key, value);
        }
        Node::Map(map) => block(report, key, value, map),
        _ => {
            let found = format!(
                "{key:?} to be a string or a map/struct, got {}",
                value.node.type_name()
            );
            let text = "Expected account message trace ";
            report.error(value, ProblemKind::TypeIn { text, found });
        }
    }
}

/// The first mistake ends it, as in stock.
fn block(report: &mut Report, key: &str, value: &Value, map: &Map) {
    let mut has_destination = false;
    let mut samples = false;
    for (name, value) in map.iter() {
        let text = String::from_utf8_lossy(name);
        let fine = match text.to_lowercase().as_str() {
            "dest" => {
                has_destination = destination(report, &text, value);
                has_destination
            }
            "sampling" => {
                samples = sampling(report, &text, value);
                samples
            }
            _ if value.is_variable => true,
            _ => {
                let found = format!("{text:?} parsing account message trace map/struct {key:?}");
                let text = "Unknown field ";
                report.error(value, ProblemKind::TypeIn { text, found });
                false
            }
        };
        if !fine {
            return;
        }
    }
    if samples && !has_destination {
        let text = "Trace destination sampling ignored since no destination was set";
        report.warning(value, ProblemKind::Stock(text));
    }
}

fn destination(report: &mut Report, key: &str, value: &Value) -> bool {
    let Node::String(_) = value.node else {
        let found = format!("{key:?} should be a string, got {}", value.node.type_name());
        let text = "Field ";
        report.error(value, ProblemKind::TypeIn { text, found });
        return false;
    };
    let Some(subject) = report.keep(value, value.text()) else {
        return false;
    };
    let valid = is_valid_pattern(subject.as_bytes()) && is_valid_literal(subject.as_bytes());
    if !valid {
        let kind = ProblemKind::Value {
            before: "Trace destination ",
            value: subject.to_owned(),
            after: " is not valid",
        };
        report.error(value, kind);
    }
    valid
}

/// 1 to 100, or a string with or without the percent sign.
fn sampling(report: &mut Report, key: &str, value: &Value) -> bool {
    let number = match &value.node {
        Node::Integer(number) => *number,
        Node::String(_) => {
            let Some(text) = report.keep(value, value.text()) else {
                return false;
            };
            match text.strip_suffix('%').unwrap_or(text).parse() {
                Ok(number) => number,
                Err(_) => {
                    let kind = ProblemKind::Value {
                        before: "Invalid trace destination sampling value ",
                        value: text.to_owned(),
                        after: "",
                    };
                    report.error(value, kind);
                    return false;
                }
            }
        }
        _ => {
            let found = format!("{key:?} should be an integer or a percentage, got ");
            let type_name = value.node.type_name();
            let text = "Trace destination sampling field ";
            let found = format!("{found}{type_name}");
            report.error(value, ProblemKind::TypeIn { text, found });
            return false;
        }
    };
    let valid = (1..=100).contains(&number);
    if !valid {
        let found = format!("{number} is invalid, needs to be [1..100]");
        // Stock's spelling.
        let text = "Ttrace destination sampling value ";
        report.error(value, ProblemKind::TypeIn { text, found });
    }
    valid
}
