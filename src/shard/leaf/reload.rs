//! New settings for links that are there (TOPO-25).

use crate::connection::close_reason::CloseReason;
use crate::connection::leaf::LeafStage;
use crate::shard::core::Core;
use crate::shard::settings::Settings;
use crate::transport::s2::level::Mode;

impl Core {
    /// Is this remote one of those in force? Others are not connected to.
    pub fn has_remote(&self, number: u32) -> bool {
        self.local.settings.leaf.remotes.contains_key(&number)
    }

    /// Ends a link whose remote is no more, and one that must agree on compression anew; others
    /// are compressed as is said now. False if it has ended.
    pub(in crate::shard) fn renew_link(&mut self, index: u32, before: &Settings) -> bool {
        let settings = std::sync::Arc::clone(&self.local.settings);
        let (now, then) = (&settings.leaf, &before.leaf);
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let Some(leaf) = &connection.leaf else {
            return true;
        };
        let (mode, was) = match &leaf.solicited {
            None => (&now.compression, Some(&then.compression)),
            Some(with) => match now.remotes.get(&with.remote) {
                Some(mode) => (mode, then.remotes.get(&with.remote)),
                None => {
                    self.close(index, CloseReason::ClientClosed);
                    return false;
                }
            },
        };
        was == Some(mode) || self.compress_as(index, mode)
    }

    /// False where both sides must agree on it anew, which closes the link.
    fn compress_as(&mut self, index: u32, mode: &Mode) -> bool {
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let Some(leaf) = &mut connection.leaf else {
            return true;
        };
        if leaf.stage != LeafStage::Open
            || leaf.compression == "not supported"
            || leaf.compression == mode.name()
        {
            return true;
        }
        match (mode, &mut connection.transport) {
            (Mode::Auto(_) | Mode::Fixed(_), Some(transport)) if leaf.compression != "off" => {
                leaf.adapts = Some(mode.clone()).filter(|it| matches!(it, Mode::Auto(_)));
                if let Mode::Fixed(level) = mode {
                    leaf.compression = level.name().into();
                    transport.set_compression(*level);
                } else {
                    self.leaf_adapts(index);
                }
                true
            }
            _ => {
                self.close(index, CloseReason::ClientClosed);
                false
            }
        }
    }
}
