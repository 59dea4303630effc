//! Opening a log: which files count, one pass over them, and where writing goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::checkpoint::{Checkpoint, Listed};
use super::core::Log;
use super::digest::Digest;
use super::frame::{self, FrameHead};
use super::scan::{File, Scan};
use super::sealer::{Encryption, Sealer, is_wrapped, unwrap};
use super::segment::{FIRST_FRAME, Label, Making, Segment, seed};
use super::settings::{Report, Settings};
use crate::jetstream::store::buffer::PAGE;
use crate::jetstream::store::error::StoreError;
use crate::jetstream::store::index::Index;
use crate::jetstream::store::operation::{Directory, FileName};
use crate::jetstream::store::states::States;

/// A log as it was found.
pub(in crate::jetstream::store) struct Opened {
    pub(in crate::jetstream::store) log: Log,
    pub(in crate::jetstream::store) index: Index,
    pub(in crate::jetstream::store) states: States,
    pub(in crate::jetstream::store) report: Report,
}

/// Bytes of a segment's file that are looked at; none that was written is longer.
const FILE_MAX: u64 = 256 * 1024 * 1024;

/// A segment's file that counts.
struct Chosen {
    number: u32,
    version: u32,
    len: u64,
    label: Option<Label>,
    /// The checksum its first frame repeats of the frame before; `None` without a frame.
    first_previous: Option<u32>,
}

/// Opens the log in a directory, or a new one where there is none.
///
/// # Errors
/// If the directory cannot be read, or holds a log of which nothing says what it is.
pub(in crate::jetstream::store) fn open(
    mut settings: Settings,
    directory: &mut dyn Directory,
) -> Result<Opened, StoreError> {
    let files = directory.files()?;
    if files.iter().any(|it| !is_plausible(it.0)) {
        return Err(StoreError::Unreadable);
    }
    let mut report = Report::default();
    let encryption = settings.encryption.as_ref();
    let (checkpoint, slot) = newest_checkpoint(&files, encryption, directory, &mut report)?.unzip();
    let mut labels = BTreeMap::new();
    let mut sealers = Sealers::new();
    for &(file, len) in &files {
        if let FileName::Segment { number, version } = file {
            let mut page = vec![0; PAGE];
            let read = directory.read(file, 0, &mut page)?;
            let label = Label::decode(&page[..read])
                .filter(|it| (it.number, it.version) == (number, version));
            if let Some(sealing) = label.and_then(|it| it.sealing) {
                let encryption = encryption.ok_or(StoreError::Encrypted)?;
                let sealer = Sealer::of_old(encryption, sealing, number, version);
                sealers.insert((number, version), sealer.ok_or(StoreError::WrongKey)?);
            }
            labels.insert((number, version), (len, label));
        }
    }
    let of_labels = labels.values().find_map(|it| it.1.map(|label| label.epoch));
    let epoch = checkpoint.as_ref().map(|it| it.epoch).or(of_labels);
    let Some(epoch) = epoch else {
        // A crash while the very first file was made leaves zeros at most.
        return match nothing_written(&files, directory)? {
            true => Ok(empty(settings, report)),
            false => Err(StoreError::Unreadable),
        };
    };
    settings.epoch = epoch;
    let listed = checkpoint
        .as_ref()
        .map_or(&[][..], |it| &it.segments)
        .to_vec();
    let (chosen, mut leftovers) = choose(labels, epoch, &listed, directory)?;
    let digests: Vec<(FileName, u64)> = files
        .iter()
        .filter(|it| matches!(it.0, FileName::Digest { .. }))
        .copied()
        .collect();
    let orphans = digests.iter().map(|it| it.0).filter(|it| {
        let mut all = chosen.iter();
        all.all(|of| (of.number, of.version) != digest_of(*it))
    });
    leftovers.extend(orphans);
    report.missing_segments = listed
        .iter()
        .map(|it| it.number)
        .filter(|number| chosen.iter().all(|it| it.number != *number))
        .collect();
    // The checkpoint may list segments that were not made yet when it was written.
    let last_made = chosen.last().map_or(0, |it| it.number);
    report.missing_segments.retain(|&it| it <= last_made);
    let reach = checkpoint.as_ref().map(|it| Reach {
        counter: it.counter,
        slot: slot.unwrap_or_default(),
        frame: it.frame,
        last_seq: it.last_seq,
        last_time: it.last_time,
    });
    let mut scan = Scan::new(checkpoint);
    scan.report = report;
    let digests = if settings.thorough {
        Vec::new()
    } else {
        digests
    };
    let found = Files {
        epoch,
        digests,
        sealers,
        encryption: settings.encryption,
    };
    let mut tail = scan_all(&mut scan, &chosen, &found, directory)?;
    if settings.encryption.is_some() || scan.segments.last().is_some_and(|it| it.sealer.is_some()) {
        tail = None; // an opening encrypts in segments of its own only
    }
    Ok(finish(settings, scan, tail, reach, leftovers))
}

