//! A log file with rotation by size (CFG-101).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::tz::TimeZone;

use super::error::LogError;
use super::line::{Line, Severity, Style, local};

/// Group may read: log collectors usually run under the server's group.
const LOG_FILE_MODE: u32 = 0o640;

/// Bytes gathered before a write: one system call for a burst of lines.
const WRITE_SIZE: usize = 64 * 1024;

/// The open file and what is not yet written to it.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    pending: Vec<u8>,
    /// Bytes in the file and pending.
    size: u64,
    /// `log_size_limit`; `None` never rotates.
    size_limit: Option<u64>,
    /// Size at which the next rotation is tried; above the limit after one that failed.
    rotate_above: u64,
    /// Files kept, this one included; `None` keeps all.
    max_num: Option<usize>,
}

impl LogFile {
    /// Opens `path` for appending. Limits of 0 or less are none.
    pub(super) fn open(path: &Path, size_limit: i64, max_num: i64) -> Result<Self, LogError> {
        let (file, size) = open_append(path).map_err(|cause| LogError::OpenFile {
            path: path.to_owned(),
            cause,
        })?;
        let size_limit = u64::try_from(size_limit).ok().filter(|&limit| limit > 0);
        Ok(Self {
            path: path.to_owned(),
            file,
            pending: Vec::with_capacity(WRITE_SIZE),
            size,
            size_limit,
            rotate_above: size_limit.unwrap_or(u64::MAX),
            max_num: usize::try_from(max_num).ok().filter(|&count| count > 0),
        })
    }

    /// True when the file is above its limit before its first line.
    pub(super) fn is_oversized(&self) -> bool {
        self.size > self.rotate_above
    }

    /// Appends one line; rotates when that takes the file over its limit.
    pub(super) fn write_line(&mut self, style: &Style, line: &Line) -> io::Result<()> {
        self.append(style, line, "\n");
        if self.size > self.rotate_above {
            self.flush()?;
            self.rotate(style);
        } else if self.pending.len() >= WRITE_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is pending.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let result = self.file.write_all(&self.pending);
        // What a full disk refused is lost: holding on to it would only grow.
        self.pending.clear();
        result
    }

    /// Closes the file and opens its name again: after `mv` by an outside rotation.
    pub(super) fn reopen(&mut self) -> io::Result<()> {
        let flushed = self.flush();
        (self.file, self.size) = open_append(&self.path)?;
        self.rotate_above = self.size_limit.unwrap_or(u64::MAX);
        flushed
    }

    /// Renames the full file and starts a new one. Failure leaves us writing to the old one, with
    /// an error line in it, and the limit doubled until a rotation succeeds.
    fn rotate(&mut self, style: &Style) {
        let backup = backup_name(&self.path, SystemTime::now());
        let rotated = fs::rename(&self.path, &backup).and_then(|()| {
            open_append(&self.path).inspect_err(|_| {
                // The old file is still open under its new name; give it back its own.
                let _ = fs::rename(&backup, &self.path);
            })
        });
        match rotated {
            Ok((file, size)) => {
                self.file = file;
                self.size = size;
                self.rotate_above = self.size_limit.unwrap_or(u64::MAX);
                let text = format!(
                    "Rotated log, backup saved as {:?}",
                    backup.display().to_string()
                );
                self.note(style, Severity::Info, text);
                self.purge(style);
            }
            Err(cause) => {
                self.rotate_above = self.rotate_above.saturating_mul(2);
                let text = format!(
                    "Unable to rotate logfile {:?} ({cause}), will attempt next rotation at size {}",
                    self.path.display().to_string(),
                    self.rotate_above
                );
                self.note(style, Severity::Error, text);
            }
        }
    }

    /// Removes the oldest backups beyond `max_num`.
    fn purge(&mut self, style: &Style) {
        let Some(max_num) = self.max_num else { return };
        let mut backups = match backups(&self.path) {
            Ok(backups) => backups,
            Err(cause) => {
                let text = format!(
                    "Unable to read the folder of {:?} for log purge ({cause}), will attempt next rotation",
                    self.path.display().to_string()
                );
                return self.note(style, Severity::Error, text);
            }
        };
        backups.sort();
        let surplus = (backups.len() + 1).saturating_sub(max_num);
        for backup in backups.into_iter().take(surplus) {
            let name = backup.file_name().unwrap_or_default().display().to_string();
            match fs::remove_file(&backup) {
                Ok(()) => self.note(style, Severity::Info, format!("Purged log file {name:?}")),
                Err(cause) => {
                    let text = format!(
                        "Unable to remove backup log file {name:?} ({cause}), will attempt next rotation"
                    );
                    return self.note(style, Severity::Error, text);
                }
            }
        }
    }

    /// A line about the file itself; stock ends these with CR LF, and so do we. Never rotates:
    /// a limit smaller than this line would rotate forever.
    fn note(&mut self, style: &Style, severity: Severity, text: String) {
        self.append(style, &Line::now(severity, text), "\r\n");
    }

