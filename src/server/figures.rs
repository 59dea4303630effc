//! Asking all shards.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::io::Socket;
use crate::shard::control::{Control, Post};
use crate::shard::report::{Figures, Query, ShardReport};

/// Longest wait for all answers together.
const PATIENCE: Duration = Duration::from_secs(1);

/// The shards of one server, to be asked.
pub(super) struct Shards(pub(super) Vec<Post<Socket>>);

impl Figures for Shards {
    fn ask(&self, query: Query) -> Vec<ShardReport> {
        let (sender, receiver) = sync_channel(self.0.len());
        for post in &self.0 {
            post.send(Control::Query(query.clone(), sender.clone()));
        }
        drop(sender);
        let until = Instant::now() + PATIENCE;
        let mut answers = Vec::with_capacity(self.0.len());
        while answers.len() < self.0.len() {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(answer) = receiver.recv_timeout(left) else {
                break;
            };
            answers.push(answer);
        }
        answers.sort_by_key(|(shard, _)| *shard);
        answers.into_iter().map(|(_, report)| report).collect()
    }
}
