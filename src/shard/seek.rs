//! A connection whose account is not known here waits until it has been looked for (AUTH-71..73).

use crate::auth::authenticate::RefuseReason;
use crate::auth::jwt::trust::Refused;
use crate::connection::connection::Holds;
use crate::ids::Slot;
use crate::shard::core::Core;
use crate::shard::effects::Effect;
use crate::shard::internal::AccountSought;

impl Core {
    /// Has an account looked for, once for each CONNECT; nothing is read from the connection until
    /// that is done.
    pub(super) fn seek_account(&mut self, slot: Slot, key: String) {
        let shard = self.local.id;
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        if std::mem::replace(&mut connection.sought, true) {
            let why = Refused::NoAccount.why();
            return self.authentication_failed(slot.index, RefuseReason::Untrusted(why));
        }
        connection.holds.add(Holds::VERIFY);
        let sought = AccountSought { shard, slot, key };
        self.local.effects.push(Effect::Seek(Box::new(sought)));
    }

    /// The account has been looked for; if it was found, the settings have it.
    pub fn sought(&mut self, slot: Slot) {
        let Some(connection) = self.local.connections.of(slot) else {
            return;
        };
        if !connection.holds.remove(Holds::VERIFY) || connection.closing() {
            return;
        }
        if !connection.holds.any() {
            self.local.ready.push(slot);
        }
        self.authenticate(slot.index);
    }
}
