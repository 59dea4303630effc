//! Which remotes there are, through reloads (TOPO-25).
//!
//! Each has a number that no other ever gets. Shards know the numbers in force: a link of another
//! number ends, or never begins, wherever it was when the remote went.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::remote::Remote;
use crate::options::{LeafOptions, Options, RemoteOptions};
use crate::server::handle::Shared;
use crate::transport::s2::level::Mode;

/// What a remote's thread goes by, and whether it goes on.
pub(super) struct Orders {
    over: AtomicBool,
    options: Mutex<Arc<RemoteOptions>>,
}

impl Orders {
    fn new(options: &RemoteOptions) -> Self {
        Self {
            over: AtomicBool::new(false),
            options: Mutex::new(Arc::new(options.clone())),
        }
    }

    /// The remote is no more.
    pub fn are_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The options of the next attempt.
    pub fn options(&self) -> Arc<RemoteOptions> {
        Arc::clone(&self.options.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, options: &RemoteOptions) {
        let mut held = self.options.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(options.clone());
    }
}

/// The remotes in force, those that are not disabled.
#[derive(Clone, Default)]
pub(in crate::server) struct Remotes {
    by_name: BTreeMap<String, (u32, Arc<Orders>)>,
    made: u32,
}

impl Remotes {
    /// Those of these options. Who was there before stays who he is.
    pub fn after(&self, options: &LeafOptions) -> Self {
        let mut next = Self {
            by_name: BTreeMap::new(),
            made: self.made,
        };
        for remote in options.remotes.iter().filter(|it| !it.disabled) {
            let name = remote.name();
            let known = self.by_name.get(&name).cloned();
            let entry = known.unwrap_or_else(|| {
                next.made += 1;
                (next.made, Arc::new(Orders::new(remote)))
            });
            next.by_name.insert(name, entry);
        }
        next
    }

    /// What shards are to know of them: how each one's link may be compressed.
    pub fn modes(&self, options: &LeafOptions) -> Arc<BTreeMap<u32, Mode>> {
        let modes = options.remotes.iter().filter_map(|it| {
            let (number, _) = self.by_name.get(&it.name())?;
            Some((*number, it.compression.clone()))
        });
        Arc::new(modes.collect())
    }

    /// Those of `before` that are no more connect no more. Before the shards end their links, or
    /// they would be made again.
    pub fn stop_others(&self, before: &Self) {
        for (name, (_, orders)) in &before.by_name {
            if !self.by_name.contains_key(name) {
                orders.over.store(true, Ordering::Release);
            }
        }
    }

    /// Begins with those that are new. The shards know already.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub fn start(
        &self,
        before: &Self,
        options: &Options,
        shared: &Arc<Shared>,
    ) -> std::io::Result<()> {
        for remote in &options.leafnodes.remotes {
            let name = remote.name();
            let Some((number, orders)) = self.by_name.get(&name) else {
                continue;
            };
            orders.replace(remote);
            if !before.by_name.contains_key(&name) {
                Remote::new(*number, options, Arc::clone(orders)).start(shared)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(urls: &[(&str, bool)]) -> LeafOptions {
        let remotes = urls.iter().map(|(url, disabled)| RemoteOptions {
            urls: vec![(*url).to_owned()],
            disabled: *disabled,
            ..RemoteOptions::default()
        });
        LeafOptions {
            remotes: remotes.collect(),
            ..LeafOptions::default()
        }
    }

    #[test]
    fn topo_025_who_stays_keeps_the_number_and_no_other_ever_gets_it() {
        let mut remotes = Remotes::default();
        let mut then = |urls: &[(&str, bool)]| {
            let block = block(urls);
            remotes = remotes.after(&block);
            remotes.modes(&block).keys().copied().collect::<Vec<_>>()
        };
        assert_eq!(then(&[("a:1", false), ("b:1", false)]), [1, 2]);
        assert_eq!(then(&[("b:1", false)]), [2]);
        assert_eq!(then(&[("a:1", false), ("b:1", false)]), [2, 3]);
        assert_eq!(then(&[("a:1", true), ("b:1", false)]), [2]);
        assert_eq!(then(&[("a:1", false), ("b:1", false)]), [2, 4]);
    }
}
