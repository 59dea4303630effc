//! What authorities have said of peers' certificates, by the certificates' fingerprints, in memory
//! and in stock's file (CORE-89).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use serde_json::ser::PrettyFormatter;

use crate::listener::ocsp::{Answer, Status};
use crate::ops::http::format;
use crate::ops::http::peers::PeerCacheFigures;
use crate::options::OcspCacheOptions;
use crate::server::shards::wall_time;
use crate::time::WallTime;

const FILE: &str = "cache.json";
/// Go's zero time, where an answer does not say until when it holds.
const NEVER: &str = "0001-01-01T00:00:00Z";
/// Answers kept at most: each is of a certificate that a trusted authority has signed, so there are
/// as many as it has clients.
const ITEMS_MAX: usize = 100_000;

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    subject: String,
    cached_at: String,
    resp_status: String,
    resp_expires: String,
    /// A snappy stream, in base64.
    resp: String,
}

/// See the module.
pub(super) struct Cache {
    options: OcspCacheOptions,
    items: BTreeMap<String, Item>,
    figures: Arc<PeerCacheFigures>,
    dirty: bool,
    saved: Instant,
}

impl Cache {
    /// With what a server before this one has kept.
    pub fn open(options: OcspCacheOptions, figures: Arc<PeerCacheFigures>) -> Self {
        log::debug!("Starting OCSP peer cache");
        let mut cache = Self {
            items: BTreeMap::new(),
            dirty: false,
            saved: Instant::now(),
            figures,
            options,
        };
        match cache.load() {
            Ok(items) => cache.items = items,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                log::debug!("No OCSP peer cache found, starting with empty cache");
            }
            Err(error) => {
                log::warn!("Unable to load OCSP peer cache: {error}");
                cache.dirty = error.kind() == io::ErrorKind::InvalidData;
            }
        }
        let figures = &cache.figures;
        for figure in [
            &figures.hits,
            &figures.misses,
            &figures.good,
            &figures.revoked,
            &figures.unknown,
        ] {
            figure.store(0, Ordering::Relaxed);
        }
        for item in cache.items.values() {
            cache
                .count(&item.resp_status)
                .fetch_add(1, Ordering::Relaxed);
        }
        let kind = if cache.file().is_some() {
            "local"
        } else {
            "none"
        };
        log::info!("OCSP peer cache online, type [{kind}]");
        cache
    }

    /// Is it as these options want it?
    pub fn suits(&self, options: &OcspCacheOptions) -> bool {
        self.options == *options
    }

    fn file(&self) -> Option<PathBuf> {
        Some(self.options.folder.as_ref()?.join(FILE))
    }

    fn load(&self) -> io::Result<BTreeMap<String, Item>> {
        let Some(file) = self.file() else {
            return Ok(BTreeMap::new());
        };
        log::debug!("Loading OCSP peer cache [{}]", file.display());
        let text = fs::read(file)?;
        serde_json::from_slice(&text)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    fn count(&self, status: &str) -> &AtomicU64 {
        match status {
            "good" => &self.figures.good,
            "revoked" => &self.figures.revoked,
            _ => &self.figures.unknown,
        }
    }

    /// The answer about a certificate, DER.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.options.folder.as_ref()?;
        let Some(item) = self.items.get(key) else {
            self.figures.misses.fetch_add(1, Ordering::Relaxed);
            log::debug!("OCSP peer cache miss for key [{key}]");
            return None;
        };
        self.figures.hits.fetch_add(1, Ordering::Relaxed);
        log::debug!("OCSP peer cache hit for key [{key}]");
        match unpack(&item.resp) {
            Ok(raw) => Some(raw),
            Err(error) => {
                log::error!("Unable to decompress OCSP response for key [{key}]: {error}");
                None
            }
        }
    }

    /// Keeps an answer.
    pub fn put(&mut self, key: &str, subject: &str, raw: &[u8], answer: &Answer) {
        let room = self.items.len() < ITEMS_MAX || self.items.contains_key(key);
        if self.options.folder.is_none() || !room {
            return;
        }
        log::debug!("Caching OCSP response for [{subject}], key [{key}]");
        let resp = match pack(raw) {
            Ok(resp) => resp,
            Err(error) => {
                log::error!("Unable to compress OCSP response for key [{key}]: {error}");
                return;
            }
        };
        let time = |seconds: u64| format::time(WallTime(seconds.saturating_mul(1_000_000_000)));
        let item = Item {
            subject: subject.to_owned(),
            cached_at: time(wall_time().0 / 1_000_000_000),
            resp_status: answer.status.name().to_owned(),
            resp_expires: answer.next_update.map_or(NEVER.to_owned(), time),
            resp,
        };
        self.count(&item.resp_status)
            .fetch_add(1, Ordering::Relaxed);
        if let Some(old) = self.items.insert(key.to_owned(), item) {
            self.count(&old.resp_status).fetch_sub(1, Ordering::Relaxed);
        }
        self.dirty = true;
    }

    /// Forgets an answer that could not be used: what was found was a miss.
    pub fn remove(&mut self, key: &str) {
        let Some(item) = self.items.get(key) else {
            return;
        };
        self.figures.misses.fetch_add(1, Ordering::Relaxed);
        self.figures.hits.fetch_sub(1, Ordering::Relaxed);
        if self.options.preserve_revoked && item.resp_status == Status::Revoked.name() {
            log::debug!("Revoked OCSP response for key [{key}] preserved by cache policy");
            return;
        }
        log::debug!("Deleting OCSP peer cached response for key [{key}]");
        self.count(&item.resp_status)
            .fetch_sub(1, Ordering::Relaxed);
        self.items.remove(key);
        self.dirty = true;
    }

    /// Writes it, if it is time.
    pub fn save_in_time(&mut self, now: Instant) {
        if now.saturating_duration_since(self.saved) >= self.options.save_interval {
            self.save();
        }
    }

    /// Writes it, if there is anything new.
    pub fn save(&mut self) {
        self.saved = Instant::now();
        let Some(file) = self.file().filter(|_| self.dirty) else {
            return;
        };
        log::debug!("OCSP peer cache is dirty, saving");
        log::debug!("Saving OCSP peer cache [{}]", file.display());
        match self.write(&file) {
            Ok(bytes) => {
                self.dirty = false;
                log::debug!("Saved OCSP peer cache successfully ({bytes} bytes)");
            }
            Err(error) => log::error!("Unable to save OCSP peer cache: {error}"),
        }
    }

    /// Into a file that is either the old or the new one, whatever happens.
    fn write(&self, file: &Path) -> io::Result<usize> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut text = Vec::new();
        let formatter = PrettyFormatter::with_indent(b" ");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        self.items.serialize(&mut serializer)?;
        let next = file.with_extension("new");
        let mut written = fs::File::create(&next)?;
        written.write_all(&text)?;
        written.sync_all()?;
        fs::rename(&next, file)?;
        Ok(text.len())
    }
}

