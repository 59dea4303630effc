//! What must hold for any bytes found in a stream's files: opening them ends, no message comes out
//! that was not stored whole, and the store can be used.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use ramjet::jetstream::store::{
    Append, Buffer, Directory, DiskError, DiskOperation, DiskResult, Fetch, FileName, Filter,
    Purge, Settings, Store,
};
use ramjet::time::WallTime;

const EPOCH: u64 = 7;
const PAGE: usize = 4096;
const FRAME: &[u8] = b"RjF\x01";
const FRAME_HEAD: usize = 64;
const RECORD_HEAD: usize = 40;

/// Messages read of what is opened.
const READ: usize = 300;

/// Files in memory.
#[derive(Clone, Default)]
struct Disk(BTreeMap<FileName, Vec<u8>>);

impl Directory for Disk {
    fn files(&mut self) -> Result<Vec<(FileName, u64)>, DiskError> {
        let all = self.0.iter();
        Ok(all.map(|(&name, it)| (name, it.len() as u64)).collect())
    }

    fn read(&mut self, file: FileName, offset: u64, bytes: &mut [u8]) -> Result<usize, DiskError> {
        let content = self.0.get(&file).ok_or(DiskError::NotFound)?;
        let from = usize::try_from(offset)
            .ok()
            .and_then(|it| content.get(it..));
        let from = from.unwrap_or_default();
        let len = from.len().min(bytes.len());
        bytes[..len].copy_from_slice(&from[..len]);
        Ok(len)
    }
}

impl Disk {
    /// Does what a store asks for until it asks for nothing.
    fn settle(&mut self, store: &mut Store) {
        for _ in 0..100_000 {
            let Some(operation) = store.next_operation() else {
                return;
            };
            let id = operation.id();
            let result = self.carry_out(operation);
            store.completed(id, result);
        }
        panic!("the store comes to rest");
    }

    fn carry_out(&mut self, operation: DiskOperation) -> DiskResult {
        match operation {
            DiskOperation::Write {
                file,
                offset,
                bytes,
                create,
                ..
            } => {
                if create {
                    self.0.entry(file).or_default();
                }
                let Some(content) = self.0.get_mut(&file) else {
                    return DiskResult::Failed(DiskError::NotFound);
                };
                let start = offset as usize;
                let end = start + bytes.len();
                content.resize(content.len().max(end), 0);
                content[start..end].copy_from_slice(&bytes);
            }
            DiskOperation::Read {
                file, offset, len, ..
            } => {
                let mut buffer = Buffer::zeroed(len);
                return match self.read(file, offset, &mut buffer) {
                    Ok(read) => DiskResult::Read(buffer, read),
                    Err(error) => DiskResult::Failed(error),
                };
            }
            DiskOperation::Flush { .. } => {}
            DiskOperation::Remove { file, .. } => drop(self.0.remove(&file)),
        }
        DiskResult::Done
    }
}

fn settings(thorough: bool) -> Settings {
    let mut settings = Settings {
        segment_size: 24 * 1024,
        cache_size: 16 * 1024,
        thorough,
        ..Settings::new(EPOCH, None)
    };
    settings.policy.compressed = true;
    settings
}

fn payload(seq: u64) -> Vec<u8> {
    vec![seq as u8; (seq * 37 % 700) as usize]
}

/// A store with a bit of everything: messages, some removed, small records, segments that were
/// rewritten, digests, checkpoints.
fn whole() -> &'static Disk {
    static WHOLE: OnceLock<Disk> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let mut disk = Disk::default();
        let (mut store, _) = Store::open(settings(false), &mut disk).expect("it is empty");
        for seq in 1..=200 {
            let subject = format!("a.{}", seq % 5);
            let message = Append {
                subject: subject.as_bytes(),
                headers: if seq % 3 == 0 {
                    b"NATS/1.0\r\n\r\n"
                } else {
                    b""
                },
                payload: &payload(seq),
                time: WallTime(seq * 1000),
                ..Append::default()
            };
            assert_eq!(store.append(message), Ok(seq));
            if seq % 4 == 0 {
                store.put_state(b"consumer", &seq.to_le_bytes());
                disk.settle(&mut store);
            }
        }
        let filter = Filter::new(&["a.1"]);
        store.purge(Purge {
            filter: &filter,
            up_to: 150,
            keep: 0,
        });
        for seq in 40..70 {
            store.remove(seq, seq % 2 == 0);
        }
        store.skip(210, None);
        store.remove_state(b"nothing");
        disk.settle(&mut store);
        store.close();
        disk.settle(&mut store);
        disk
    })
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    let bytes = bytes.get(at..).and_then(|it| it.first_chunk());
    bytes.map_or(0, |it| u32::from_le_bytes(*it) as usize)
}

