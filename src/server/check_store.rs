//! `check-store DIR`: reads the streams below a directory as a start would, and says what it finds.
//! It changes nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::jetstream::folder::place_of;
use super::jetstream::keys::Keys;
use crate::io::disk::StoreDirectory;
use crate::jetstream::store::{FileName, Report, Settings, Store};
use crate::options::JetStreamOptions;

/// What was found in one stream's directory.
struct Checked {
    path: PathBuf,
    outcome: Result<(Report, String), String>,
}

/// Prints one line for each store at or below `root`, with each gap on a line of its own. True if
/// all of them are whole. Encrypted ones are read with the key the options have.
///
/// # Errors
/// If a directory cannot be listed.
pub fn check_store(
    root: &Path,
    options: &JetStreamOptions,
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
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
            let name = entry.file_name();
            is_store |= name.to_str().and_then(FileName::parse).is_some();
        }
        if is_store {
            stores += 1;
            whole &= report(&check(folder, keys.as_ref()), out)?;
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

fn read(path: &Path, keys: Option<&Keys>) -> Result<(Report, String), String> {
    let mut settings = Settings::new(0, None);
    // Digests tell what a start needs, not whether the contents are still what they were.
    settings.thorough = true;
    if let Some(keys) = keys {
        // Its key is encrypted for the stream it belongs to.
        let whole = path.canonicalize().map_err(|it| it.to_string())?;
        if let Some((account, stream)) = place_of(&whole) {
            settings.encryption = keys.read(&account, &stream, path)?;
        }
    }
    let opened = Store::open(settings, &mut StoreDirectory::at(path));
    let (store, report) = opened.map_err(|it| it.to_string())?;
    let state = store.state();
    let text = format!(
        "{} messages, {} bytes, sequences {} to {}, {} subjects",
        state.messages, state.bytes, state.first_seq, state.last_seq, state.subjects
    );
    Ok((report, text))
}

fn report(checked: &Checked, out: &mut dyn io::Write) -> io::Result<bool> {
    let path = checked.path.display();
    let (report, text) = match &checked.outcome {
        Ok(found) => found,
        Err(error) => {
            writeln!(out, "{path}: {error}")?;
            return Ok(false);
        }
    };
    writeln!(out, "{path}: {text}")?;
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
