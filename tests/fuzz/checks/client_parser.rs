//! What holds for the client parser whatever it is fed: shared by the fuzz target and the replay
//! of its corpus.

use ramjet::protocol::connect::ConnectOptions;
use ramjet::protocol::error::ProtocolError;
use ramjet::protocol::op::ClientOp;
use ramjet::protocol::parser::{Limits, Progress, next_op};
use ramjet::protocol::{headers, redact};

/// Small enough for a fuzzer to reach.
const LIMITS: Limits = Limits {
    max_control_line: 128,
    max_payload: 256,
    headers: true,
};

/// Reads `data` at once and in reads of several lengths, and wants the same answers.
///
/// # Panics
/// If the parser panics, or an answer depends on how the bytes were cut.
pub fn check(data: &[u8]) {
    let whole = read(data, data.len().max(1));
    for cut in [1, 2, 3, 7, 64] {
        assert_eq!(read(data, cut), whole, "reads of {cut} bytes");
    }
}

/// The operations, and the error that ended them, if one did.
fn read(data: &[u8], read_len: usize) -> (Vec<String>, Option<ProtocolError>) {
    let mut pending = Vec::new();
    let mut ops = Vec::new();
    for bytes in data.chunks(read_len) {
        pending.extend_from_slice(bytes);
        loop {
            match next_op(&pending, &LIMITS) {
                Ok(Progress::Op { op, used }) => {
                    assert!(used > 0 && used <= pending.len());
                    look_inside(&op);
                    ops.push(format!("{op:?}"));
                    pending.drain(..used);
                }
                Ok(Progress::Incomplete {
                    needed: Some(needed),
                }) => {
                    assert!(needed > pending.len());
                    break;
                }
                Ok(Progress::Incomplete { needed: None }) => {
                    assert!(pending.len() <= LIMITS.longest_head());
                    break;
                }
                Err(error) => {
                    drop(error.log_text(&pending, &LIMITS));
                    return (ops, Some(error));
                }
            }
        }
    }
    (ops, None)
}

fn look_inside(op: &ClientOp<'_>) {
    match op {
        ClientOp::Connect { json } => {
            drop(ConnectOptions::parse(json));
            drop(redact::connect(json));
        }
        ClientOp::Publish(publish) => {
            assert!(publish.header_len <= publish.body.len());
            let block = &publish.body[..publish.header_len];
            headers::get(block, b"K");
            headers::append_with(&mut Vec::new(), block, b"K", b"v");
        }
        _ => {}
    }
}
