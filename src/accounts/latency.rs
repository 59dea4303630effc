//! Which requests are measured, and the message that says how long they took (AUTH-60..66).

use serde::Serialize;
use serde_json::{Map, Value};

/// Headers looked at, as they are written in the message about it.
const UBER: &str = "Uber-Trace-Id";
const B3: &str = "B3";
const CONTEXT: &str = "Traceparent";
/// Beside [`B3`], the form in several headers.
const B3_PARTS: [&str; 4] = [
    "X-B3-Sampled",
    "X-B3-Traceid",
    "X-B3-Spanid",
    "X-B3-Parentspanid",
];

/// Name and value of a header.
pub type Header = (String, String);

/// Is a request measured, of which `percent` are, or those whose headers ask for it? Then with
/// the tracing headers it has. `random` is any number.
pub fn sampled(percent: u8, header: Option<&[u8]>, random: u64) -> Option<Vec<Header>> {
    if percent >= 100 || (percent > 0 && random % 100 <= u64::from(percent)) {
        return Some(Vec::new());
    }
    let headers = parse(header?);
    let find = |name: &str| headers.iter().find(|(it, _)| it == name);
    let all = |names: &[&str]| {
        let wanted = |(name, _): &&Header| names.contains(&name.as_str());
        headers.iter().filter(wanted).cloned().collect()
    };
    if let Some((_, value)) = find(UBER) {
        let parts: Vec<&str> = value.split(':').collect();
        let flags = match parts[..] {
            [_, _, _, flags] if (1..=2).contains(&flags.len()) => u8::from_str_radix(flags, 16),
            _ => return None,
        };
        return flags.is_ok_and(|it| it & 1 == 1).then(|| {
            let baggage = |(name, _): &&Header| name == UBER || name.starts_with("Uberctx-");
            headers.iter().filter(baggage).cloned().collect()
        });
    }
    match find(B3_PARTS[0]).map(|(_, value)| value.as_str()) {
        Some("1") => return Some(all(&B3_PARTS)),
        Some("0") => return None,
        _ => {}
    }
    if find(B3_PARTS[1]).is_some() {
        return Some(all(&B3_PARTS));
    }
    if let Some((_, value)) = find(B3) {
        let parts: Vec<&str> = value.split('-').collect();
        let denied = match parts[..] {
            [only] => only == "0",
            [_, _, third, ..] => third == "0",
            _ => false,
        };
        return (!denied).then(|| all(&[B3]));
    }
    let (_, value) = find(CONTEXT)?;
    let parts: Vec<&str> = value.split('-').collect();
    let sampled = matches!(parts[..], [_, _, _, flags] if flags.len() == 2
        && u8::from_str_radix(flags, 16).is_ok_and(|it| it & 1 == 1));
    sampled.then(|| all(&[CONTEXT, "Tracestate"]))
}

/// Names in Go's canonical spelling, and values.
fn parse(header: &[u8]) -> Vec<Header> {
    let text = String::from_utf8_lossy(header);
    let lines = text.split("\r\n").skip(1);
    let pairs = lines.filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (canonical(name.trim()), value.trim().to_owned()))
        .collect()
}

fn canonical(name: &str) -> String {
    let part = |part: &str| {
        let mut letters = part.chars();
        let first = letters.next().map(|it| it.to_ascii_uppercase());
        first
            .into_iter()
            .chain(letters.map(|it| it.to_ascii_lowercase()))
            .collect::<String>()
    };
    name.split('-').map(part).collect::<Vec<_>>().join("-")
}

/// A measurement.
#[derive(Debug, Clone, Default)]
pub struct Metric {
    /// 200, or why there is no answer.
    pub status: u16,
    /// Tracing headers of the request.
    pub header: Vec<Header>,
    /// When the request left the requester.
    pub start: String,
    /// Nanoseconds the service took.
    pub service: u64,
    /// Nanoseconds the server took.
    pub system: u64,
    /// Nanoseconds the requester waited.
    pub total: u64,
    /// Who asked.
    pub requestor: Option<Value>,
    /// Who answered.
    pub responder: Option<Value>,
}

#[derive(Serialize)]
struct Message<'a> {
    r#type: &'static str,
    id: String,
    timestamp: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    requestor: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<&'a Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    header: Map<String, Value>,
    start: &'a str,
    service: u64,
    system: u64,
    total: u64,
}

impl Metric {
    /// The message, of this time and with an id made of `random`.
    pub fn json(&self, timestamp: &str, random: [u64; 2]) -> Vec<u8> {
        let mut header: Map<String, Value> = Map::new();
        for (name, value) in &self.header {
            let values = header
                .entry(name.clone())
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(values) = values {
                values.push(value.as_str().into());
            }
        }
        let message = Message {
            r#type: "io.nats.server.metric.v1.service_latency",
            id: unique(random),
            timestamp,
            status: self.status,
            description: description(self.status),
            requestor: self.requestor.as_ref(),
            responder: self.responder.as_ref(),
            header,
            start: &self.start,
            service: self.service,
            system: self.system,
            total: self.total,
        };
        serde_json::to_vec(&message).unwrap_or_default()
    }
}

const fn description(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        503 => "Service Unavailable",
        504 => "Service Timeout",
        _ => "",
    }
}

/// 22 characters nobody else has, as events are named (MON-68).
fn unique(random: [u64; 2]) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = u128::from(random[0]) << 64 | u128::from(random[1]);
    let digits = (0..22).map(|_| {
        let digit = DIGITS[(rest % 62) as usize];
        rest /= 62;
        char::from(digit)
    });
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<&[&str]>) {
        let block = format!("NATS/1.0\r\n{header}\r\n\r\n");
        let found = sampled(0, Some(block.as_bytes()), 0);
        let names = found.map(|it| it.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
        let expected = expected.map(|it| it.iter().map(|it| (*it).to_owned()).collect());
        assert_eq!(names, expected, "{header}");
    }

    /// AUTH-66.
    #[test]
    fn headers_ask_for_it() {
        check(
            "Uber-Trace-Id: 479fefe9525eddb:5adb976bfc1f95c1:479fefe9525eddb:1",
            Some(&[UBER]),
        );
        check(
            "uber-trace-id: a:b:c:1\r\nuberctx-x: y",
            Some(&[UBER, "Uberctx-X"]),
        );
        check("Uber-Trace-Id: a:b:c:0", None);
        check("Uber-Trace-Id: a:b:1", None);
        check("X-B3-Sampled: 1", Some(&["X-B3-Sampled"]));
        check("X-B3-Sampled: 0\r\nX-B3-TraceId: 5", None);
        check("X-B3-TraceId: 80f198ee56343ba8", Some(&["X-B3-Traceid"]));
        check(
            "B3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05",
            Some(&[B3]),
        );
        check("B3: a-b-0", None);
        check("B3: 0", None);
        check(
            "Traceparent: 00-4bf92f3577b34da6-00f067aa0ba902b7-01",
            Some(&[CONTEXT]),
        );
        check("traceparent: 00-a-b-00", None);
        check("Other: 1", None);
        assert_eq!(sampled(0, None, 0), None);
        assert_eq!(sampled(100, None, 99), Some(Vec::new()));
        assert_eq!(sampled(50, None, 99), None);
    }
}
