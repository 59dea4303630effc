//! What an operator may have done to one client (CORE-97).

use crate::connection::close_reason::CloseReason;
use crate::ids::ConnectionId;
use crate::shard::core::Core;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAction {
    /// Close it (MON-52).
    Kick,
    /// Tell it alone that this server goes away (MON-53).
    LameDuck,
}

/// What came of it, on the shard that has the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientOutcome {
    /// Done.
    Done,
    /// It does not know how to hear that, or has not said yet that it does.
    Deaf,
}

impl Core {
    /// Does something to a client if it is here.
    pub fn act_on(&mut self, cid: ConnectionId, action: ClientAction) -> Option<ClientOutcome> {
        let open = self.local.connections.iter().filter(|it| !it.closing());
        let connection = open.into_iter().find(|it| it.cid == cid)?;
        let index = connection.slot.index;
        let hears = connection.keep_alive.first_pong_sent && connection.options.protocol >= 1;
        match action {
            ClientAction::Kick => self.close(index, CloseReason::Kicked),
            ClientAction::LameDuck if !hears => return Some(ClientOutcome::Deaf),
            ClientAction::LameDuck => self.send_lame_duck_info(index),
        }
        Some(ClientOutcome::Done)
    }
}
