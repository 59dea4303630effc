//! Streams and consumers that a newer server has left behind: kept as they are, and not acted upon
//! by one that does not know what they mean (JS-256).

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::api::decode::decode;
use super::api::levels::{API_LEVEL, is_supported, required};

/// A stream that is there and does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offline {
    /// Why.
    pub reason: String,
    /// Those of its consumers that are the reason, and what is wrong with each.
    pub consumers: BTreeMap<String, String>,
    /// Its place on disk.
    pub path: PathBuf,
}

/// Why a configuration that was kept as `json` is not one to act upon, in stock's words; `None` if
/// it is. `metadata` is what could be read of it.
pub fn reason<T: DeserializeOwned + Default>(
    json: &[u8],
    metadata: &BTreeMap<String, String>,
) -> Option<String> {
    let unknown = decode::<T>(json, true).err().map(|it| it.to_string());
    match (is_supported(metadata), unknown) {
        (true, None) => None,
        (true, Some(error)) => Some(format!("decoding error: {error}")),
        (false, Some(error)) => {
            let error = error.strip_prefix("json: ").unwrap_or(&error);
            Some(format!("unsupported - config error: {error}"))
        }
        (false, None) => {
            let level = required(metadata);
            Some(format!(
                "unsupported - required API level: {level}, current API level: {API_LEVEL}"
            ))
        }
    }
}

/// Why a stream with a consumer nobody here understands does nothing.
pub fn stopped_for(consumer: &str) -> String {
    format!("stopped - unsupported consumer {consumer:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::stream::config::StreamConfig;

    fn judged(json: &str) -> Option<String> {
        let lenient: StreamConfig = serde_json::from_str(json).expect("a configuration");
        reason::<StreamConfig>(json.as_bytes(), &lenient.metadata)
    }

    #[test]
    fn js_256_levels_and_fields_of_newer_servers() {
        let required = "\"metadata\": {\"_nats.req.level\": \"6\"}";
        assert_eq!(judged("{\"name\": \"S\"}"), None);
        let same = "{\"name\": \"S\", \"metadata\": {\"_nats.req.level\": \"5\"}}";
        assert_eq!(judged(same), None);
        assert_eq!(
            judged(&format!("{{\"name\": \"S\", {required}}}")).as_deref(),
            Some("unsupported - required API level: 6, current API level: 5")
        );
        assert_eq!(
            judged("{\"name\": \"S\", \"warp\": 9}").as_deref(),
            Some("decoding error: json: unknown field \"warp\"")
        );
        assert_eq!(
            judged(&format!("{{\"name\": \"S\", \"warp\": 9, {required}}}")).as_deref(),
            Some("unsupported - config error: unknown field \"warp\"")
        );
    }
}
