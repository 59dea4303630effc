//! The file that holds the process id (CFG-89, PROC-4).

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Mode of a new pid file: for its owner, as in stock.
const PID_FILE_MODE: u32 = 0o600;

/// The pid file cannot be written; the start ends with this as its `[FTL]` line.
#[derive(Debug, thiserror::Error)]
#[error(
    "Could not write pidfile: open {}: {cause}; \
     create its folder, allow this user to write there, or change pid_file (-P)",
    path.display()
)]
pub struct PidFileError {
    /// The file as configured.
    pub path: PathBuf,
    /// The system's answer.
    pub cause: io::Error,
}

/// Writes the decimal pid without a newline. The file stays after exit, as stock's does: tools
/// that wait on it compare the number with a living process.
///
/// # Errors
/// [`PidFileError`].
pub fn write(path: &Path) -> Result<(), PidFileError> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PID_FILE_MODE)
        .open(path)
        .and_then(|mut file| file.write_all(std::process::id().to_string().as_bytes()))
        .map_err(|cause| PidFileError {
            path: path.to_owned(),
            cause,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_89_pid_without_newline_over_an_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        std::fs::write(&path, "12345678901234\n").unwrap();
        write(&path).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            std::process::id().to_string()
        );
    }

    #[test]
    fn error_names_file_and_cure() {
        let text = write(Path::new("/nonexistent/p")).unwrap_err().to_string();
        assert!(
            text.starts_with("Could not write pidfile: open /nonexistent/p: "),
            "{text}"
        );
        assert!(text.contains("pid_file (-P)"), "{text}");
    }
}
