//! What every answer of the server says of the server itself (MON-41).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::ops::http::facts::CurrentFacts;
use crate::ops::http::format;
use crate::server::shards::wall_time;

/// Describes the server, each time with the next number.
pub(in crate::server) struct Envelope {
    facts: Arc<CurrentFacts>,
    answers: AtomicU64,
}

impl Envelope {
    pub fn new(facts: Arc<CurrentFacts>) -> Self {
        Self {
            facts,
            answers: AtomicU64::new(0),
        }
    }

    /// The server's id.
    pub fn server_id(&self) -> String {
        self.facts.now().info.server_id.clone()
    }

    /// The `server` of an answer.
    pub fn server(&self) -> Value {
        let facts = self.facts.now();
        let (info, options) = (&facts.info, &facts.options);
        let mut server = json!({
            "name": info.server_name,
            "host": info.host,
            "id": info.server_id,
        });
        if let Some(cluster) = &options.cluster_name {
            server["cluster"] = cluster.as_str().into();
        }
        server["ver"] = info.version.as_str().into();
        if !options.tags.is_empty() {
            server["tags"] = options.tags.clone().into();
        }
        if !options.metadata.is_empty() {
            server["metadata"] = json!(options.metadata);
        }
        server["feature_flags"] = json!(facts.feature_flags);
        server["jetstream"] = false.into();
        server["flags"] = 0.into();
        server["seq"] = (self.answers.fetch_add(1, Ordering::Relaxed) + 1).into();
        server["time"] = format::time(wall_time()).into();
        server
    }
}
