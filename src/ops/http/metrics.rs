//! `/metrics`: the same figures for Prometheus, under the names prometheus-nats-exporter gives
//! them. They are made from the very JSON of the other endpoints, so the two cannot drift apart.
//!
//! Differences: everything but what the disks took is a gauge, as most of the exporter's are,
//! because the library would add `_total` to a counter's name; the traffic of `connz` is that of all connections ever, not
//! of those open; `gnatsd_connz_pending_bytes` is missing, because no scrape shall make a shard
//! walk through all its connections.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

/// The format's name. The library's `# EOF` at the end is a comment in it.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Texts that become a gauge of 1 with the text as label `value`, besides the times.
const TEXTS: [&str; 6] = [
    "server_id",
    "server_name",
    "version",
    "domain",
    "leader",
    "name",
];
/// Times that become milliseconds since 1970.
const TIMES: [&str; 2] = ["start", "config_load_time"];
/// Settings of links that the exporter leaves out.
const LEFT_OUT: [&str; 9] = [
    "leaf",
    "trusted_operators_claim",
    "cluster_tls_timeout",
    "cluster_cluster_port",
    "cluster_auth_timeout",
    "gateway_port",
    "gateway_auth_timeout",
    "gateway_tls_timeout",
    "gateway_connect_retries",
];
/// What the exporter takes of an account, by path, and its name for it.
const OF_ACCOUNTS: [(&str, &str); 9] = [
    ("/conns", "current_connections"),
    ("/total_conns", "total_connections"),
    ("/num_subscriptions", "subscriptions"),
    ("/leafnodes", "leaf_nodes"),
    ("/sent/msgs", "sent_messages"),
    ("/sent/bytes", "sent_bytes"),
    ("/received/msgs", "received_messages"),
    ("/received/bytes", "received_bytes"),
    ("/slow_consumers", "slow_consumers"),
];

pub(super) type Labels = Vec<(&'static str, String)>;

/// Metrics of one server at one time.
#[derive(Debug)]
pub(super) struct Metrics {
    server_id: String,
    /// By name, because samples of one name must stand together.
    samples: BTreeMap<String, Vec<(Labels, f64)>>,
    /// Those that are counts in ranges, by name.
    histograms: BTreeMap<String, Distribution>,
}

/// Counts of values in ranges.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    /// All values together.
    pub sum: f64,
    /// Upper bound of each range and how many values are in it alone.
    pub ranges: Vec<(f64, u64)>,
}

impl Metrics {
    /// Of the server with this id, still empty.
    pub(super) fn new(server_id: &str) -> Self {
        Self {
            server_id: server_id.into(),
            samples: BTreeMap::new(),
            histograms: BTreeMap::new(),
        }
    }

    /// Adds numbers, some texts and times of an answer; names of nested objects are joined by `_`.
    pub(super) fn add(&mut self, endpoint: &str, answer: &Value) {
        self.flatten(endpoint, "", "", answer);
    }

    /// Adds the accounts of `/accstatz`, told apart by labels.
    pub(super) fn add_accounts(&mut self, accstatz: &Value) {
        let accounts = accstatz["account_statz"].as_array();
        for account in accounts.into_iter().flatten() {
            let text = |field: &str| account[field].as_str().unwrap_or_default().to_owned();
            for (path, name) in OF_ACCOUNTS {
                if let Some(value) = account.pointer(path).and_then(Value::as_f64) {
                    let labels = vec![
                        ("account", text("acc")),
                        ("account_id", text("acc")),
                        ("account_name", text("name")),
                    ];
                    self.push("accstatz", name, labels, value);
                }
            }
        }
    }

    /// Adds our own version beside the one that is stock's (PROC-12).
    pub(super) fn add_version(&mut self, version: &str) {
        let labels = vec![("value", version.to_owned())];
        self.push("varz", "ramjet_version", labels, 1.0);
    }

    /// Adds the health: 0 is good in `status`, 1 is good in `status_value`.
    pub(super) fn add_health(&mut self, status: &'static str) {
        let bad = f64::from(u8::from(status != "ok"));
        self.push("healthz", "status", Vec::new(), bad);
        let labels = vec![("value", status.to_owned())];
        self.push("healthz", "status_value", labels, 1.0 - bad);
    }

