//! One budget for what the stores of a shard keep in memory of their files: a server with thousands
//! of streams must not have that of thousands.

use std::collections::BTreeMap;

use crate::shard::core::Core;

use super::hosted::StreamKey;

/// What the stores of a shard keep in memory. Each of them bounds its own; here all of them are
/// bounded together.
#[derive(Debug, Default)]
pub(super) struct Caches {
    /// Bytes of all.
    bytes: usize,
    /// Stores by when they last grew: the first has gone the longest without reading or writing.
    grown: BTreeMap<u64, StreamKey>,
    /// Times any of them grew.
    times: u64,
}

/// What is known of one of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cached {
    bytes: usize,
    /// Its place in [`Caches::grown`]; none if zero.
    time: u64,
}

impl Caches {
    /// Bytes of all.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A store has so many bytes now. Says whether they are more than before.
    fn count(&mut self, key: StreamKey, cached: &mut Cached, bytes: usize) -> bool {
        let grows = bytes > cached.bytes;
        self.bytes = self.bytes - cached.bytes + bytes;
        cached.bytes = bytes;
        if grows || bytes == 0 {
            self.grown.remove(&cached.time);
            cached.time = 0;
        }
        if grows {
            self.times += 1;
            cached.time = self.times;
            self.grown.insert(self.times, key);
        }
        grows
    }

    /// A store is no more.
    pub fn forget(&mut self, key: StreamKey, mut cached: Cached) {
        self.count(key, &mut cached, 0);
    }
}

impl Core {
    /// Counts what a stream's store keeps by now. Where all of them keep too much those let go of
    /// theirs that have gone the longest without use; what they need again is read again. This
    /// store keeps its own, which has a bound of its own.
    pub(super) fn js_bound_caches(&mut self, key: StreamKey) {
        let jetstream = &mut self.jetstream;
        let Some(hosted) = jetstream.streams.at_mut(key) else {
            return;
        };
        let bytes = hosted.stream.store().cached();
        if bytes == hosted.cached.bytes || !jetstream.caches.count(key, &mut hosted.cached, bytes) {
            return;
        }
        let Some(settings) = &self.local.settings.jetstream else {
            return;
        };
        let shards = self.local.peers.others().count() + 1;
        let share = settings.caches / shards;
        let mut after = 0;
        while jetstream.caches.bytes > share {
            let next = jetstream.caches.grown.range(after..).next();
            let Some((&time, &oldest)) = next.filter(|it| *it.1 != key) else {
                return;
            };
            after = time + 1;
            let Some(hosted) = jetstream.streams.at_mut(oldest) else {
                return;
            };
            // What it has just read it is about to use.
            if hosted.busy {
                continue;
            }
            hosted.stream.store_mut().let_go();
            let left = hosted.stream.store().cached();
            jetstream.caches.count(oldest, &mut hosted.cached, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_grew_last_goes_last() {
        let mut caches = Caches::default();
        let mut all = [Cached::default(); 3];
        for (key, bytes) in [(0, 10), (1, 20), (2, 30), (0, 15), (1, 20), (2, 25)] {
            let grows = bytes > all[key as usize].bytes;
            assert_eq!(caches.count(key, &mut all[key as usize], bytes), grows);
        }
        assert_eq!(caches.bytes(), 60);
        let order = |caches: &Caches| caches.grown.values().copied().collect::<Vec<_>>();
        assert_eq!(order(&caches), [1, 2, 0]);
        caches.forget(2, all[2]);
        assert_eq!((caches.bytes(), order(&caches)), (35, vec![1, 0]));
        caches.count(1, &mut all[1], 0);
        assert_eq!((caches.bytes(), order(&caches)), (15, vec![0]));
    }
}
