//! `mappings`, of an account or of `$G` at the top level (AUTH-41..48).

use super::authorization::is_subject;
use super::error::ProblemKind;
use super::report::Report;
use super::value::{Node, Value};
use crate::accounts::mapping::Mappings;
use crate::options::{DestinationOptions, MappingOptions};

/// Reads the block; whatever in it cannot be made is noted and left out.
pub fn read(report: &mut Report, value: &Value) -> Vec<MappingOptions> {
    let Some(map) = report.keep(value, value.map()) else {
        return Vec::new();
    };
    let mut mappings = Vec::new();
    for (source, destination) in map.iter() {
        let source = String::from_utf8_lossy(source).into_owned();
        if !is_subject(&source) {
            report.error(
                value,
                ProblemKind::Value {
                    before: "Subject ",
                    value: source,
                    after: " is not a valid subject",
                },
            );
            continue;
        }
        let mut to = String::new();
        let destinations = match &destination.node {
            Node::String(_) => {
                let Some(subject) = report.keep(destination, destination.text()) else {
                    continue;
                };
                to = format!(" to {subject:?}");
                vec![DestinationOptions {
                    subject: subject.to_owned(),
                    weight: 100,
                    cluster: None,
                }]
            }
            Node::Array(entries) => {
                let all = entries.iter().filter_map(|it| weighted(report, it));
                all.collect()
            }
            _ => match weighted(report, destination) {
                Some(only) => vec![only],
                None => continue,
            },
        };
        let mapping = MappingOptions {
            source,
            destinations,
        };
        if let Err(error) = Mappings::new(std::slice::from_ref(&mapping), None) {
            let found = format!("{:?}{to} : {error}", mapping.source);
            let text = "Error adding mapping for ";
            report.error(destination, ProblemKind::TypeIn { text, found });
            continue;
        }
        mappings.push(mapping);
    }
    mappings
}

fn weighted(report: &mut Report, value: &Value) -> Option<DestinationOptions> {
    let Node::Map(map) = &value.node else {
        let text = "Expected an entry for the mapping destination";
        report.error(value, ProblemKind::Stock(text));
        return None;
    };
    let mut destination = DestinationOptions::default();
    let mut weight_given = false;
    for (key, value) in map.iter() {
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "dest" | "destination" => {
                report
                    .keep(value, value.text())?
                    .clone_into(&mut destination.subject);
            }
            "weight" => {
                destination.weight = weight(report, value)?;
                weight_given = true;
            }
            "cluster" => destination.cluster = Some(report.keep(value, value.text())?.to_owned()),
            _ => {
                let around = ("Unknown field ", " for mapping destination");
                report.unknown_field_in(around, key, value);
                return None;
            }
        }
    }
    if !weight_given {
        report.error(
            value,
            ProblemKind::Value {
                before: "Missing weight for mapping destination ",
                value: destination.subject,
                after: "",
            },
        );
        return None;
    }
    destination.cluster = destination.cluster.filter(|it| !it.is_empty());
    Some(destination)
}

fn weight(report: &mut Report, value: &Value) -> Option<u8> {
    let invalid = |report: &mut Report, shown: String| {
        let found = format!("{shown} for mapping destination");
        let text = "Invalid weight ";
        report.error(value, ProblemKind::TypeIn { text, found });
        None
    };
    let number = match &value.node {
        Node::Integer(number) => *number,
        Node::String(_) => {
            let text = report.keep(value, value.text())?;
            let digits = text.strip_suffix('%').unwrap_or(text);
            match digits.parse() {
                Ok(number) => number,
                Err(_) => return invalid(report, format!("{digits:?}")),
            }
        }
        _ => {
            let found = format!("{}\n", value.node.shown());
            let text = "Unknown entry type for weight of ";
            report.error(value, ProblemKind::TypeIn { text, found });
            return None;
        }
    };
    match u8::try_from(number) {
        Ok(weight @ 0..=100) => Some(weight),
        _ => invalid(report, number.to_string()),
    }
}