    fn append(&mut self, style: &Style, line: &Line, ending: &str) {
        let before = self.pending.len();
        style.append(&mut self.pending, line, ending);
        self.size += (self.pending.len() - before) as u64;
    }
}

fn open_append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(LOG_FILE_MODE)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// `<file>.YYYY.MM.DD.hh.mm.ss.nnnnnnnnn` in local time.
fn backup_name(path: &Path, at: SystemTime) -> PathBuf {
    let stamp = local(at, &TimeZone::system())
        .strftime(".%Y.%m.%d.%H.%M.%S.%9f")
        .to_string();
    let mut name = path.as_os_str().to_owned();
    name.push(stamp);
    name.into()
}

/// The files beside `path` that carry its name and a rotation's stamp.
fn backups(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = path
        .file_name()
        .unwrap_or_default()
        .as_encoded_bytes()
        .to_vec();
    prefix.push(b'.');
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_backup = name
            .as_encoded_bytes()
            .strip_prefix(&prefix[..])
            .is_some_and(is_stamp);
        if is_backup && !entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn is_stamp(stamp: &[u8]) -> bool {
    const SHAPE: &[u8] = b"0000.00.00.00.00.00.000000000";
    stamp.len() == SHAPE.len()
        && stamp.iter().zip(SHAPE).all(|(&byte, &shape)| match shape {
            b'0' => byte.is_ascii_digit(),
            dot => byte == dot,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style {
        pid: 7,
        logtime: false,
        zone: TimeZone::UTC,
        colour: false,
    };

    fn write(file: &mut LogFile, text: &str) {
        file.write_line(&STYLE, &Line::now(Severity::Info, text.into()))
            .unwrap();
    }

    #[test]
    fn cfg_101_rotates_names_the_backup_and_keeps_max_num() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        // Looks like a backup but is not one: never purged.
        fs::write(folder.path().join("a.log.2020.01.01"), "mine").unwrap();
        let mut file = LogFile::open(&path, 40, 3).unwrap();
        for turn in 0..5 {
            write(&mut file, &format!("{turn} {}", "x".repeat(200)));
        }
        file.flush().unwrap();
        let mut backups = backups(&path).unwrap();
        backups.sort();
        assert_eq!(backups.len(), 2, "three files in all");
        let last = fs::read_to_string(&backups[1]).unwrap();
        assert!(last.contains("[7] [INF] 4 xxx"), "{last}");
        let current = fs::read_to_string(&path).unwrap();
        let mut lines = current.split("\r\n");
        assert_eq!(
            lines.next().unwrap(),
            format!(
                "[7] [INF] Rotated log, backup saved as \"{}\"",
                backups[1].display()
            )
        );
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("[7] [INF] Purged log file \"a.log.2"),
            "{current}"
        );
        assert!(folder.path().join("a.log.2020.01.01").exists());
    }

    #[test]
    fn cfg_101_counts_what_the_file_held_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "x".repeat(100)).unwrap();
        let mut file = LogFile::open(&path, 100, 0).unwrap();
        assert!(!file.is_oversized());
        write(&mut file, "over");
        assert_eq!(backups(&path).unwrap().len(), 1);
        assert!(LogFile::open(&path, 10, 0).is_ok());
    }

    #[test]
    fn failed_rotation_keeps_the_old_file_and_doubles_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let moved = folder.path().join("moved.log");
        let mut file = LogFile::open(&path, 30, 0).unwrap();
        fs::rename(&path, &moved).unwrap();
        write(&mut file, &"x".repeat(40));
        file.flush().unwrap();
        let text = fs::read_to_string(&moved).unwrap();
        assert!(text.contains("[ERR] Unable to rotate logfile"), "{text}");
        assert!(text.contains("at size 60"), "{text}");
    }

    #[test]
    fn reopen_follows_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let mut file = LogFile::open(&path, 0, 0).unwrap();
        write(&mut file, "before");
        fs::rename(&path, folder.path().join("old")).unwrap();
        file.reopen().unwrap();
        write(&mut file, "after");
        file.flush().unwrap();
        assert_eq!(
            fs::read_to_string(folder.path().join("old")).unwrap(),
            "[7] [INF] before\n"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "[7] [INF] after\n");
    }

    #[test]
    fn open_error_names_file_and_cure() {
        let text = LogFile::open(Path::new("/nonexistent/a.log"), 0, 0)
            .unwrap_err()
            .to_string();
        assert!(
            text.starts_with("error opening file: open /nonexistent/a.log: "),
            "{text}"
        );
        assert!(text.contains("create its folder"), "{text}");
    }

    #[test]
    fn backup_stamp_has_stock_shape() {
        let name = backup_name(Path::new("/x/a.log"), SystemTime::now());
        let stamp = name
            .to_str()
            .unwrap()
            .strip_prefix("/x/a.log.")
            .unwrap()
            .to_owned();
        assert!(is_stamp(stamp.as_bytes()), "{stamp}");
    }
}
