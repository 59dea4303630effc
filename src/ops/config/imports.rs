//! `imports` of an account (AUTH-32, AUTH-33).

use super::error::ProblemKind;
use super::report::{Report, type_in};
use super::value::{Map, Node, Value};
use crate::options::{ImportOptions, Shared};

/// Reads the list.
pub fn read(report: &mut Report, value: &Value) -> Vec<ImportOptions> {
    let Node::Array(entries) = &value.node else {
        report.error(value, type_in("Imports should be an array, got ", value));
        return Vec::new();
    };
    let mut imports: Vec<ImportOptions> = Vec::new();
    for value in entries {
        let Some(import) = entry(report, value) else {
            continue;
        };
        let same = |it: &&ImportOptions| {
            it.shared == Shared::Service
                && import.shared == Shared::Service
                && it.account == import.account
                && local(it) == local(&import)
        };
        if let Some(other) = imports.iter().find(same) {
            let found = format!(
                "{:?}, previously used in import for account {:?}, subject {:?}",
                local(&import),
                other.account,
                other.subject
            );
            let text = "Duplicate service import subject ";
            report.error(value, ProblemKind::TypeIn { text, found });
            continue;
        }
        imports.push(import);
    }
    imports
}

/// The subject in the importing account.
fn local(import: &ImportOptions) -> &str {
    match import.to.as_str() {
        "" => &import.subject,
        to => to,
    }
}

fn entry(report: &mut Report, value: &Value) -> Option<ImportOptions> {
    let Node::Map(map) = &value.node else {
        let text = "Import Items should be a map with type entry, got ";
        report.error(value, type_in(text, value));
        return None;
    };
    let mut import = ImportOptions::default();
    let mut kind = None;
    let mut allow_trace = None;
    let untraced = "Detected allow_trace directive on a non-stream";
    for (key, value) in map.iter() {
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "stream" => {
                if kind == Some(Shared::Service) {
                    let text = "Detected stream but already saw a service";
                    report.error(value, ProblemKind::Stock(text));
                    continue;
                }
                let what = "Stream entry should be an account map, got ";
                if source(report, value, what, &mut import) {
                    kind = Some(Shared::Stream);
                }
            }
            "service" => {
                if kind == Some(Shared::Stream) {
                    let text = "Detected service but already saw a stream";
                    report.error(value, ProblemKind::Stock(text));
                    continue;
                }
                if let Some(at) = allow_trace {
                    report.error(at, ProblemKind::Stock(untraced));
                    continue;
                }
                let what = "Service entry should be an account map, got ";
                if source(report, value, what, &mut import) {
                    kind = Some(Shared::Service);
                }
            }
            "prefix" => {
                if let Some(text) = report.keep(value, value.text()) {
                    text.clone_into(&mut import.prefix);
                }
            }
            "to" => {
                let Some(text) = report.keep(value, value.text()) else {
                    continue;
                };
                text.clone_into(&mut import.to);
                if kind == Some(Shared::Stream) && !import.prefix.is_empty() {
                    let text = "Stream import can not have a 'prefix' and a 'to' property";
                    report.error(value, ProblemKind::Stock(text));
                }
            }
            "share" => {
                if let Some(flag) = report.keep(value, value.boolean()) {
                    import.share = flag;
                }
            }
            "allow_trace" => {
                if kind == Some(Shared::Service) {
                    report.error(value, ProblemKind::Stock(untraced));
                    continue;
                }
                if let Some(flag) = report.keep(value, value.boolean()) {
                    import.allow_trace = flag;
                    allow_trace = Some(value);
                }
            }
            _ => report.unknown_field(key, value),
        }
    }
    import.shared = kind?;
    Some(import)
}

fn source(
    report: &mut Report,
    value: &Value,
    wrong_type: &'static str,
    import: &mut ImportOptions,
) -> bool {
    let Node::Map(map) = &value.node else {
        report.error(value, type_in(wrong_type, value));
        return false;
    };
    let (account, subject) = account_and_subject(report, map);
    if account.is_empty() || subject.is_empty() {
        let text = "Expect an account name and a subject";
        report.error(value, ProblemKind::Stock(text));
        return false;
    }
    import.account = account;
    import.subject = subject;
    true
}

fn account_and_subject(report: &mut Report, map: &Map) -> (String, String) {
    let (mut account, mut subject) = (String::new(), String::new());
    for (key, value) in map.iter() {
        let place = match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "account" => &mut account,
            "subject" => &mut subject,
            _ => {
                report.unknown_field(key, value);
                continue;
            }
        };
        if let Some(text) = report.keep(value, value.text()) {
            text.clone_into(place);
        }
    }
    (account, subject)
}
