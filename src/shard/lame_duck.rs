//! The end of a server: told first, then closed one by one, or all at once.

use std::time::Duration;

use crate::connection::close_reason::CloseReason;
use crate::shard::core::Core;
use crate::time::Nanos;

/// Longest pause between two clients that are closed (CORE-94).
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Clients are being closed one by one.
#[derive(Debug, Clone, Copy)]
pub(super) struct GradualClose {
    pause: Duration,
    next_at: Nanos,
}

impl Core {
    /// Tells every client that can hear it that this server goes away (CORE-94).
    pub fn announce_lame_duck(&mut self) {
        self.local.lame_duck = true;
        let told = self.local.connections.iter();
        let told: Vec<u32> = told
            .filter(|it| it.keep_alive.first_pong_sent && it.options.protocol >= 1)
            .map(|it| it.slot.index)
            .collect();
        for index in told {
            self.send_info(index, false);
        }
    }

    /// Closes the clients one by one over `time`.
    pub fn close_over(&mut self, time: Duration) {
        let clients = self.local.connections.len().max(1) as u32;
        let pause = (time / clients).min(PAUSE_MAX);
        self.local.gradual_close = Some(GradualClose {
            pause,
            next_at: self.local.now,
        });
    }

    /// Closes the next client if it is time.
    pub(super) fn close_gradually(&mut self) {
        let now = self.local.now;
        while let Some(gradual) = &mut self.local.gradual_close
            && gradual.next_at <= now
        {
            gradual.next_at = gradual.next_at + gradual.pause;
            let next = self.local.connections.iter().find(|it| !it.closing());
            let Some(index) = next.map(|it| it.slot.index) else {
                self.local.gradual_close = None;
                return;
            };
            self.close(index, CloseReason::ServerShutdown);
        }
    }

    /// When the next client is to be closed.
    pub(super) fn next_gradual_close(&self) -> Option<Nanos> {
        self.local.gradual_close.map(|gradual| gradual.next_at)
    }

    /// Closes every client.
    pub fn close_all(&mut self) {
        let all: Vec<u32> = self
            .local
            .connections
            .iter()
            .map(|it| it.slot.index)
            .collect();
        for index in all {
            self.close(index, CloseReason::ServerShutdown);
        }
    }
}
