//! A block as a table: names of a key -> what its value must be.

use super::super::authorization::subjects;
use super::super::error::ProblemKind;
use super::super::listen;
use super::super::report::{Report, TextsError, strict_duration, type_in};
use super::super::value::{Node, Value};

/// Checks the value of a key, given with the key as written.
pub type Check = fn(&mut Report, &str, &Value);

/// The keys of a block, each with its other names.
pub type Fields = &'static [(&'static [&'static str], Check)];

/// How a block speaks of keys it does not have: stock's common form, or text around the key.
#[derive(Clone, Copy)]
pub enum Unknown {
    /// `unknown field "x"`.
    Field,
    /// Text before and after the key.
    In(&'static str, &'static str),
    /// Stock ignores them.
    Ignored,
}

/// Checks every key of a map; anything but a map is an error in the words of `wrong_type`.
pub fn block(report: &mut Report, value: &Value, wrong_type: &'static str, fields: Fields) {
    if let Some(map) = report.map(wrong_type, value) {
        entries(report, map.iter(), Unknown::Field, fields);
    }
}

/// Checks keys and values.
pub fn entries<'v>(
    report: &mut Report,
    entries: impl Iterator<Item = (&'v [u8], &'v Value)>,
    unknown: Unknown,
    fields: Fields,
) {
    for (key, value) in entries {
        let text = String::from_utf8_lossy(key);
        let name = text.to_lowercase();
        let field = fields
            .iter()
            .find(|(names, _)| names.contains(&name.as_str()));
        match (field, unknown) {
            (Some((_, check)), _) => check(report, &text, value),
            (None, Unknown::Field) => report.unknown_field(key, value),
            (None, Unknown::In(before, after)) => {
                report.unknown_field_in((before, after), key, value);
            }
            (None, Unknown::Ignored) => {}
        }
    }
}

/// Checks a list of maps.
pub fn list(
    report: &mut Report,
    value: &Value,
    not_array: &'static str,
    not_map: &'static str,
    fields: Fields,
) {
    let Node::Array(values) = &value.node else {
        report.error(value, type_in(not_array, value));
        return;
    };
    for entry in values {
        if let Node::Map(map) = &entry.node {
            entries(report, map.iter(), Unknown::Field, fields);
        } else {
            let found = entry.node.shown();
            report.error(
                entry,
                ProblemKind::TypeIn {
                    text: not_map,
                    found,
                },
            );
        }
    }
}

pub fn text(report: &mut Report, _: &str, value: &Value) {
    report.keep(value, value.text());
}

pub fn integer(report: &mut Report, _: &str, value: &Value) {
    report.keep(value, value.integer());
}

pub fn flag(report: &mut Report, _: &str, value: &Value) {
    report.keep(value, value.boolean());
}

pub fn address(report: &mut Report, _: &str, value: &Value) {
    report.keep(value, listen::parse(value));
}

pub fn duration(report: &mut Report, key: &str, value: &Value) {
    report.duration(key, value);
}

pub fn accounts(report: &mut Report, _: &str, value: &Value) {
    let what = TextsError {
        in_array: "error parsing accounts: unsupported type in array ",
        alone: "error parsing accounts: unsupported type ",
    };
    report.texts(what, value);
}

pub fn text_list(report: &mut Report, _: &str, value: &Value) {
    if let Some(values) = report.keep(value, value.array()) {
        for value in values {
            report.keep(value, value.text());
        }
    }
}

pub fn denied_subjects(report: &mut Report, _: &str, value: &Value) {
    subjects(report, value, false);
}

/// `write_timeout` (CFG-42).
pub fn write_timeout(report: &mut Report, _: &str, value: &Value) {
    if let Some(text) = report.keep(value, value.text())
        && !matches!(text, "default" | "close" | "retry")
    {
        let text = "write_timeout must be 'default', 'close' or 'retry'";
        report.error(value, ProblemKind::Stock(text));
    }
}

/// `max_mem`, `max_file` and others: an integer, or digits and one of K, M, G, T. `shown` is the
/// name stock gives the key.
pub fn storage_bytes(report: &mut Report, shown: &str, value: &Value) -> Option<i64> {
    let problem = match &value.node {
        Node::Integer(number) => return Some(*number),
        Node::String(bytes) if bytes.is_empty() => return Some(0),
        Node::String(_) => {
            let text = report.keep(value, value.text())?;
            let end = text.char_indices().last().map_or(0, |(at, _)| at);
            let (digits, suffix) = text.split_at(end);
            match (digits.parse::<i64>(), suffix) {
                (Err(_), _) => format!("strconv.ParseInt: parsing {digits:?}: invalid syntax"),
                (Ok(number), "K") => return Some(number.wrapping_mul(1 << 10)),
                (Ok(number), "M") => return Some(number.wrapping_mul(1 << 20)),
                (Ok(number), "G") => return Some(number.wrapping_mul(1 << 30)),
                (Ok(number), "T") => return Some(number.wrapping_mul(1 << 40)),
                (Ok(_), _) => "sizes defined as strings must end in K, M, G, T".to_owned(),
            }
        }
        _ => "must be int64 or string".to_owned(),
    };
    let found = format!("{shown} {problem}");
    report.error(value, ProblemKind::TypeIn { text: "", found });
    None
}

/// [`storage_bytes`] of a key whose value is not kept.
pub fn storage_size(report: &mut Report, shown: &str, value: &Value) {
    storage_bytes(report, shown, value);
}

/// Compression of a link: a mode, a switch, or a block.
pub fn compression(report: &mut Report, _: &str, value: &Value) {
    match &value.node {
        Node::String(_) | Node::Bool(_) => {}
        Node::Map(map) => entries(
            report,
            map.iter(),
            Unknown::Field,
            &[
                (&["mode"], text),
                (&["rtt_thresholds", "thresholds", "rtts", "rtt"], durations),
            ],
        ),
        _ => report.error(
            value,
            type_in(
                "field \"compression\" should be a boolean or a structure, got ",
                value,
            ),
        ),
    }
}

fn durations(report: &mut Report, _: &str, value: &Value) {
    if let Some(values) = report.keep(value, value.array()) {
        for value in values {
            report.keep(value, strict_duration(value, ""));
        }
    }
}
