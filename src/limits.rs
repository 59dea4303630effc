//! Bounds that are ours, not the user's, each with its reason. What the user sets is in
//! [`crate::options`].

use std::time::Duration;

/// Shards at most: interest of the others fits a 64-bit mask.
pub const SHARDS_MAX: usize = 64;

/// Subscriptions remembered of a closed connection, for `/connz`; what is beyond is only counted.
/// Times `max_closed_clients` (10,000) and about 100 bytes that is 32 MB a shard at worst; stock
/// remembers all, without a bound.
pub const CLOSED_SUBSCRIPTIONS: usize = 32;

/// Bytes a held connection may have waiting before its receiving is paused. One receive buffer
/// is 16 KiB; most holds end within a turn or two, and pausing costs two submissions.
pub const BACKLOG_MAX: usize = 64 * 1024;

/// Bytes waiting for a receiver from which on its publishers are held back.
/// At a GB a second that is a millisecond, longer than any publisher takes to go on.
const RECEIVER_HIGH: usize = 1024 * 1024;

/// Bytes waiting for a receiver from which on its publishers are held back: 1 MiB, or three
/// quarters of `max_pending` where that is less, as in stock (CORE-64).
pub const fn receiver_high(max_pending: usize) -> usize {
    let quarters = max_pending / 4 * 3;
    if quarters < RECEIVER_HIGH {
        quarters
    } else {
        RECEIVER_HIGH
    }
}

/// Bytes waiting for a receiver at which its publishers go on.
pub const fn receiver_low(max_pending: usize) -> usize {
    receiver_high(max_pending) / 4
}

/// Longest time a publisher is held back at once. A receiver that is slower than that grows
/// towards `max_pending` and is judged by stock's rules, as in stock (CORE-64).
pub const STALL_MAX: Duration = Duration::from_millis(10);

/// A receiver whose socket has taken nothing for this long holds nobody back: one stalled
/// subscriber among a thousand must not slow the others down.
pub const PROGRESS_MAX: Duration = Duration::from_millis(100);

/// Publishers remembered for one receiver; more wait out [`STALL_MAX`] instead.
pub const STALLED_SOURCES_MAX: usize = 1024;

/// Batches on their way from one shard to another. With [`BATCH_HIGH`] it bounds the memory of
/// one direction of one pair.
pub const MESH_SLOTS: usize = 8;
const _: () = assert!(MESH_SLOTS.is_power_of_two(), "ring indices are masked");

/// Bytes of a batch from which on connections that add to it are held back until it has left.
pub const BATCH_HIGH: usize = 512 * 1024;

/// Buffers of batches above this capacity are not kept.
pub const BATCH_KEPT_MAX: usize = 1024 * 1024;

/// Buffers for messages made on the way (a header added, a subject mapped) above this capacity
/// are not kept.
pub const SCRATCH_KEPT_MAX: usize = 64 * 1024;

/// Accounts one request may go through, one service import after the other: each is a call inside
/// the other.
pub const SERVICE_HOPS_MAX: u32 = 32;

/// Bytes of a stream that may wait for its disk before its publishers are held back: eight of the
/// largest writes. At a quarter they go on.
pub const STREAM_BACKLOG_HIGH: usize = 8 * 1024 * 1024;

/// Bytes a turn puts out, about, before what it has not looked at yet waits for the next. With
/// the receive buffers it fits the L2 cache; a message to thousands of receivers may be more. Half
/// of it for what other shards bring, so that neither side starves the other.
pub const TURN_OUTPUT: u64 = 1024 * 1024;

/// Connections a turn sends to at most: a millisecond or so. The others follow in the next turns,
/// between which what came in meanwhile is looked at.
pub const TURN_SENDS: usize = 512;

/// A turn of a shard that took as long is told of, with the connections it read from (CORE-65).
pub const LONG_TURN: Duration = Duration::from_secs(2);

/// Time a closing connection has to take its last bytes (CORE-66).
pub const LINGER_MAX: Duration = Duration::from_millis(100);

/// The first PING after CONNECT comes this early, to measure the round trip (CORE-59).
pub const FIRST_PING: Duration = Duration::from_secs(2);

/// A round trip older than this is measured again (CORE-59).
pub const RTT_VALID: Duration = Duration::from_secs(3600);

/// TLS handshake steps of a shard in one turn. One with an RSA key takes about a millisecond; the
/// others wait until those who are connected have been served.
pub const HANDSHAKES_PER_TURN: u32 = 1;

/// Where so many handshakes, or comings and goings, of a shard wait, there is a storm.
pub const STORM: usize = 16;

/// And so it is after so many comings and goings in turns that could have taken no more.
pub const STORM_STREAK: usize = 64;

/// A storm is spread over that time, or over twice the time that its work takes. Well below the two
/// seconds that a TLS handshake may take.
pub const STORM_SPREAD: Duration = Duration::from_millis(700);

/// Between two steps of a storm a shard rests for at most so many times as long as a step has
/// taken: sleeping shards leave CPUs to whom they have woken.
pub const STORM_REST_MAX: u32 = 7;

/// Connections of a shard that come or go in one turn: some tenth of a millisecond. When thousands
/// do at once, the others wait until those who stay have been served.
pub const COMINGS_PER_TURN: usize = 4;

/// Bytes that a compressed link may turn out to be in one turn: few bytes can stand for many.
pub const DECOMPRESSED_PER_TURN: usize = 4 * 1024 * 1024;

/// Room for one turn's plaintext that is kept: what one receive brings, several times over.
pub const PLAIN_KEPT_MAX: usize = 256 * 1024;

/// Bytes of output a shard may always have waiting, however small the memory budget: below that
/// one large message would close its receivers.
pub const OUTPUT_SHARE_MIN: u64 = 4 * 1024 * 1024;

/// Bytes of their files that all streams together keep in memory, whatever the memory budget: those
/// that consumers who catch up read at this moment. The kernel keeps none, as I/O is direct.
pub const STORE_CACHES: usize = 256 * 1024 * 1024;

/// Bytes of a file that holds one token: a token has at most 1 MiB, tools write text around it.
pub const TOKEN_FILE_MAX: u64 = 2 * 1024 * 1024;

/// Accounts that are looked for at the same time; who needs one more is told that it is not there.
pub const SEARCHES_MAX: usize = 1024;

/// Accounts that are looked for because one needs them.
pub const ACCOUNTS_SOUGHT_MAX: usize = 256;

/// Messages that wait for the server's own services; more are dropped, and those who sent them hear
/// nothing.
pub const SERVICE_QUEUE_MAX: usize = 4096;

/// Passwords waiting for their bcrypt check; more are refused, so that a flood of logins cannot
/// fill the memory.
pub const VERIFY_QUEUE_MAX: usize = 4096;
