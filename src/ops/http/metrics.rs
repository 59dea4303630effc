//! `/metrics`: the same figures for Prometheus, under the names prometheus-nats-exporter gives
//! them. They are made from the very JSON of the other endpoints, so the two cannot drift apart.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::Value;

/// The format's name.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Fields of `/varz` that are settings or texts in the exporter's eyes too and make no metric.
const LEFT_OUT: [&str; 2] = ["http_req_stats", "feature_flags"];

#[derive(Debug)]
struct Snapshot {
    server_id: String,
    gauges: Vec<(String, f64)>,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let labels = [("server_id", self.server_id.as_str())];
        for (name, value) in &self.gauges {
            let (_, help) = name.split_once('_').unwrap_or(("", name));
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(*value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// Writes the metrics of one server: `endpoints` are names with their JSON.
pub(super) fn write(server_id: &str, endpoints: &[(&str, Value)]) -> String {
    let mut gauges = Vec::new();
    for (endpoint, value) in endpoints {
        flatten(&format!("gnatsd_{endpoint}"), value, &mut gauges);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot {
        server_id: server_id.into(),
        gauges,
    }));
    let mut out = String::new();
    // Writing into memory does not fail.
    let _ = text::encode(&mut out, &registry);
    out
}

/// Numbers and truth values become gauges; names of nested objects are joined by `_`.
fn flatten(name: &str, value: &Value, into: &mut Vec<(String, f64)>) {
    match value {
        Value::Number(number) => into.extend(number.as_f64().map(|value| (name.to_owned(), value))),
        Value::Bool(value) => into.push((name.to_owned(), f64::from(u8::from(*value)))),
        Value::Object(fields) => {
            for (key, value) in fields
                .iter()
                .filter(|(key, _)| !LEFT_OUT.contains(&key.as_str()))
            {
                flatten(&format!("{name}_{key}"), value, into);
            }
        }
        Value::Null | Value::String(_) | Value::Array(_) => {}
    }
}