fn put(bytes: &mut [u8], at: usize, crc: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
}

/// Where the records of the frame at `at` begin and end.
fn records(bytes: &[u8], at: usize) -> Vec<(usize, usize)> {
    let mut from = at + FRAME_HEAD;
    let end = (from + u32_at(bytes, at + 16)).min(bytes.len());
    let mut records = Vec::new();
    while from + RECORD_HEAD <= end {
        let len = u32_at(bytes, from + 8);
        if len < RECORD_HEAD || from + len > bytes.len() {
            break;
        }
        records.push((from, from + len));
        from += len.next_multiple_of(8);
    }
    records
}

fn frames(bytes: &[u8]) -> Vec<usize> {
    let places = (PAGE..bytes.len()).step_by(64);
    places
        .filter(|&at| bytes[at..].starts_with(FRAME))
        .collect()
}

/// Makes checksums right again, so that what is wrong gets further.
fn refresh(file: FileName, bytes: &mut [u8]) {
    match file {
        FileName::Segment { number, version } => {
            if bytes.len() >= 92 {
                let crc = crc32c::crc32c(&bytes[..88]);
                put(bytes, 88, crc);
            }
            let mut whose = [0; 16];
            whose[..8].copy_from_slice(&EPOCH.to_le_bytes());
            whose[8..12].copy_from_slice(&number.to_le_bytes());
            whose[12..].copy_from_slice(&version.to_le_bytes());
            let seed = crc32c::crc32c(&whose);
            for at in frames(bytes) {
                let mut body = seed;
                for (from, to) in records(bytes, at) {
                    let crc = crc32c::crc32c_append(seed, &bytes[from + RECORD_HEAD..to]);
                    put(bytes, from + 4, crc);
                    let crc = crc32c::crc32c_append(seed, &bytes[from + 4..from + RECORD_HEAD]);
                    put(bytes, from, crc);
                    body = crc32c::crc32c_append(body, &crc.to_le_bytes());
                }
                put(bytes, at + 20, body);
                if let Some(head) = bytes.get(at + 8..at + FRAME_HEAD) {
                    let crc = crc32c::crc32c_append(seed, head);
                    put(bytes, at + 4, crc);
                }
            }
        }
        FileName::Checkpoint { .. } => {
            let len = u32_at(bytes, 8).min(bytes.len());
            if len >= 16 {
                let crc = crc32c::crc32c(&bytes[..12]);
                let crc = crc32c::crc32c_append(crc, &bytes[16..len]);
                put(bytes, 12, crc);
            }
        }
        FileName::Digest { .. } => {
            let len = u32_at(bytes, 8).min(bytes.len());
            if len >= 128 {
                let crc = crc32c::crc32c(&bytes[..16]);
                let crc = crc32c::crc32c_append(crc, &bytes[20..len]);
                put(bytes, 16, crc);
            }
        }
        FileName::Key { .. } => {}
    }
}

/// Takes numbers off the front of the input; zeros behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    fn number(&mut self) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()]))
    }

    /// One of those that are there.
    fn choice<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let number = self.number();
        all.get(number.checked_rem(all.len())?).copied()
    }
}

