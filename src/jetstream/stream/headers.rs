//! Headers of messages that mean something to a stream.

/// Names a message, so that it is stored once (JS-88).
pub const MSG_ID: &[u8] = b"Nats-Msg-Id";
/// JS-89.
pub const EXPECTED_STREAM: &[u8] = b"Nats-Expected-Stream";
/// JS-90.
pub const EXPECTED_LAST_SEQ: &[u8] = b"Nats-Expected-Last-Sequence";
/// JS-91.
pub const EXPECTED_LAST_SUBJECT_SEQ: &[u8] = b"Nats-Expected-Last-Subject-Sequence";
/// JS-91.
pub const EXPECTED_LAST_SUBJECT_SEQ_SUBJECT: &[u8] = b"Nats-Expected-Last-Subject-Sequence-Subject";
/// JS-93.
pub const EXPECTED_LAST_MSG_ID: &[u8] = b"Nats-Expected-Last-Msg-Id";
/// The atomic batch it is part of (section 7).
pub const BATCH_ID: &[u8] = b"Nats-Batch-Id";
/// Its number in the batch, from 1.
pub const BATCH_SEQUENCE: &[u8] = b"Nats-Batch-Sequence";
/// The batch ends here: with this message, or with the one before.
pub const BATCH_COMMIT: &[u8] = b"Nats-Batch-Commit";
/// What a message needs its server to know (JS-126).
pub const REQUIRED_API_LEVEL: &[u8] = b"Nats-Required-Api-Level";
/// By how much a counter changes (JS-134).
pub const INCREMENT: &[u8] = b"Nats-Incr";
/// The totals of sources that are in a counter's total (JS-136).
pub const COUNTER_SOURCES: &[u8] = b"Nats-Counter-Sources";
/// When a message is to be sent (JS-137).
pub const SCHEDULE: &[u8] = b"Nats-Schedule";
/// The zone of that, where it goes by the calendar (JS-137).
pub const SCHEDULE_TIME_ZONE: &[u8] = b"Nats-Schedule-Time-Zone";
/// Where it is to be sent (JS-138).
pub const SCHEDULE_TARGET: &[u8] = b"Nats-Schedule-Target";
/// The subject whose last message is sent instead (JS-138).
pub const SCHEDULE_SOURCE: &[u8] = b"Nats-Schedule-Source";
/// The TTL it is sent with (JS-138).
pub const SCHEDULE_TTL: &[u8] = b"Nats-Schedule-TTL";
/// The rollup it is sent with (JS-138).
pub const SCHEDULE_ROLLUP: &[u8] = b"Nats-Schedule-Rollup";
/// The subject of the schedule a message comes from (JS-140).
pub const SCHEDULER: &[u8] = b"Nats-Scheduler";
/// What becomes of that schedule (JS-140).
pub const SCHEDULE_NEXT: &[u8] = b"Nats-Schedule-Next";
/// JS-94.
pub const ROLLUP: &[u8] = b"Nats-Rollup";
/// JS-115.
pub const TTL: &[u8] = b"Nats-TTL";
/// Why a marker was stored (JS-118).
pub const MARKER_REASON: &[u8] = b"Nats-Marker-Reason";
/// What a key-value client means by a message.
pub const KV_OPERATION: &[u8] = b"KV-Operation";
/// Where a message was copied from; nobody else may say so (JS-99).
pub const STREAM_SOURCE: &[u8] = b"Nats-Stream-Source";
/// Who asked, where a message crossed accounts (JS-2).
pub const CLIENT_INFO: &[u8] = b"Nats-Request-Info";

/// Appends `block` without the lines of `key`; nothing if none is left.
pub fn append_without(out: &mut Vec<u8>, block: &[u8], key: &[u8]) {
    append_lines(out, block, |line| is_of(line, key));
}

/// Is it a line of this key?
pub fn is_of(line: &[u8], key: &[u8]) -> bool {
    let rest = line.strip_prefix(key);
    rest.is_some_and(|it| it.first() == Some(&b':'))
}

/// Appends `block` without some of its lines; nothing if none is left.
pub fn append_lines(out: &mut Vec<u8>, block: &[u8], is_left_out: impl Fn(&[u8]) -> bool) {
    let begin = out.len();
    let mut lines = 0;
    for (at, line) in block.split_inclusive(|&byte| byte == b'\n').enumerate() {
        if at == 0 || !is_left_out(line) {
            out.extend_from_slice(line);
            lines += usize::from(at > 0 && line != b"\r\n");
        }
    }
    if lines == 0 {
        out.truncate(begin);
    }
}

/// Appends `block`, which is not empty, with another value in the first line of `key`; one more
/// line if there is none.
pub fn append_set(out: &mut Vec<u8>, block: &[u8], key: &[u8], value: &[u8]) {
    let mut is_set = false;
    for line in block.split_inclusive(|&byte| byte == b'\n') {
        if is_set || !is_of(line, key) {
            out.extend_from_slice(line);
            continue;
        }
        is_set = true;
        let blank = if line.get(key.len() + 1) == Some(&b' ') {
            &b" "[..]
        } else {
            b""
        };
        for part in [key, b":", blank, value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    if !is_set {
        out.truncate(out.len().saturating_sub(2)); // the empty line
        for part in [key, b": ", value, b"\r\n\r\n"] {
            out.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_out() {
        let without = |block: &str| {
            let mut out = Vec::new();
            append_without(&mut out, block.as_bytes(), b"K");
            String::from_utf8(out).expect("text")
        };
        assert_eq!(
            without("NATS/1.0\r\nA: 1\r\nK: 2\r\nKK: 3\r\n\r\n"),
            "NATS/1.0\r\nA: 1\r\nKK: 3\r\n\r\n"
        );
        assert_eq!(without("NATS/1.0\r\nK: 2\r\n\r\n"), "");
    }

    #[test]
    fn lines_get_other_values_where_they_are() {
        let set = |block: &str| {
            let mut out = Vec::new();
            append_set(&mut out, block.as_bytes(), b"K", b"value");
            String::from_utf8(out).expect("text")
        };
        for (block, expected) in [
            (
                "NATS/1.0\r\nK: 2\r\nA: 1\r\nK: 3\r\n\r\n",
                "NATS/1.0\r\nK: value\r\nA: 1\r\nK: 3\r\n\r\n",
            ),
            ("NATS/1.0\r\nK:2\r\n\r\n", "NATS/1.0\r\nK:value\r\n\r\n"),
            (
                "NATS/1.0\r\nKK: 2\r\n\r\n",
                "NATS/1.0\r\nKK: 2\r\nK: value\r\n\r\n",
            ),
        ] {
            assert_eq!(set(block), expected);
        }
    }
}
