//! What is known of peers' certificates, in figures (CORE-89).

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use super::facts::ServerFacts;
use crate::options::TlsOptions;

/// Figures of the cache of what authorities said.
#[derive(Debug, Default)]
pub struct PeerCacheFigures {
    /// Questions it could answer.
    pub hits: AtomicU64,
    /// Questions it could not.
    pub misses: AtomicU64,
    /// Answers in it that say: good.
    pub good: AtomicU64,
    /// Revoked.
    pub revoked: AtomicU64,
    /// Unknown.
    pub unknown: AtomicU64,
}

/// `ocsp_peer_cache` of `/varz`.
#[derive(Serialize)]
pub(super) struct PeerCacheVarz {
    #[serde(rename = "cache_type")]
    kind: &'static str,
    #[serde(rename = "cache_hits", skip_serializing_if = "is_zero")]
    hits: u64,
    #[serde(rename = "cache_misses", skip_serializing_if = "is_zero")]
    misses: u64,
    #[serde(rename = "cached_responses", skip_serializing_if = "is_zero")]
    responses: u64,
    #[serde(rename = "cached_revoked_responses", skip_serializing_if = "is_zero")]
    revoked: u64,
    #[serde(rename = "cached_good_responses", skip_serializing_if = "is_zero")]
    good: u64,
    #[serde(rename = "cached_unknown_responses", skip_serializing_if = "is_zero")]
    unknown: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Are authorities asked about peers of such a block?
pub(super) fn asks(tls: Option<&TlsOptions>) -> bool {
    tls.is_some_and(|it| it.ocsp_peer.is_some())
}

impl PeerCacheVarz {
    /// `None` where nobody is asked, or nothing remembered.
    pub(super) fn of(facts: &ServerFacts) -> Option<Self> {
        let options = &facts.options;
        let websocket = options.websocket.tls.as_ref();
        if !asks(options.tls.as_ref()) && !asks(websocket) {
            return None;
        }
        options.ocsp_cache.folder.as_ref()?;
        let figures = &facts.peer_cache;
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let (good, revoked) = (read(&figures.good), read(&figures.revoked));
        let unknown = read(&figures.unknown);
        Some(Self {
            kind: "local",
            hits: read(&figures.hits),
            misses: read(&figures.misses),
            responses: good + revoked + unknown,
            revoked,
            good,
            unknown,
        })
    }
}
