//! A peer whose certificate is good waits until its authorities have said that it was not revoked
//! (CORE-89).

use std::sync::Arc;

use crate::connection::connection::Holds;
use crate::ids::Slot;
use crate::shard::core::Core;
use crate::shard::effects::Effect;
use crate::shard::internal::PeerCheck;
use crate::transport::transport::TransportError;

impl Core {
    /// Has the authorities asked, where that is wanted. Then the protocol has to wait, no longer
    /// than a handshake may take.
    pub(super) fn ask_about_peer(&mut self, index: u32) -> bool {
        let shard = self.local.id;
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let Some(transport) = &connection.transport else {
            return false;
        };
        let (Some(tls), Some(settings)) = (transport.tls(), transport.tls_settings()) else {
            return false;
        };
        if settings.ocsp_peer.is_none() {
            return false;
        }
        let check = PeerCheck {
            shard,
            slot: connection.slot,
            certificates: tls.peer_certificates().to_vec(),
            settings: Arc::clone(settings),
        };
        connection.holds.add(Holds::VERIFY);
        self.local.effects.push(Effect::CheckPeer(Arc::new(check)));
        true
    }

    /// The authorities have answered, or have not in time.
    pub fn peer_checked(&mut self, slot: Slot, good: bool) {
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        if !connection.holds.remove(Holds::VERIFY) || connection.closing() {
            return;
        }
        if !connection.holds.any() {
            self.local.ready.push(slot);
        }
        if good {
            self.protocol_begins(slot.index, false);
        } else {
            self.transport_failed(slot.index, TransportError::PeerRevoked);
        }
    }
}