/// Damages the files as the input says. Is it damage only, and nothing that somebody has made up?
fn damaged(input: &mut Input<'_>) -> (Disk, bool) {
    let mut disk = whole().clone();
    let flags = input.byte();
    let mut honest = flags & 1 == 1;
    while !input.0.is_empty() {
        let kind = input.byte() % 8;
        let names: Vec<FileName> = disk.0.keys().copied().collect();
        let Some(file) = input.choice(&names) else {
            break;
        };
        let content = disk.0.entry(file).or_default();
        let at = match kind {
            // Anywhere, in a frame's head, in a record's.
            0 | 1 => input.number(),
            2 | 3 => input.choice(&frames(content)).unwrap_or(0) + usize::from(input.byte() % 64),
            4 | 5 => {
                let frame = input.choice(&frames(content)).unwrap_or(0);
                let record = input.choice(&records(content, frame)).unwrap_or((0, 0));
                record.0 + usize::from(input.byte() % 48)
            }
            6 => {
                content.truncate(input.number());
                continue;
            }
            _ => {
                let taken = std::mem::take(content);
                disk.0.remove(&file);
                honest = false;
                if let FileName::Segment { number, .. } = file {
                    let (number, version) = match input.byte() % 4 {
                        0 => (number, 3),
                        1 => (number.wrapping_add(1), 1),
                        2 => (u32::MAX, 0),
                        _ => continue,
                    };
                    disk.0.insert(FileName::Segment { number, version }, taken);
                }
                continue;
            }
        };
        let extreme = [0, 1, 0x7f, 0x80, 0xff];
        let width = usize::from(input.byte());
        let value = input.byte();
        for offset in 0..1 + width % 8 {
            if let Some(byte) = content.get_mut(at + offset) {
                *byte = match width / 8 % 3 {
                    0 => value,
                    1 => extreme[usize::from(value) % extreme.len()],
                    _ => byte.wrapping_add(value),
                };
            }
        }
    }
    if flags & 1 == 0 {
        for (&file, content) in &mut disk.0 {
            refresh(file, content);
        }
    }
    (disk, honest)
}

fn fetch(disk: &mut Disk, store: &mut Store, seq: u64) -> Option<Vec<u8>> {
    for _ in 0..100 {
        match store.fetch(seq) {
            Fetch::Message(message) => return Some(message.payload.to_vec()),
            Fetch::Absent | Fetch::Damaged => return None,
            Fetch::Reading => disk.settle(store),
        }
    }
    panic!("{seq} is never read");
}

/// Opens what is left, reads it, goes on with it, and opens it again. What comes then is certain only
/// where no checksum was made right again and no file was moved: frames that somebody has renumbered
/// may count again.
pub fn check(input: &[u8]) {
    let flags = input.first().copied().unwrap_or_default();
    let thorough = flags & 2 != 0;
    let (mut disk, honest) = damaged(&mut Input(input));
    let Ok((mut store, report)) = Store::open(settings(thorough), &mut disk) else {
        return;
    };
    let _ = (store.state(), format!("{report:?}"));
    let subjects = store.subjects(&Filter::All).count() as u64;
    assert_eq!(subjects, store.state().subjects);
    let mut next = 0;
    for _ in 0..READ {
        let Some(seq) = store.next_match(next, &Filter::All) else {
            break;
        };
        fetch(&mut disk, &mut store, seq);
        next = seq + 1;
    }
    disk.settle(&mut store);
    assert_eq!(store.trouble(), None);
    store.put_state(b"state", b"new");
    let first = store.next_match(0, &Filter::All);
    first.map(|it| store.remove(it, true));
    let message = Append {
        subject: b"new",
        payload: b"what is new",
        ..Append::default()
    };
    let added = store.append(message).ok();
    disk.settle(&mut store);
    assert_eq!(store.durable(), store.last_seq());
    for _ in 0..2 {
        let opened = Store::open(settings(thorough), &mut disk);
        if !honest {
            continue;
        }
        let (mut store, _) = opened.expect("it was opened before");
        if let Some(seq) = added {
            let found = fetch(&mut disk, &mut store, seq);
            assert_eq!(found.as_deref(), Some(&b"what is new"[..]), "{seq}");
        }
        let mut states = store.states();
        assert!(states.any(|it| (&it.0[..], &it.1[..]) == (b"state", b"new")));
    }
}