/// Could a log have come that far? Whatever else has such a name is not ours to judge, or to write on.
fn is_plausible(file: FileName) -> bool {
    let most = u32::MAX / 2;
    match file {
        FileName::Segment { number, version } | FileName::Digest { number, version } => {
            (1..most).contains(&number) && version < most
        }
        FileName::Key { .. } | FileName::Checkpoint { .. } => true,
    }
}

fn empty(settings: Settings, report: Report) -> Opened {
    Opened {
        log: Log::empty(settings),
        index: Index::default(),
        states: States::new(),
        report,
    }
}

/// What the checkpoint says of how far the log came, and where it stands itself.
#[derive(Default)]
struct Reach {
    counter: u64,
    slot: u8,
    frame: u64,
    last_seq: u64,
    last_time: u64,
}

/// The newest checkpoint that can be read, and which of the two files has it.
fn newest_checkpoint(
    files: &[(FileName, u64)],
    encryption: Option<&Encryption>,
    directory: &mut dyn Directory,
    report: &mut Report,
) -> Result<Option<(Checkpoint, u8)>, StoreError> {
    let mut newest: Option<(Checkpoint, u8)> = None;
    for &(file, len) in files {
        let FileName::Checkpoint { slot } = file else {
            continue;
        };
        let mut bytes = vec![0; len.min(FILE_MAX) as usize];
        let found = match directory.read(file, 0, &mut bytes) {
            Ok(read) => {
                bytes.truncate(read);
                if encryption.is_none() && is_wrapped(&bytes) {
                    return Err(StoreError::Encrypted);
                }
                unwrap(encryption, bytes).and_then(|it| Checkpoint::decode(&it))
            }
            Err(error) => {
                report.unreadable_files.push((file.file_name(), error));
                None
            }
        };
        match found {
            Some(found)
                if newest
                    .as_ref()
                    .is_none_or(|it| it.0.counter < found.counter) =>
            {
                newest = Some((found, slot));
            }
            Some(_) => {}
            None => report.unreadable_checkpoints += 1,
        }
    }
    Ok(newest)
}