    /// The text Prometheus reads.
    pub(super) fn write(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        // Writing into memory does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }

    /// `name` is that of the whole path, `field` that of its end.
    fn flatten(&mut self, endpoint: &str, name: &str, field: &str, value: &Value) {
        if LEFT_OUT.contains(&name) {
            return;
        }
        match value {
            Value::Number(number) => {
                if let Some(number) = number.as_f64() {
                    self.push(endpoint, name, Vec::new(), number);
                }
            }
            Value::String(text) => {
                if TEXTS.contains(&field) {
                    self.push(endpoint, name, vec![("value", text.clone())], 1.0);
                } else if TIMES.contains(&field)
                    && let Ok(time) = text.parse::<jiff::Timestamp>()
                {
                    let millis = time.as_millisecond() as f64;
                    self.push(endpoint, name, Vec::new(), millis);
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    let joined = if name.is_empty() {
                        key.clone()
                    } else {
                        format!("{name}_{key}")
                    };
                    self.flatten(endpoint, &joined, key, value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Array(_) => {}
        }
    }

    fn push(&mut self, endpoint: &str, name: &str, labels: Labels, value: f64) {
        let name = format!("gnatsd_{endpoint}_{}", plain(name));
        self.put(&name, labels, value);
    }

    /// Adds one under its whole name.
    pub(super) fn put(&mut self, name: &str, mut labels: Labels, value: f64) {
        labels.insert(0, ("server_id", self.server_id.clone()));
        let name = name.to_owned();
        self.samples.entry(name).or_default().push((labels, value));
    }

    /// Adds counts in ranges under their whole name.
    pub(super) fn put_distribution(&mut self, name: &str, distribution: Distribution) {
        self.histograms.insert(name.to_owned(), distribution);
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, samples) in &self.samples {
            let help = name.splitn(3, '_').last().unwrap_or(name);
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in samples {
                ConstGauge::new(*value).encode(metric.encode_family(labels)?)?;
            }
        }
        let labels: Labels = vec![("server_id", self.server_id.clone())];
        for (name, distribution) in &self.histograms {
            let help = name.splitn(3, '_').last().unwrap_or(name);
            let kind = MetricType::Histogram;
            let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
            let Distribution { sum, ranges } = distribution;
            let count = ranges.iter().map(|it| it.1).sum();
            let mut metric = metric.encode_family(&labels)?;
            metric.encode_histogram::<Labels>(*sum, count, ranges, None)?;
        }
        Ok(())
    }
}

/// A name of letters, digits and single `_`: the paths in `http_req_stats` have slashes.
fn plain(name: &str) -> String {
    let is_letter = |character: char| character.is_ascii_alphanumeric();
    let parts = name.split(|character| !is_letter(character));
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(fill: impl FnOnce(&mut Metrics), expected: &[&str]) {
        let mut metrics = Metrics::new("N\"1\\");
        fill(&mut metrics);
        let text = metrics.write();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, expected);
        for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
            assert!(line.ends_with(" gauge"), "{line}");
        }
    }

    #[test]
    fn cli_027_fields_become_gauges_under_the_exporters_names() {
        let varz = json!({
            "server_name": "a\nb",
            "host": "not a label",
            "port": 4222,
            "cpu": 1.5,
            "auth_required": true,
            "tags": ["x"],
            "start": "1970-01-01T00:00:01.5Z",
            "now": "1970-01-01T00:00:02Z",
            "leaf": { "port": 7422 },
            "cluster": { "cluster_port": 6222, "pool_size": 3 },
            "http_req_stats": { "/": 1, "/varz": 2 },
            "slow_consumer_stats": { "clients": 4 },
        });
        check(
            |metrics| metrics.add("varz", &varz),
            &[
                r#"gnatsd_varz_cluster_pool_size{server_id="N\"1\\"} 3.0"#,
                r#"gnatsd_varz_cpu{server_id="N\"1\\"} 1.5"#,
                r#"gnatsd_varz_http_req_stats{server_id="N\"1\\"} 1.0"#,
                r#"gnatsd_varz_http_req_stats_varz{server_id="N\"1\\"} 2.0"#,
                r#"gnatsd_varz_port{server_id="N\"1\\"} 4222.0"#,
                r#"gnatsd_varz_server_name{server_id="N\"1\\",value="a\nb"} 1.0"#,
                r#"gnatsd_varz_slow_consumer_stats_clients{server_id="N\"1\\"} 4.0"#,
                r#"gnatsd_varz_start{server_id="N\"1\\"} 1500.0"#,
            ],
        );
    }

    #[test]
    fn cli_027_health_is_zero_when_good_and_its_value_one() {
        check(
            |metrics| metrics.add_health("ok"),
            &[
                r#"gnatsd_healthz_status{server_id="N\"1\\"} 0.0"#,
                r#"gnatsd_healthz_status_value{server_id="N\"1\\",value="ok"} 1.0"#,
            ],
        );
        check(
            |metrics| metrics.add_health("error"),
            &[
                r#"gnatsd_healthz_status{server_id="N\"1\\"} 1.0"#,
                r#"gnatsd_healthz_status_value{server_id="N\"1\\",value="error"} 0.0"#,
            ],
        );
    }

    #[test]
    fn counts_in_ranges_are_histograms() {
        let mut metrics = Metrics::new("N");
        let ranges = vec![(0.5, 2), (1.0, 0), (f64::INFINITY, 1)];
        metrics.put_distribution("a_b_seconds", Distribution { sum: 9.5, ranges });
        let text = metrics.write();
        for line in [
            "# TYPE a_b_seconds histogram",
            r#"a_b_seconds_sum{server_id="N"} 9.5"#,
            r#"a_b_seconds_count{server_id="N"} 3"#,
            r#"a_b_seconds_bucket{le="0.5",server_id="N"} 2"#,
            r#"a_b_seconds_bucket{le="1.0",server_id="N"} 2"#,
            r#"a_b_seconds_bucket{le="+Inf",server_id="N"} 3"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line} in {text}");
        }
    }

    #[test]
    fn cli_027_accounts_are_told_apart_by_labels() {
        let account = |name: &str, conns: u64| json!({ "acc": name, "name": name, "conns": conns });
        let accstatz = json!({ "account_statz": [account("$G", 2), account("$SYS", 0)] });
        let of = |name: &str, conns: &str| {
            format!(
                "gnatsd_accstatz_current_connections{{server_id=\"N\\\"1\\\\\",account=\"{name}\",\
                 account_id=\"{name}\",account_name=\"{name}\"}} {conns}"
            )
        };
        check(
            |metrics| metrics.add_accounts(&accstatz),
            &[&of("$G", "2.0"), &of("$SYS", "0.0")],
        );
    }
}