fn pack(raw: &[u8]) -> io::Result<String> {
    let mut stream = snap::write::FrameEncoder::new(Vec::new());
    stream.write_all(raw)?;
    let packed = stream.into_inner().map_err(|error| error.into_error())?;
    Ok(BASE64.encode(&packed))
}

fn unpack(text: &str) -> io::Result<Vec<u8>> {
    /// Longer than any answer that was let in.
    const RAW_MAX: u64 = 1 << 20;
    let packed = BASE64.decode(text.as_bytes());
    let packed = packed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut raw = Vec::new();
    snap::read::FrameDecoder::new(&*packed)
        .take(RAW_MAX)
        .read_to_end(&mut raw)?;
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: Status) -> Answer {
        Answer {
            status,
            this_update: 1000,
            next_update: Some(2000),
        }
    }

    fn figures(figures: &PeerCacheFigures) -> [u64; 5] {
        [
            &figures.hits,
            &figures.misses,
            &figures.good,
            &figures.revoked,
            &figures.unknown,
        ]
        .map(|it| it.load(Ordering::Relaxed))
    }

    #[test]
    fn core_089_answers_survive_their_server() {
        let folder = tempfile::tempdir().expect("a folder");
        let options = OcspCacheOptions {
            folder: Some(folder.path().join("_rc_")),
            preserve_revoked: true,
            ..OcspCacheOptions::default()
        };
        let seen = Arc::new(PeerCacheFigures::default());
        let mut cache = Cache::open(options.clone(), Arc::clone(&seen));
        assert_eq!(cache.get("a"), None);
        cache.put("a", "CN=a", b"yes", &answer(Status::Good));
        cache.put("b", "CN=b", b"no", &answer(Status::Revoked));
        cache.put("b", "CN=b", b"no!", &answer(Status::Revoked));
        cache.put("c", "", b"?", &answer(Status::Unknown));
        assert_eq!(cache.get("b").as_deref(), Some(&b"no!"[..]));
        assert_eq!(figures(&seen), [1, 1, 1, 1, 1]);
        cache.remove("b"); // stays: a revocation is not forgotten
        cache.remove("c");
        cache.remove("d");
        cache.save();

        let seen = Arc::new(PeerCacheFigures::default());
        let cache = Cache::open(options, Arc::clone(&seen));
        assert_eq!(figures(&seen), [0, 0, 1, 1, 0]);
        assert_eq!(cache.get("a").as_deref(), Some(&b"yes"[..]));
        assert_eq!(cache.get("b").as_deref(), Some(&b"no!"[..]));
        assert_eq!(cache.items["a"].resp_expires, "1970-01-01T00:33:20Z");
    }

    #[test]
    fn core_089_a_damaged_file_is_an_empty_cache() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(FILE);
        let options = OcspCacheOptions {
            folder: Some(folder.path().to_owned()),
            ..OcspCacheOptions::default()
        };
        for text in [
            "",
            "[]",
            "{\"a\": 1}",
            "{\"a\": {\"cached_at\": \"\", \"resp_status\": \"good\", \"resp_expires\": \"\", \"resp\": \"%\"}}",
        ] {
            fs::write(&file, text).expect("written");
            let cache = Cache::open(options.clone(), Arc::default());
            assert_eq!(cache.get("a"), None, "{text}");
        }
    }

    #[test]
    fn core_089_without_a_folder_nothing_is_remembered() {
        let options = OcspCacheOptions {
            folder: None,
            ..OcspCacheOptions::default()
        };
        let seen = Arc::new(PeerCacheFigures::default());
        let mut cache = Cache::open(options, Arc::clone(&seen));
        cache.put("a", "CN=a", b"yes", &answer(Status::Good));
        assert_eq!(cache.get("a"), None);
        cache.save();
        assert_eq!(figures(&seen), [0; 5]);
    }
}