fn nothing_written(
    files: &[(FileName, u64)],
    directory: &mut dyn Directory,
) -> Result<bool, StoreError> {
    let written = files
        .iter()
        .filter(|it| !matches!(it.0, FileName::Key { .. }));
    for &(file, len) in written {
        let mut bytes = vec![0; len.min(FILE_MAX) as usize];
        let read = directory.read(file, 0, &mut bytes)?;
        if bytes[..read].iter().any(|&it| it != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

type Sealers = BTreeMap<(u32, u32), Arc<Sealer>>;

/// What is found beside the segments that count.
struct Files {
    epoch: u64,
    digests: Vec<(FileName, u64)>,
    sealers: Sealers,
    encryption: Option<Encryption>,
}

type Labels = BTreeMap<(u32, u32), (u64, Option<Label>)>;

/// Of each segment the newest version that is whole, and the files that are left over from
/// rewriting and dropping.
fn choose(
    labels: Labels,
    epoch: u64,
    listed: &[Listed],
    directory: &mut dyn Directory,
) -> Result<(Vec<Chosen>, Vec<FileName>), StoreError> {
    let (mut chosen, mut leftovers): (Vec<Chosen>, Vec<FileName>) = (Vec::new(), Vec::new());
    for ((number, version), (len, label)) in labels {
        let label = label.filter(|it| it.epoch == epoch);
        let previous = chosen.last().filter(|it| it.number == number);
        let file = FileName::Segment { number, version };
        let later = listed.last().is_some_and(|it| number < it.number);
        if later && listed.iter().all(|it| it.number != number) {
            // Dropped: the checkpoint that says so is on the disk, the removal was on its way.
            leftovers.push(file);
            continue;
        }
        match previous {
            // Not finished when the power went: the version before it is whole.
            Some(_) if label.is_none() => {
                leftovers.push(file);
                continue;
            }
            Some(older) => {
                leftovers.push(FileName::Segment {
                    number,
                    version: older.version,
                });
                chosen.pop();
            }
            None => {}
        }
        let mut head = [0; frame::HEAD];
        let read = directory.read(file, FIRST_FRAME, &mut head)?;
        let first = FrameHead::decode(seed(epoch, number, version), &head[..read]);
        chosen.push(Chosen {
            number,
            version,
            len,
            label,
            first_previous: first.map(|it| it.0.previous),
        });
    }
    Ok((chosen, leftovers))
}

/// Number and version of a digest's segment.
fn digest_of(file: FileName) -> (u32, u32) {
    match file {
        FileName::Digest { number, version } => (number, version),
        _ => (0, 0),
    }
}

/// The digest of a segment, if there is a whole one.
fn read_digest(this: &Chosen, found: &Files, directory: &mut dyn Directory) -> Option<Digest> {
    let own = |it: &&(FileName, u64)| digest_of(it.0) == (this.number, this.version);
    let &(file, len) = found.digests.iter().find(own)?;
    let mut bytes = vec![0; usize::try_from(len.min(FILE_MAX)).ok()?];
    let read = directory.read(file, 0, &mut bytes).ok()?;
    bytes.truncate(read);
    let digest = Digest::decode(unwrap(found.encryption.as_ref(), bytes)?)?;
    let covered = &digest.covered;
    let whose = (covered.epoch, covered.number, covered.version);
    let fits = whose == (found.epoch, this.number, this.version)
        && this.label.is_some()
        && this.first_previous == Some(covered.frames.first_previous)
        && covered.frames.end <= this.len.next_multiple_of(PAGE as u64);
    fits.then_some(digest)
}

/// Where the last segment's frames end, if writing can go on there.
struct Tail {
    page: Bytes,
    file_len: u64,
}

fn scan_all(
    scan: &mut Scan,
    chosen: &[Chosen],
    found: &Files,
    directory: &mut dyn Directory,
) -> Result<Option<Tail>, StoreError> {
    let mut tail = None;
    let total = chosen.iter().map(|it| it.len).sum();
    let mut done = 0;
    for (at, this) in chosen.iter().enumerate() {
        let segment = Segment {
            making: Making::Made,
            sealer: found.sealers.get(&(this.number, this.version)).cloned(),
            ..Segment::new(found.epoch, this.number, this.version, 0)
        };
        let next = chosen.get(at + 1);
        let before = at.checked_sub(1).and_then(|it| chosen.get(it));
        let follows = before.is_some_and(|it| it.number + 1 == this.number);
        let missing = &scan.report.missing_segments;
        let previous_number = before.map_or(0, |it| it.number);
        let lost_before = missing
            .iter()
            .any(|&it| previous_number < it && it < this.number);
        let rewritten = this.label.filter(|it| it.end > 0);
        if let Some(label) = rewritten {
            let before = label.first_seq.saturating_sub(1);
            match follows || lost_before {
                true => scan.gap(scan.last_seq + 1, before),
                false => scan.last_seq = scan.last_seq.max(before),
            }
        }
        let mut file = File {
            bytes: &[],
            end: rewritten.map(|it| it.end),
            last_seq: rewritten.map_or(0, |it| it.last_seq),
            next_previous: next_previous(&chosen[at..]),
            more: chosen[at + 1..]
                .iter()
                .any(|it| it.first_previous.is_some()),
            lost_before,
            loose: is_loose(&chosen[..=at]),
        };
        let digest = read_digest(this, found, directory);
        let mut digest = digest.filter(|it| scan.fits(it, &file) && !scan.is_suspect(it));
        let mut bytes = Vec::new();
        if !digest.as_ref().is_some_and(|it| scan.covers(it, &file)) {
            let covered = digest.as_ref().map_or(0, |it| it.covered.frames.end);
            bytes = read_from(covered, this, directory)?;
        }
        if let Some(it) = &digest
            && !it.leads_to(
                file.next_previous.filter(|_| file.end.is_none()),
                segment.seed,
                &bytes,
            )
        {
            digest = None;
            bytes = read_from(0, this, directory)?;
        }
        scan.report.digests += u64::from(digest.is_some());
        file.bytes = &bytes;
        let clean = scan.segment(segment, &file, digest.as_ref());
        done += this.len;
        directory.progress(done, total);
        let end = scan.segments.last().map_or(0, |it| it.end);
        let usable = clean
            && next.is_none()
            && rewritten.is_none()
            && this.label.is_some()
            && end <= bytes.len() as u64;
        tail = usable.then(|| {
            let page = (end - end % PAGE as u64) as usize;
            Tail {
                page: Bytes::copy_from_slice(bytes.get(page..end as usize).unwrap_or_default()),
                file_len: this.len,
            }
        });
    }
    Ok(tail)
}

/// A segment's file from the page of this place on, zeros before.
fn read_from(
    place: u64,
    this: &Chosen,
    directory: &mut dyn Directory,
) -> Result<Vec<u8>, StoreError> {
    let from = place - place % PAGE as u64;
    let file = FileName::Segment {
        number: this.number,
        version: this.version,
    };
    // Fresh zeros cost nothing until somebody looks at them.
    let mut bytes = vec![0; this.len.min(FILE_MAX) as usize];
    if let Some(rest) = bytes.get_mut(from as usize..) {
        let read = directory.read(file, from, rest)?;
        bytes.truncate(from as usize + read);
    }
    Ok(bytes)
}

/// Has the last of these segments no frame before it that its first one could name? Those without
/// a frame do not count.
fn is_loose(up_to: &[Chosen]) -> bool {
    let mut pairs = up_to.windows(2).rev();
    let first = up_to.first().is_some_and(|it| it.number == 1);
    for pair in pairs.by_ref() {
        if pair[0].number + 1 != pair[1].number || pair[0].version > 0 {
            return true;
        }
        if pair[0].first_previous.is_some() {
            return false;
        }
    }
    !first
}

/// What the first frame after a segment says about the frame before it. A segment between, of
/// which a power cut left no frame, says nothing.
fn next_previous(from: &[Chosen]) -> Option<u32> {
    let mut pairs = from.windows(2);
    let follows = |pair: &&[Chosen]| pair[0].number + 1 == pair[1].number;
    pairs
        .by_ref()
        .take_while(follows)
        .find_map(|pair| pair[1].first_previous)
}

fn finish(
    settings: Settings,
    mut scan: Scan,
    tail: Option<Tail>,
    reach: Option<Reach>,
    leftovers: Vec<FileName>,
) -> Opened {
    let Reach {
        counter,
        slot,
        frame,
        last_seq,
        last_time,
    } = reach.unwrap_or_default();
    let known = std::mem::take(&mut scan.known_gaps);
    scan.add_known_gaps(known);
    if scan.last_frame < frame {
        // The log was durable up to there once.
        scan.report.damaged_records += 1;
        scan.gap(scan.last_seq + 1, last_seq);
        scan.last_time = last_time;
    }
    scan.index.skip(scan.last_seq, Some(scan.last_time));
    scan.settle_gaps();
    let mut log = Log::empty(settings);
    let was_empty = scan.segments.is_empty();
    if !was_empty {
        log.segments = scan.segments;
    }
    for state in scan.states.values() {
        if let Some(segment) = log
            .segments
            .iter_mut()
            .find(|it| it.number == state.segment)
        {
            segment.states += 1;
        }
    }
    log.previous = scan.previous;
    log.durable_previous = scan.previous;
    log.next_frame = scan.last_frame.max(frame) + 1;
    log.durable_frame = log.next_frame - 1;
    // A process that was killed may have left what the disk does not have yet.
    let open = log
        .segments
        .iter()
        .filter(|it| it.notes.is_some() && it.end > FIRST_FRAME);
    log.unflushed = open.map(|it| it.number).collect();
    log.sync();
    if log.to_flush.is_empty() {
        log.flushed_frame = log.durable_frame;
    }
    (log.last_seq, log.last_time) = (scan.last_seq, scan.last_time);
    log.durable_seq = scan.last_seq;
    log.state_version = scan.state_version;
    log.gaps = scan.gaps;
    log.checkpoint.counter = counter;
    log.checkpoint.durable = counter;
    log.checkpoint.slot = slot;
    log.checkpoint.due = true;
    let with_frames = log.segments.iter().rev().find(|it| it.end > FIRST_FRAME);
    log.durable_segment = with_frames.map_or(0, |it| it.number);
    log.removing = leftovers.into_iter().map(|it| (it, counter + 1)).collect();
    match tail {
        Some(tail) => {
            log.page = tail.page;
            // A crash may leave any length.
            log.zeroed = tail.file_len - tail.file_len % PAGE as u64;
        }
        None if !was_empty => log.roll(),
        None => {}
    }
    // What only the checkpoint knew goes into the log again.
    let mut states = scan.states;
    for (name, state) in states.iter_mut().filter(|it| it.1.segment == 0) {
        (state.version, state.segment) = log.put_state(name, &state.bytes);
    }
    let report = super::core::report(&log, &scan.index, scan.report);
    Opened {
        log,
        index: scan.index,
        states,
        report,
    }
}
