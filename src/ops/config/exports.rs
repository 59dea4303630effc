//! `exports` of an account (AUTH-30, AUTH-31, AUTH-60).

use std::time::Duration;

use super::error::ProblemKind;
use super::report::{Report, type_in};
use super::value::{Node, Value};
use crate::options::{ExportOptions, LatencyOptions, ResponseType, Shared};
use crate::time::duration;

/// Reads the list.
pub fn read(report: &mut Report, value: &Value) -> Vec<ExportOptions> {
    let Node::Array(entries) = &value.node else {
        report.error(value, type_in("Exports should be an array, got ", value));
        return Vec::new();
    };
    entries.iter().filter_map(|it| entry(report, it)).collect()
}

/// What has been seen of an entry, whose keys come in any order.
#[derive(Default)]
struct Seen<'v> {
    kind: Option<Shared>,
    response: Option<&'v Value>,
    threshold: bool,
    latency: Option<&'v Value>,
    allow_trace: Option<&'v Value>,
}

impl Seen<'_> {
    /// What a service alone may have, where it stands.
    fn of_service(&self) -> [(Option<&Value>, &'static str); 3] {
        [
            (self.response, "Detected response directive on non-service"),
            (self.latency, "Detected latency directive on non-service"),
            (
                self.allow_trace,
                "Detected allow_trace directive on non-service",
            ),
        ]
    }
}

fn entry(report: &mut Report, value: &Value) -> Option<ExportOptions> {
    let Node::Map(map) = &value.node else {
        let text = "Export Items should be a map with type entry, got ";
        report.error(value, type_in(text, value));
        return None;
    };
    let mut export = ExportOptions::default();
    let mut seen = Seen::default();
    for (key, value) in map.iter() {
        let not_stream = |report: &mut Report, text: &'static str, seen: &Seen<'_>| {
            if seen.kind == Some(Shared::Stream) {
                report.error(value, ProblemKind::Stock(text));
            }
        };
        match String::from_utf8_lossy(key).to_lowercase().as_str() {
            "stream" => {
                if seen.kind == Some(Shared::Service) {
                    already(
                        report,
                        value,
                        "Detected stream ",
                        " but already saw a service",
                    );
                    continue;
                }
                let early = seen.of_service();
                if let Some((at, text)) = early.iter().find_map(|(at, text)| at.zip(Some(*text))) {
                    report.error(at, ProblemKind::Stock(text));
                    continue;
                }
                let what = "Expected stream name to be string, got ";
                seen.kind = subject(report, value, what, &mut export, Shared::Stream);
            }
            "service" => {
                if seen.kind == Some(Shared::Stream) {
                    already(
                        report,
                        value,
                        "Detected service ",
                        " but already saw a stream",
                    );
                    continue;
                }
                let what = "Expected service name to be string, got ";
                seen.kind = subject(report, value, what, &mut export, Shared::Service);
            }
            "response" | "response_type" => {
                if seen.response.replace(value).is_some() {
                    let text = "Duplicate response type definition";
                    report.error(value, ProblemKind::Stock(text));
                    continue;
                }
                if let Some(response) = response_type(report, value) {
                    export.response = response;
                    let text = "Detected response directive on non-service";
                    not_stream(report, text, &seen);
                }
            }
            "threshold" | "response_threshold" | "response_max_time" | "response_time" => {
                if std::mem::replace(&mut seen.threshold, true) {
                    let text = "Duplicate response threshold detected";
                    report.error(value, ProblemKind::Stock(text));
                    continue;
                }
                if let Some(threshold) = threshold(report, value) {
                    export.threshold = Some(threshold);
                    let text = "Detected response directive on non-service";
                    not_stream(report, text, &seen);
                }
            }
            "accounts" => {
                if let Some(names) = report.keep(value, value.array()) {
                    let all = export.accounts.get_or_insert_default();
                    for name in names {
                        all.extend(report.keep(name, name.text()).map(str::to_owned));
                    }
                }
            }
            "latency" => {
                seen.latency = Some(value);
                if let Some(latency) = latency(report, value) {
                    export.latency = Some(latency);
                    not_stream(report, "Detected latency directive on non-service", &seen);
                }
            }
            "account_token_position" => {
                if let Some(position) = report.keep(value, value.integer()) {
                    export.account_token_position = u32::try_from(position).unwrap_or(u32::MAX);
                }
            }
            "allow_trace" => {
                seen.allow_trace = Some(value);
                if let Some(flag) = report.keep(value, value.boolean()) {
                    export.allow_trace = flag;
                    not_stream(
                        report,
                        "Detected allow_trace directive on non-service",
                        &seen,
                    );
                }
            }
            _ => report.unknown_field(key, value),
        }
    }
    export.accounts = export.accounts.filter(|it| !it.is_empty());
    seen.kind.map(|_| export)
}

