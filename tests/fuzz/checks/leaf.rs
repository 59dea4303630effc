//! What must hold of leaf links whatever the other side says, in every state of the handshake:
//! shared by the fuzz target and the replay of its corpus.

use std::sync::Arc;
use std::time::Duration;

use ramjet::auth::authenticate::Authenticator;
use ramjet::connection::leaf::Solicited;
use ramjet::ids::{ConnectionId, Listener, ShardId};
use ramjet::options::{CompressionMode, Options};
use ramjet::protocol::leaf::parser::{LeafProgress, next_op};
use ramjet::protocol::parser::Limits;
use ramjet::shard::core::Core;
use ramjet::shard::settings::Settings;
use ramjet::time::{Nanos, WallTime};
use ramjet::transport::s2::reader::{Reader, S2Error};

const LIMITS: Limits = Limits {
    max_control_line: 128,
    max_payload: 256,
    headers: true,
};
/// Bytes of a block of the streams here.
const BLOCK_MAX: usize = 4096;

/// The first byte says what the rest is, in which state it comes, and how it is cut.
///
/// # Panics
/// If anything does, or depends on how the bytes were cut.
pub fn check(input: &[u8]) {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let state = usize::from(how >> 2 & 3);
    let cut = 1 << (how >> 4 & 7);
    match how & 3 {
        0 => parses(bytes),
        1 => accepted(bytes, state, cut),
        2 => solicited(bytes, state, cut),
        _ => decompresses(bytes, cut),
    }
}

fn parses(bytes: &[u8]) {
    let whole = operations(bytes, bytes.len().max(1));
    for cut in [1, 2, 3, 7, 64] {
        assert_eq!(operations(bytes, cut), whole, "reads of {cut} bytes");
    }
}

/// The operations, and the error that ended them, if one did.
fn operations(bytes: &[u8], cut: usize) -> (Vec<String>, Option<String>) {
    let mut pending = Vec::new();
    let mut ops = Vec::new();
    for piece in bytes.chunks(cut) {
        pending.extend_from_slice(piece);
        loop {
            match next_op(&pending, &LIMITS) {
                Ok(LeafProgress::Op { op, used }) => {
                    assert!(used > 0 && used <= pending.len());
                    ops.push(format!("{op:?}"));
                    pending.drain(..used);
                }
                Ok(LeafProgress::Incomplete { needed }) => {
                    assert!(needed.is_none_or(|needed| needed > pending.len()));
                    break;
                }
                Err(error) => {
                    drop(error.log_text(&pending, &LIMITS));
                    return (ops, Some(error.to_string()));
                }
            }
        }
    }
    (ops, None)
}

/// A shard by itself, driven by hand.
struct Alone {
    core: Core,
    now: u64,
}

impl Alone {
    fn new() -> Self {
        let mut options = Options::default();
        options.leafnodes.compression = CompressionMode::default();
        let authenticator = Authenticator::new(&options.auth).expect("open");
        let settings = Settings::of(&options, Arc::default(), Arc::new(authenticator));
        Self {
            core: Core::new(ShardId(0), 1, Arc::new(settings), [1; 32]),
            now: 0,
        }
    }

    fn says(&mut self, link: u32, bytes: &[u8], cut: usize) {
        for piece in bytes.chunks(cut) {
            self.core.receive(link, piece);
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.now += 1_000_000;
        let core = &mut self.core;
        core.set_time(Nanos(self.now), WallTime(self.now));
        core.tick();
        core.run_handshakes();
        core.release_barriers();
        while core.run_ready() {}
        while let Some((index, chunk)) = core.next_send() {
            core.sent(index, chunk, true);
        }
    }

    /// A client that hears and says something, before and after.
    fn client(&mut self) {
        let address = ([127, 0, 0, 1], 4222).into();
        let client = self
            .core
            .accept(ConnectionId(9), address, Listener::Client, false);
        let says = b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\nSUB q g 2\r\nPUB a r 1\r\nx\r\n";
        self.says(client, says, usize::MAX);
    }
}

const CONNECT: &[u8] = b"CONNECT {\"name\":\"e\",\"headers\":true,\"remote_account\":\"$G\"}\r\n";

fn accepted(bytes: &[u8], state: usize, cut: usize) {
    let mut shard = Alone::new();
    shard.client();
    let address = ([127, 0, 0, 1], 7422).into();
    let link = shard
        .core
        .accept(ConnectionId(10), address, Listener::Leaf, false);
    let before: &[&[u8]] = match state {
        0 => &[],
        1 => &[b"INFO {\"compression\":\"s2_best\"}\r\n"],
        2 => &[CONNECT],
        _ => &[CONNECT, b"LS+ >\r\nLS+ q g 1\r\n"],
    };
    for words in before {
        shard.says(link, words, usize::MAX);
    }
    shard.says(link, bytes, cut);
    shard.client();
}

fn solicited(bytes: &[u8], state: usize, cut: usize) {
    const INFO: &[u8] =
        b"INFO {\"client_id\":1,\"leafnode_urls\":[],\"info_on_connect\":true,\"headers\":true}\r\n";
    const COMPRESSED: &[u8] =
        b"INFO {\"client_id\":1,\"leafnode_urls\":[],\"compression\":\"s2_fast\"}\r\n";
    let mut shard = Alone::new();
    shard.client();
    let with = Solicited {
        remote: 0,
        reconnects: 0,
        account: "$G".into(),
        user: None,
        jwt: String::new(),
        signer: None,
        hub: false,
        deny_imports: Vec::new(),
        deny_exports: vec!["no.>".into()],
        isolated: false,
        request_isolation: false,
        first_info_timeout: Duration::from_secs(100),
        tls: None,
        tls_first: false,
        websocket: None,
        compression: CompressionMode::Accept,
    };
    let address = ([127, 0, 0, 1], 7422).into();
    let link = shard.core.solicit(ConnectionId(10), address, with);
    let before: &[&[u8]] = match state {
        0 => &[],
        1 => &[COMPRESSED],
        2 => &[INFO],
        _ => &[INFO, b"INFO {\"connect_info\":true}\r\nLS+ >\r\n"],
    };
    for words in before {
        shard.says(link, words, usize::MAX);
    }
    shard.says(link, bytes, cut);
    shard.client();
}

fn decompresses(bytes: &[u8], cut: usize) {
    let whole = decompressed(bytes, bytes.len().max(1));
    assert_eq!(decompressed(bytes, cut), whole, "reads of {cut} bytes");
}

fn decompressed(bytes: &[u8], cut: usize) -> (Vec<u8>, Option<S2Error>) {
    let (mut reader, mut plain) = (Reader::default(), Vec::new());
    for piece in bytes.chunks(cut) {
        reader.push(piece);
        loop {
            let before = plain.len();
            match reader.next_block(BLOCK_MAX, &mut plain) {
                Ok(true) => assert!(plain.len() - before <= BLOCK_MAX + 8),
                Ok(false) => break,
                Err(error) => return (plain, Some(error)),
            }
        }
    }
    (plain, None)
}
