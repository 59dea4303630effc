//! `check-store DIR`: reads the streams below a directory as a start would, and says what it finds.
//! It changes nothing unless it is told to repair.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::jetstream::folder::place_of;
use super::jetstream::keys::Keys;
use super::repair;
use crate::io::disk::StoreDirectory;
use crate::jetstream::store::{Encryption, FileName, Report, Settings, Store};
use crate::options::JetStreamOptions;
use crate::shard::jetstream::disk::{consumer_records, stream_record};

/// What was found in one stream's directory.
struct Checked {
    path: PathBuf,
    outcome: Result<(Report, Store), String>,
}

/// Prints one line for each store at or below `root`, with each gap on a line of its own. True if
/// all of them are whole, or are now because they were to be repaired. Encrypted ones are read with
/// the key the options have.
///
/// # Errors
/// If a directory cannot be listed.
pub fn check_store(
    root: &Path,
    options: &JetStreamOptions,
    repairs: bool,
    out: &mut dyn io::Write,
) -> io::Result<bool> {
    let keys = Keys::of(options);
    let mut whole = true;
    let mut folders = vec![root.to_owned()];
    let mut stores = 0;
    while let Some(folder) = folders.pop() {
        let mut is_store = false;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let below = entry.path();
            if entry.file_type()?.is_dir() && !is_kept(&folder, &below) {
                folders.push(below);
            }
            let name = entry.file_name();
            is_store |= name.to_str().and_then(FileName::parse).is_some();
        }
        if is_store {
            stores += 1;
            let checked = check(folder, keys.as_ref());
            let is_whole = report(&checked, out)?;
            whole &= is_whole || repairs && mend(checked, keys.as_ref(), out)?;
        }
    }
    if stores == 0 {
        writeln!(out, "{}: no stream is stored here", root.display())?;
    }
    Ok(whole)
}

fn check(path: PathBuf, keys: Option<&Keys>) -> Checked {
    let outcome = read(&path, keys);
    Checked { path, outcome }
}

/// Are these stores that a repair has put aside, or not finished? They are beside the streams.
fn is_kept(folder: &Path, below: &Path) -> bool {
    let name = below.file_name().and_then(|it| it.to_str());
    matches!(name, Some(repair::DAMAGED | repair::BEGUN)) && folder.join("streams").is_dir()
}

/// Puts a store of what can be read in the place of one. False if that cannot be done.
fn mend(checked: Checked, keys: Option<&Keys>, out: &mut dyn io::Write) -> io::Result<bool> {
    let path = checked.path;
    let Ok((_, damaged)) = checked.outcome else {
        writeln!(
            out,
            "{}: not repaired: nothing of it can be read",
            path.display()
        )?;
        return Ok(false);
    };
    let max_bytes = stream_record(&damaged).and_then(|it| u64::try_from(it.config.max_bytes).ok());
    let settings = |new: &Path| {
        let mut epoch = [0; 8];
        getrandom::fill(&mut epoch).map_err(|it| it.to_string())?;
        let mut settings = Settings::new(u64::from_ne_bytes(epoch), max_bytes);
        if encryption(&path, keys)?.is_some()
            && let (Some(keys), Some((account, stream))) = (keys, place(&path)?)
        {
            settings.encryption = Some(keys.encryption(&account, &stream, new)?);
        }
        Ok(settings)
    };
    match repair::repair(&path, damaged, settings) {
        Ok(done) => {
            let (path, kept) = (path.display(), done.kept.display());
            let messages = done.messages;
            writeln!(
                out,
                "{path}: repaired: {messages} messages; what it was is in {kept}"
            )?;
            Ok(true)
        }
        Err(error) => {
            writeln!(out, "{}: not repaired: {error}", path.display())?;
            Ok(false)
        }
    }
}

/// Whose store this is, if its path tells.
fn place(path: &Path) -> Result<Option<(String, String)>, String> {
    let whole = path.canonicalize().map_err(|it| it.to_string())?;
    Ok(place_of(&whole))
}

/// What a store is encrypted with: its key is encrypted for the stream it belongs to.
fn encryption(path: &Path, keys: Option<&Keys>) -> Result<Option<Encryption>, String> {
    match (keys, place(path)?) {
        (Some(keys), Some((account, stream))) => keys.read(&account, &stream, path),
        _ => Ok(None),
    }
}

fn read(path: &Path, keys: Option<&Keys>) -> Result<(Report, Store), String> {
    let mut settings = Settings::new(0, None);
    // Digests tell what a start needs, not whether the contents are still what they were.
    settings.thorough = true;
    settings.encryption = encryption(path, keys)?;
    let opened = Store::open(settings, &mut StoreDirectory::at(path));
    let (store, report) = opened.map_err(|it| it.to_string())?;
    Ok((report, store))
}

fn report(checked: &Checked, out: &mut dyn io::Write) -> io::Result<bool> {
    let path = checked.path.display();
    let (report, store) = match &checked.outcome {
        Ok(found) => found,
        Err(error) => {
            writeln!(out, "{path}: {error}")?;
            return Ok(false);
        }
    };
    let state = store.state();
    writeln!(
        out,
        "{path}: {} messages, {} bytes, sequences {} to {}, {} subjects, {} consumers",
        state.messages,
        state.bytes,
        state.first_seq,
        state.last_seq,
        state.subjects,
        consumer_records(store)
    )?;
    for gap in &report.gaps {
        writeln!(out, "{path}: lost: sequences {} to {}", gap.first, gap.last)?;
    }
    for segment in &report.missing_segments {
        writeln!(out, "{path}: missing: segment {segment}")?;
    }
    for (file, error) in &report.unreadable_files {
        writeln!(out, "{path}: unreadable: {file}: {error}")?;
    }
    if report.unreadable_checkpoints > 0 {
        let copies = report.unreadable_checkpoints;
        writeln!(
            out,
            "{path}: unreadable: {copies} of 2 copies of the checkpoint"
        )?;
    }
    if report.damaged_records > 0 {
        writeln!(out, "{path}: damaged: {} places", report.damaged_records)?;
    }
    if report.torn_tail > 0 {
        let bytes = report.torn_tail;
        writeln!(
            out,
            "{path}: a last write of {bytes} bytes was never finished"
        )?;
    }
    let told = report.unreadable_files.is_empty() && report.missing_segments.is_empty();
    Ok(told && report.gaps.is_empty() && report.damaged_records == 0)
}