fn already(report: &mut Report, value: &Value, before: &'static str, after: &'static str) {
    let value_text = value.node.shown();
    report.error(
        value,
        ProblemKind::Value {
            before,
            value: value_text,
            after,
        },
    );
}

fn subject(
    report: &mut Report,
    value: &Value,
    what: &'static str,
    export: &mut ExportOptions,
    shared: Shared,
) -> Option<Shared> {
    let Node::String(_) = value.node else {
        report.error(value, type_in(what, value));
        return None;
    };
    report
        .keep(value, value.text())?
        .clone_into(&mut export.subject);
    export.shared = shared;
    Some(shared)
}

fn response_type(report: &mut Report, value: &Value) -> Option<ResponseType> {
    let Node::String(_) = value.node else {
        let text = "Expected response type to be string, got ";
        report.error(value, type_in(text, value));
        return None;
    };
    let text = report.keep(value, value.text())?;
    match text.to_lowercase().as_str() {
        "single" | "singleton" => Some(ResponseType::Singleton),
        "stream" => Some(ResponseType::Stream),
        "chunk" | "chunked" => Some(ResponseType::Chunked),
        _ => {
            report.error(
                value,
                ProblemKind::Value {
                    before: "Unknown response type: ",
                    value: text.to_owned(),
                    after: "",
                },
            );
            None
        }
    }
}

fn threshold(report: &mut Report, value: &Value) -> Option<Duration> {
    let what = "Expected response threshold to be a parseable time duration, got ";
    let Node::String(_) = value.node else {
        report.error(value, type_in(what, value));
        return None;
    };
    let text = report.keep(value, value.text())?;
    match duration::parse(text) {
        Ok(nanos) => Some(Duration::from_nanos(nanos.max(0).unsigned_abs())),
        Err(_) => {
            report.error(
                value,
                ProblemKind::Value {
                    before: what,
                    value: text.to_owned(),
                    after: "",
                },
            );
            None
        }
    }
}

/// A subject, or a block with it and a share of the requests.
fn latency(report: &mut Report, value: &Value) -> Option<LatencyOptions> {
    let map = match &value.node {
        Node::String(_) => {
            return Some(LatencyOptions {
                subject: report.keep(value, value.text())?.to_owned(),
                sampling: 100,
            });
        }
        Node::Map(map) => map,
        _ => {
            let text = "Expected latency entry to be a map/struct or string, got ";
            report.error(value, type_in(text, value));
            return None;
        }
    };
    let sampling = match map.find("sampling") {
        None => 100,
        Some(value) => sampling(report, value)?,
    };
    let Some(subject) = map.find("subject") else {
        let text = "Latency subject required, but missing";
        report.error(value, ProblemKind::Stock(text));
        return None;
    };
    let Node::String(_) = subject.node else {
        // Stock names the type it wanted, not the one it found.
        let text = "Expected latency subject to be a string, got string";
        report.error(subject, ProblemKind::Stock(text));
        return None;
    };
    Some(LatencyOptions {
        subject: report.keep(subject, subject.text())?.to_owned(),
        sampling,
    })
}

fn sampling(report: &mut Report, value: &Value) -> Option<u8> {
    let number = match &value.node {
        Node::Integer(number) => *number,
        Node::String(_) => {
            let text = report.keep(value, value.text())?;
            if text.trim().eq_ignore_ascii_case("headers") {
                return Some(0);
            }
            let digits = text.strip_suffix('%').unwrap_or(text);
            match digits.parse() {
                Ok(number) => number,
                Err(_) => {
                    let found = format!("strconv.Atoi: parsing {digits:?}: invalid syntax");
                    let text = "Failed to parse latency sample: ";
                    report.error(value, ProblemKind::TypeIn { text, found });
                    return None;
                }
            }
        }
        _ => {
            let text = "Expected latency sample to be a string or map/struct, got ";
            report.error(value, type_in(text, value));
            return None;
        }
    };
    match u8::try_from(number) {
        Ok(percent @ 1..=100) => Some(percent),
        _ => {
            let text = "bad sampling percentage, should be 1-100";
            report.error(value, ProblemKind::Stock(text));
            None
        }
    }
}
