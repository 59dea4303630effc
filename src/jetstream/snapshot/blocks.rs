//! What stock keeps in the files of a stream's directory: records of messages, a consumer's state.

use std::collections::BTreeMap;

use crate::jetstream::consumer::saved::{SavedPending, SavedPlace, SavedState};

/// Bytes in front of a record's content.
const HEAD: usize = 22;
/// Bytes of the sum behind it. What travels has sums of its own, so it is not looked at.
const SUM: usize = 8;
const HAS_HEADERS: u32 = 1 << 31;
const ERASED: u64 = 1 << 63;
const TOMBSTONE: u64 = 1 << 62;
const SECOND: i64 = 1_000_000_000;

/// A file that is not as stock writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// One record of a file of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A message.
    Message {
        seq: u64,
        time: i64,
        subject: &'a [u8],
        headers: &'a [u8],
        payload: &'a [u8],
    },
    /// One that was erased where it stood.
    Erased(u64),
    /// One that was removed from where it stood before.
    Removed(u64),
}

/// The record at the front of `bytes` and its length, of `max` bytes at most; none while it is not
/// whole.
///
/// # Errors
/// It is none, or larger.
pub fn record(bytes: &[u8], max: usize) -> Result<Option<(Record<'_>, usize)>, Malformed> {
    let Some(head) = bytes.first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let number = |at: usize| {
        let mut all = [0; 8];
        all.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(all)
    };
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let has_headers = len & HAS_HEADERS != 0;
    let len = (len & !HAS_HEADERS) as usize;
    let subject_len = usize::from(u16::from_le_bytes([head[20], head[21]]));
    let (seq, time) = (number(4), number(12).cast_signed());
    if len < HEAD + SUM + subject_len || len > max {
        return Err(Malformed);
    }
    let Some(record) = bytes.get(..len) else {
        return Ok(None);
    };
    let content = &record[HEAD..len - SUM];
    if seq & TOMBSTONE != 0 {
        return Ok(Some((Record::Removed(seq & !TOMBSTONE), len)));
    }
    if seq == 0 || seq & ERASED != 0 {
        return Ok(Some((Record::Erased(seq & !ERASED), len)));
    }
    let (subject, rest) = content.split_at(subject_len);
    let (headers, payload) = match has_headers {
        false => (&rest[..0], rest),
        true => {
            let (size, rest) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            let size = u32::from_le_bytes(*size) as usize;
            rest.split_at_checked(size).ok_or(Malformed)?
        }
    };
    let message = Record::Message {
        seq,
        time,
        subject,
        headers,
        payload,
    };
    Ok(Some((message, len)))
}

/// Numbers of seven bits a byte.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Result<u64, Malformed> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn signed(&mut self) -> Result<i64, Malformed> {
        let number = self.next()?;
        Ok((number >> 1).cast_signed() ^ -((number & 1).cast_signed()))
    }
}

/// First and last sequence of a stream, from the file that sums up its others.
///
/// # Errors
/// It is another file.
pub fn bounds(bytes: &[u8]) -> Result<(u64, u64), Malformed> {
    let mut numbers = Numbers(bytes.strip_prefix(&[11]).ok_or(Malformed)?);
    numbers.next()?; // its version
    let (_messages, _bytes) = (numbers.next()?, numbers.next()?);
    let first = numbers.next()?;
    numbers.signed()?; // its time
    Ok((first, numbers.next()?))
}

/// How far a consumer is, from its file.
///
/// # Errors
/// It is another file, or of a version before 2.2.
pub fn consumer_state(bytes: &[u8]) -> Result<SavedState, Malformed> {
    let mut numbers = Numbers(bytes.strip_prefix(&[22, 2]).ok_or(Malformed)?);
    let mut place = || {
        let consumer_seq = numbers.next()?;
        let stream_seq = numbers.next()?;
        Ok(SavedPlace {
            consumer_seq,
            stream_seq,
        })
    };
    let ack_floor = place()?;
    let delivered = place()?;
    if (ack_floor.stream_seq | delivered.stream_seq) >> 63 != 0 {
        return Err(Malformed);
    }
    let (mut pending, mut redelivered) = (BTreeMap::new(), BTreeMap::new());
    let count = numbers.next()?;
    if count > 0 {
        let base = numbers.signed()?;
        for _ in 0..count {
            let seq = numbers.next()?.wrapping_add(ack_floor.stream_seq);
            let sequence = numbers.next()?.wrapping_add(ack_floor.consumer_seq);
            let seconds = base.wrapping_sub(numbers.signed()?);
            let timestamp = seconds.saturating_mul(SECOND);
            pending.insert(
                seq,
                SavedPending {
                    sequence,
                    timestamp,
                },
            );
        }
    }
    for _ in 0..numbers.next()? {
        let seq = numbers.next()?.wrapping_add(ack_floor.stream_seq);
        redelivered.insert(seq, numbers.next()?);
    }
    Ok(SavedState {
        delivered,
        ack_floor,
        pending,
        redelivered,
    })
}
