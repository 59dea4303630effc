//! Why the log cannot start.

use std::io;
use std::path::PathBuf;

/// Why a log could not be opened or installed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The program around us installed its own `log` logger. Lines of the server go there; this
    /// server's log options have no effect.
    #[error(
        "another logger is installed in this process: it receives the server's lines; \
         leave the log options out or install no other logger"
    )]
    ForeignLogger,
    /// The log file cannot be opened for appending.
    #[error(
        "error opening file: open {}: {cause}; \
         create its folder, allow this user to write there, or change log_file (-l)",
        path.display()
    )]
    OpenFile {
        /// The file as configured.
        path: PathBuf,
        /// The system's answer.
        cause: io::Error,
    },
    /// `remote_syslog` is not an address of a kind we can send to (CFG-102).
    #[error(
        "error invalid network type: {address:?}; use udp://host:port, tcp://host:port or unix:///path"
    )]
    SyslogAddress {
        /// The address as configured.
        address: String,
    },
    /// No syslog daemon answered.
    #[error(
        "error connecting to syslog at {address}: {cause}; \
         start the syslog daemon or leave out syslog (-s, -r)"
    )]
    SyslogConnect {
        /// Where we tried.
        address: String,
        /// The system's answer.
        cause: io::Error,
    },
    /// The writer thread could not be started.
    #[error("cannot start the log's thread: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
}
