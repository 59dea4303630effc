//! Who says it: the part of every system answer and event that names the server (MON-41, MON-68).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::protocol::info::ServerInfo;
use crate::time::WallTime;

/// A server as the receivers of its messages see it.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// All that stays, as the front of a JSON object.
    front: Box<str>,
    /// Messages stamped so far; the same from one view of the settings to the next.
    sequence: Arc<AtomicU64>,
}

#[derive(Serialize)]
struct Front<'a> {
    name: &'a str,
    host: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    ver: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    feature_flags: &'a BTreeMap<String, bool>,
    jetstream: bool,
    flags: u64,
}

/// What a server with JetStream can do, as bits: JetStream, snapshots of streams in binary form,
/// accounts' own traffic between servers.
const CAPABLE: u64 = 7;

/// What of the options is told to others.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Name of its cluster.
    pub cluster: Option<&'a str>,
    /// Its tags.
    pub tags: &'a [String],
    /// Its metadata.
    pub metadata: &'a BTreeMap<String, String>,
    /// Feature flags in force.
    pub feature_flags: &'a BTreeMap<String, bool>,
    /// JetStream is on.
    pub jetstream: bool,
    /// Its domain.
    pub domain: Option<&'a str>,
}

impl ServerIdentity {
    /// Of a server that says this of itself and has stamped `sequence` messages.
    pub fn new(info: &ServerInfo, told: Told<'_>, sequence: Arc<AtomicU64>) -> Self {
        let front = Front {
            name: &info.server_name,
            host: &info.host,
            id: &info.server_id,
            cluster: told.cluster,
            domain: told.domain,
            ver: &info.version,
            tags: told.tags,
            metadata: told.metadata,
            feature_flags: told.feature_flags,
            jetstream: told.jetstream,
            flags: if told.jetstream { CAPABLE } else { 0 },
        };
        let mut front = serde_json::to_string(&front).unwrap_or_default();
        front.pop(); // the closing brace
        Self {
            front: front.into(),
            sequence,
        }
    }

    /// The count of messages, for the identity after this one.
    pub fn sequence(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sequence)
    }

    /// The server as a JSON object, for one message.
    pub fn stamp(&self, wall: WallTime) -> String {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        format!(
            "{},\"seq\":{sequence},\"time\":\"{}\"}}",
            self.front,
            rfc3339(wall)
        )
    }
}

/// RFC 3339 in UTC with as many digits of the second as there are.
pub fn rfc3339(wall: WallTime) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(wall.0))
        .unwrap_or_default()
        .to_string()
}

/// Characters of an event's id.
const ID_CHARACTERS: usize = 22;

/// A new event's id: 22 letters and digits (MON-68).
pub fn event_id(mut random: impl FnMut() -> u64) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    (0..ID_CHARACTERS)
        .map(|_| char::from(ALPHABET[(random() % 62) as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_041_every_stamp_has_its_own_number() {
        let told = Told {
            cluster: None,
            tags: &["a".to_owned()],
            metadata: &BTreeMap::new(),
            feature_flags: &BTreeMap::new(),
            jetstream: false,
            domain: None,
        };
        let identity = ServerIdentity::new(&ServerInfo::default(), told, Arc::default());
        for sequence in 1..3 {
            let stamp: serde_json::Value =
                serde_json::from_str(&identity.stamp(WallTime(1))).expect("JSON");
            assert_eq!(stamp["seq"], sequence);
            assert_eq!(stamp["tags"][0], "a");
            assert_eq!(stamp["time"], "1970-01-01T00:00:00.000000001Z");
            assert_eq!(stamp.get("metadata"), None);
        }
    }

    #[test]
    fn mon_068_ids_have_22_letters_and_digits() {
        let mut number = 0;
        let id = event_id(|| {
            number += 7;
            number
        });
        assert_eq!(id.len(), 22);
        assert!(id.bytes().all(|it| it.is_ascii_alphanumeric()));
    }
}
