//! A certificate together with what its authority last said of it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::sign::CertifiedKey;

use super::ocsp::Answer;

/// Looked at in handshakes, replaced when there is news.
#[derive(Debug)]
pub struct Staple {
    bare: Arc<CertifiedKey>,
    stapled: RwLock<Option<(Arc<CertifiedKey>, Answer)>>,
}

impl Staple {
    /// Of a certificate of which nothing is known yet.
    pub fn new(bare: Arc<CertifiedKey>) -> Self {
        Self {
            bare,
            stapled: RwLock::default(),
        }
    }

    /// From now on clients that ask for it get `raw`, which says `answer`.
    pub fn put(&self, raw: Vec<u8>, answer: Answer) {
        let mut stapled = CertifiedKey::clone(&self.bare);
        stapled.ocsp = Some(raw);
        let mut current = self.stapled.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some((Arc::new(stapled), answer));
    }

    /// What was said last.
    pub fn answer(&self) -> Option<Answer> {
        let current = self.stapled.read().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().map(|(_, answer)| *answer)
    }

    /// What a client is shown; `None` once nothing is said any more that holds, as in stock.
    pub fn shown(&self) -> Option<Arc<CertifiedKey>> {
        let current = self.stapled.read().unwrap_or_else(PoisonError::into_inner);
        let (key, answer) = current.as_ref()?;
        answer.check_time(now()).is_ok().then(|| Arc::clone(key))
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |it| it.as_secs())
}
