//! Bytes from a leaf link to operations, and the operations to what they do.

use crate::connection::close_reason::CloseReason;
use crate::connection::leaf::LeafStage;
use crate::protocol::leaf::op::LeafOp;
use crate::protocol::leaf::parser::{self, LeafProgress};
use crate::shard::core::Core;
use crate::shard::effects::Level;
use crate::shard::input::Step;
use crate::shard::leaf::interest::loop_text;

impl Core {
    /// Takes one operation off the front of `input` and carries it out.
    pub(in crate::shard) fn leaf_step(&mut self, index: u32, input: &[u8]) -> Step {
        let Some(connection) = self.local.connections.at(index) else {
            return Step::Closed;
        };
        match parser::next_op(input, &connection.limits) {
            Ok(LeafProgress::Op { op, used }) => {
                self.leaf_execute(index, &op);
                match matches!(op, LeafOp::Info { .. }) && self.leaf_switches(index) {
                    true => Step::Compressed(used),
                    false => Step::Used(used),
                }
            }
            Ok(LeafProgress::Incomplete { needed }) => Step::More(needed),
            Err(error) => {
                let text = error.log_text(input, &connection.limits);
                self.refuse(index, error, &text);
                Step::Closed
            }
        }
    }

    fn leaf_execute(&mut self, index: u32, op: &LeafOp<'_>) {
        let (stage, violated) = {
            let connection = self.local.connections.at(index);
            match connection.and_then(|it| it.leaf.as_ref()) {
                Some(leaf) => (leaf.stage, leaf.violated),
                None => return,
            }
        };
        match (op, stage) {
            (LeafOp::Message(message), _) if violated => self.leaf_publish(index, message),
            _ if violated => {}
            // The first line of a server that we connect to is its INFO, or it is none of ours.
            (
                LeafOp::Ping | LeafOp::Pong | LeafOp::Ok | LeafOp::Connect { .. },
                LeafStage::AwaitsInfo,
            ) => self.close(index, CloseReason::ProtocolViolation),
            (LeafOp::Ping, _) => self.ping(index),
            (LeafOp::Pong, _) => self.pong(index),
            (LeafOp::Ok, _) => {}
            (LeafOp::Err { text }, _) => self.leaf_error(index, text),
            (LeafOp::Connect { json }, LeafStage::AwaitsConnect) => self.leaf_connect(index, json),
            (LeafOp::Info { json }, _) => self.leaf_info(index, json),
            (LeafOp::Connect { .. }, _)
            | (
                _,
                LeafStage::AwaitsConnect
                | LeafStage::AwaitsInfo
                | LeafStage::AwaitsTls
                | LeafStage::AwaitsCompressed,
            ) => {
                self.send_error(index, crate::protocol::error_text::AUTHORIZATION_VIOLATION);
                self.close(index, CloseReason::ProtocolViolation);
            }
            (
                LeafOp::Subscribe {
                    subject,
                    queue,
                    key,
                },
                _,
            ) => self.leaf_subscribe(index, subject, *queue, key),
            (LeafOp::Unsubscribe { key }, _) => self.leaf_unsubscribe(index, key),
            (LeafOp::Message(message), _) => self.leaf_publish(index, message),
        }
    }

    /// The other side complains, and closes if it means to; how long we wait before we come again
    /// depends on the reason (TOPO-21).
    fn leaf_error(&mut self, index: u32, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        let text = text.trim();
        self.local
            .log(Level::Error, index, &format!("Leafnode Error {text}"));
        let loops = text.contains("Loop detected");
        let (seconds, why) = if text.contains("remote leafnode has same cluster name") {
            (30, "with same cluster name error")
        } else if text.contains("minimum version required") {
            (5, "due to minimum version requirement")
        } else if loops || text.contains("Permissions Violation") {
            (30, "")
        } else {
            return;
        };
        let Some(connection) = self.local.connections.at(index) else {
            return;
        };
        let account = connection.tenant.name.to_string();
        if let Some(leaf) = &mut connection.leaf
            && leaf.solicited.is_some()
        {
            leaf.delay = Some(std::time::Duration::from_secs(seconds));
        }
        if loops {
            let text = loop_text(&account);
            self.local.log(Level::Error, index, &text);
            self.close(index, CloseReason::ProtocolViolation);
        } else if !why.is_empty() {
            let text = format!(
                "Leafnode connection dropped {why}. Delaying attempt to reconnect for {seconds}s"
            );
            self.local.log(Level::Error, index, &text);
        }
    }
}
