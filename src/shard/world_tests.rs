//! Shards connected by hand, for tests that say who is connected to which and read what each gets.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::accounts::registry::Accounts;
use crate::auth::authenticate::Authenticator;
use crate::ids::{ConnectionId, Listener, ShardId};
use crate::options::Options;
use crate::shard::core::Core;
use crate::shard::settings::Settings;
use crate::time::{Nanos, WallTime};

/// The shards, and what their connections were sent.
pub(super) struct World {
    cores: Vec<Core>,
    now: u64,
    /// Output of each connection, by shard and index.
    pub output: BTreeMap<(usize, u32), Vec<u8>>,
}

impl World {
    pub fn new(shards: usize, options: Options) -> Self {
        let accounts = Arc::new(Accounts::new(&options).expect("checked"));
        let authenticator = Authenticator::with_accounts(&options.auth, &accounts);
        let settings = Arc::new(Settings::of(
            &options,
            accounts,
            Arc::new(authenticator.expect("users")),
        ));
        let core = |at| {
            let seed = [at as u8; 32];
            Core::new(ShardId(at as u8), shards, Arc::clone(&settings), seed)
        };
        Self {
            cores: (0..shards).map(core).collect(),
            now: 0,
            output: BTreeMap::new(),
        }
    }

    pub fn connect(&mut self, shard: usize, user: &str, says: &str) -> u32 {
        self.now += 1;
        let address = ([127, 0, 0, 1], 4222).into();
        let index =
            self.cores[shard].accept(ConnectionId(self.now), address, Listener::Client, false);
        let connect = format!(
            "CONNECT {{\"user\":\"{user}\",\"pass\":\"\",\"verbose\":false,\"headers\":true}}\r\n"
        );
        self.say(shard, index, &format!("{connect}{says}"));
        index
    }

    pub fn say(&mut self, shard: usize, index: u32, text: &str) {
        self.cores[shard].receive(index, text.as_bytes());
        (0..4).for_each(|_| self.turn());
    }

    pub fn turn(&mut self) {
        self.now += 1000;
        for shard in 0..self.cores.len() {
            let core = &mut self.cores[shard];
            core.set_time(Nanos(self.now), WallTime(self.now));
            core.tick();
            core.release_barriers();
            while core.run_ready() {}
            for other in (0..self.cores.len()).filter(|&other| other != shard) {
                let batch = self.cores[shard].take_batch(ShardId(other as u8), Box::default);
                if let Some(batch) = batch {
                    self.cores[other].apply(ShardId(shard as u8), &batch, 0, u64::MAX);
                }
            }
            while let Some((index, chunk)) = self.cores[shard].next_send() {
                let output = self.output.entry((shard, index)).or_default();
                output.extend_from_slice(&chunk.bytes);
                self.cores[shard].sent(index, chunk, true);
            }
        }
    }

    /// Subject and sid of every message a connection got since the last time, sorted.
    pub fn messages(&mut self, shard: usize, index: u32) -> Vec<(String, String)> {
        let output = self.output.remove(&(shard, index)).unwrap_or_default();
        let text = String::from_utf8(output).expect("text");
        let heads = text.split("\r\n").map(|line| line.split(' '));
        let mut found: Vec<(String, String)> = heads
            .filter_map(|mut words| match words.next() {
                Some("MSG" | "HMSG") => Some((words.next()?.into(), words.next()?.into())),
                _ => None,
            })
            .collect();
        found.sort();
        found
    }
}
