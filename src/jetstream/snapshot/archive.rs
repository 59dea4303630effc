//! The archive format (JS-169): a mark, then entries, each of a head of numbers, a name and its
//! bytes.

/// What an archive begins with.
pub const MAGIC: [u8; 8] = *b"NATSARC1";
/// Bytes of a name at most, as stock has it.
const NAME_MAX: u64 = 1 << 20;

/// Not an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("archive: invalid archive stream")]
pub struct ArchiveError;

/// One thing in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry<'a> {
    /// A message's subject, or what it is.
    pub name: &'a [u8],
    /// Nanoseconds since 1970.
    pub time: i64,
    /// A message's sequence; 0 for what is none.
    pub seq: u64,
    /// A message's header block.
    pub headers: &'a [u8],
    /// Its body, or the entry's bytes.
    pub payload: &'a [u8],
}

impl Entry<'_> {
    /// The last entry of a complete archive.
    pub fn is_end(&self) -> bool {
        self.seq == 0 && self.time == 0 && self.headers.is_empty() && self.payload.is_empty()
    }

    /// Appends it.
    pub fn write(&self, out: &mut Vec<u8>) {
        put(out, self.name.len() as u64);
        put(out, ((self.time << 1) ^ (self.time >> 63)).cast_unsigned());
        put(out, self.seq);
        put(out, self.headers.len() as u64);
        put(out, self.payload.len() as u64);
        for part in [self.name, self.headers, self.payload] {
            out.extend_from_slice(part);
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Bytes of an archive back into entries.
#[derive(Debug, Default)]
pub struct Reader {
    held: Vec<u8>,
    at: usize,
    begun: bool,
}

/// The numbers in front of an entry.
struct Head {
    name: usize,
    time: i64,
    seq: u64,
    headers: usize,
    payload: usize,
    /// Bytes of the head itself.
    len: usize,
}

impl Reader {
    /// Takes bytes of the archive.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > self.held.len() / 2 {
            self.held.drain(..self.at);
            self.at = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// Has nothing come that was not given out?
    pub fn is_empty(&self) -> bool {
        self.at == self.held.len()
    }

    /// The next entry, of `max` bytes without its name at most; none while it is not whole.
    ///
    /// # Errors
    /// What has come is no archive, or the entry is larger.
    pub fn next_entry(&mut self, max: usize) -> Result<Option<Entry<'_>>, ArchiveError> {
        let mut rest = self.held.get(self.at..).unwrap_or_default();
        if !self.begun {
            let Some((magic, after)) = rest.split_first_chunk() else {
                return Ok(None);
            };
            if *magic != MAGIC {
                return Err(ArchiveError);
            }
            self.begun = true;
            self.at += MAGIC.len();
            rest = after;
        }
        let Some(head) = head(rest)? else {
            return Ok(None);
        };
        if head.headers.saturating_add(head.payload) > max {
            return Err(ArchiveError);
        }
        let body = rest.get(head.len..).unwrap_or_default();
        let len = head.name + head.headers + head.payload;
        let Some(body) = body.get(..len) else {
            return Ok(None);
        };
        self.at += head.len + len;
        let (name, body) = body.split_at(head.name);
        let (headers, payload) = body.split_at(head.headers);
        Ok(Some(Entry {
            name,
            time: head.time,
            seq: head.seq,
            headers,
            payload,
        }))
    }
}

fn head(bytes: &[u8]) -> Result<Option<Head>, ArchiveError> {
    let mut rest = bytes;
    let mut numbers = [0; 5];
    for number in &mut numbers {
        match take(&mut rest)? {
            Some(it) => *number = it,
            None => return Ok(None),
        }
    }
    let [name, time, seq, headers, payload] = numbers;
    if name > NAME_MAX {
        return Err(ArchiveError);
    }
    let length = |it: u64| usize::try_from(it).map_err(|_| ArchiveError);
    Ok(Some(Head {
        name: length(name)?,
        time: (time >> 1).cast_signed() ^ -(time & 1).cast_signed(),
        seq,
        headers: length(headers)?,
        payload: length(payload)?,
        len: bytes.len() - rest.len(),
    }))
}

fn take(rest: &mut &[u8]) -> Result<Option<u64>, ArchiveError> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let Some(byte) = rest.split_off_first() else {
            return Ok(None);
        };
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(ArchiveError);
        }
        number |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(Some(number));
        }
    }
    Err(ArchiveError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for entry in entries() {
            entry.write(&mut bytes);
        }
        bytes
    }

    fn entries() -> [Entry<'static>; 3] {
        let state = Entry {
            name: b"state.json",
            time: -5,
            payload: b"{}",
            ..Entry::default()
        };
        let message = Entry {
            name: b"a.b",
            time: i64::MAX,
            seq: u64::MAX,
            headers: b"NATS/1.0\r\n\r\n",
            payload: &[7; 300],
        };
        [state, message, Entry::default()]
    }

    #[test]
    fn js_169_what_is_written_is_read_in_pieces_of_any_size() {
        let bytes = archive();
        for step in 1..bytes.len() {
            let (mut reader, mut count) = (Reader::default(), 0);
            for piece in bytes.chunks(step) {
                reader.push(piece);
                while let Some(entry) = reader.next_entry(1000).expect("an archive") {
                    assert_eq!(entry, entries()[count]);
                    count += 1;
                }
            }
            assert_eq!((count, reader.is_empty()), (3, true));
        }
        assert!(entries()[2].is_end() && !entries()[0].is_end());
    }

    /// The bytes that stock writes for these entries.
    #[test]
    fn js_169_the_bytes() {
        let mut bytes = Vec::new();
        let entry = Entry {
            name: b"s",
            time: 150,
            seq: 300,
            headers: b"",
            payload: b"hi",
        };
        entry.write(&mut bytes);
        assert_eq!(bytes, b"\x01\xac\x02\xac\x02\x00\x02shi");
    }

    #[test]
    fn js_169_what_is_no_archive_is_refused() {
        let refused = |bytes: &[u8], max: usize| {
            let mut reader = Reader::default();
            reader.push(bytes);
            while let Ok(entry) = reader.next_entry(max) {
                if entry.is_none() {
                    return false;
                }
            }
            true
        };
        assert!(refused(b"meta.inf\0", 10));
        assert!(!refused(&archive(), 1000));
        assert!(refused(&archive(), 300), "an entry that is too large");
        let with = |head: &[u8]| [&MAGIC[..], head].concat();
        assert!(refused(&with(&[0xff; 20]), 10), "a number without end");
        assert!(refused(&with(b"\xff\xff\xff\x7f\0\0\0\0"), 10), "a name");
        let both = b"\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert!(refused(&with(both), usize::MAX - 1), "lengths");
    }

    /// Damage anywhere: never a panic.
    #[test]
    fn js_169_damaged_archives() {
        let good = archive();
        for at in 0..good.len() {
            for bit in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= bit;
                let mut reader = Reader::default();
                reader.push(&bad);
                while let Ok(Some(_)) = reader.next_entry(10_000) {}
            }
        }
    }
}
