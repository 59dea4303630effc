//! Compression of a link: who offers it, who chooses, when it begins (TOPO-42..44).

use std::sync::Arc;

use crate::connection::close_reason::CloseReason;
use crate::connection::leaf::LeafStage;
use crate::protocol::leaf::info::LeafInfo;
use crate::shard::core::Core;
use crate::shard::effects::Level as LogLevel;
use crate::transport::s2::level::{Level, Mode, UnknownMode};
use crate::transport::transport::Transport;

impl Core {
    /// What our INFO offers on a link that the other side has made; empty is none.
    pub(super) fn offered_compression(&mut self, index: u32) -> &'static str {
        let settings = Arc::clone(&self.local.settings);
        match self.websocket_compresses(index) {
            true => "",
            false => settings.leaf.compression.name(),
        }
    }

    /// A WebSocket that compresses its messages makes the rest unnecessary.
    fn websocket_compresses(&mut self, index: u32) -> bool {
        let connection = self.local.connections.at(index);
        let transport = connection.and_then(|it| it.transport.as_ref());
        transport.is_some_and(|it| it.compresses_messages())
    }

    /// INFO of the side that has connected: it has chosen.
    pub(super) fn leaf_chose(&mut self, index: u32, info: &LeafInfo) {
        let settings = Arc::clone(&self.local.settings);
        let compressed = self.websocket_compresses(index);
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(leaf) = &mut connection.leaf else {
            return;
        };
        if leaf.stage != LeafStage::AwaitsConnect || std::mem::replace(&mut leaf.negotiated, true) {
            return;
        }
        leaf.compression = "off".into();
        let own = &settings.leaf.compression;
        if compressed || !own.is_on() {
            return;
        }
        match own.agree(&info.compression) {
            Err(error) => self.leaf_misunderstands(index, &error),
            Ok(None) => {}
            Ok(Some(mode)) => {
                let level = self.begin_compression(index, mode, None);
                if level.is_some() {
                    self.send_leaf_info(index, false);
                }
            }
        }
    }

    /// First INFO of the side to which we have connected. True if we have chosen to compress, so
    /// that its INFO comes again.
    pub(super) fn leaf_chooses(&mut self, index: u32, info: &LeafInfo) -> bool {
        let compressed = self.websocket_compresses(index);
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let round_trip = now.since(connection.start_at);
        let Some(leaf) = &mut connection.leaf else {
            return false;
        };
        leaf.negotiated = true;
        let Some(solicited) = &leaf.solicited else {
            return false;
        };
        let own = solicited.compression.clone();
        leaf.compression = match info.compression.as_str() {
            "" => "not supported",
            "not supported" if own.is_on() => "not supported",
            _ => "off",
        }
        .into();
        if compressed || !own.is_on() {
            return false;
        }
        match own.agree(&info.compression) {
            Err(error) => {
                self.leaf_misunderstands(index, &error);
                true
            }
            Ok(None) => false,
            // Where nothing is to be gained our own kind puts nothing in chunks either: they are
            // copies and checksums for nothing, and it takes a CONNECT as well. So does stock; but
            // it would not compress later either, if the link becomes slow.
            Ok(Some(mode @ Mode::Auto(_)))
                if is_own_kind(info) && mode.level(round_trip) == Some(Level::Uncompressed) =>
            {
                false
            }
            Ok(Some(mode)) => {
                let settings = Arc::clone(&self.local.settings);
                let answer = LeafInfo {
                    server_id: settings.info.server_id.clone(),
                    server_name: settings.info.server_name.clone(),
                    version: settings.info.version.clone(),
                    ..LeafInfo::default()
                };
                let level = self.begin_compression(index, mode, Some(answer));
                if let Some(connection) = self.local.connections.at(index)
                    && let Some(leaf) = &mut connection.leaf
                {
                    leaf.stage = LeafStage::AwaitsCompressed;
                }
                level.is_some()
            }
        }
    }

    /// Compresses from here on, after `first`, which goes out as it is.
    fn begin_compression(
        &mut self,
        index: u32,
        mode: Mode,
        first: Option<LeafInfo>,
    ) -> Option<Level> {
        let now = self.local.now;
        let connection = self.local.connections.at(index)?;
        let level = mode.level(now.since(connection.start_at))?;
        let (leaf, cid) = (connection.leaf.as_mut()?, connection.cid);
        let auto = matches!(mode, Mode::Auto(_));
        leaf.compression = level.name().into();
        leaf.switches = true;
        leaf.adapts = Some(mode).filter(|_| auto);
        let transport = connection.transport.get_or_insert_with(Transport::open);
        let mut last = Vec::new();
        if let Some(mut info) = first {
            info.compression = match auto {
                true => "s2_auto".to_owned(),
                false => level.name().to_owned(),
            };
            info.client_id = cid.0;
            last = info.line();
        }
        transport.compress(level, &last, &mut self.local.codec);
        if !std::mem::replace(&mut connection.dirty, true) {
            self.local.dirty.push_back(index);
        }
        Some(level)
    }

    /// Has compression just begun? Once.
    pub(super) fn leaf_switches(&mut self, index: u32) -> bool {
        let connection = self.local.connections.at(index);
        let leaf = connection.and_then(|it| it.leaf.as_mut());
        leaf.is_some_and(|leaf| std::mem::take(&mut leaf.switches))
    }

    /// A round trip was measured: compress as hard as it is worth (TOPO-44).
    pub(in crate::shard) fn leaf_adapts(&mut self, index: u32) {
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let Some(round_trip) = connection.keep_alive.rtt else {
            return;
        };
        let (Some(leaf), Some(transport)) = (&mut connection.leaf, &mut connection.transport)
        else {
            return;
        };
        let level = leaf.adapts.as_ref().and_then(|it| it.level(round_trip));
        if let Some(level) = level {
            leaf.compression = level.name().into();
            transport.set_compression(level);
        }
    }

    fn leaf_misunderstands(&mut self, index: u32, error: &UnknownMode) {
        let text = error.to_string();
        self.local.log(LogLevel::Error, index, &text);
        self.send_error(index, text.as_bytes());
        self.close(index, CloseReason::ProtocolViolation);
    }
}

/// Is the other side a server of the same make? Stock says which Go it was built with.
fn is_own_kind(info: &LeafInfo) -> bool {
    info.go.starts_with("rust")
}
