//! What an operator meets: log, signals, pid and ports files, landmark lines.

pub mod background;
pub mod banner;
pub mod cli;
pub mod config;
pub mod http;
pub mod logging;
pub mod memory_limit;
pub mod pid_file;
pub mod ports_file;
pub mod signal_command;
pub mod signals;

/// Name this process was started under: the last part of `argv[0]`, as in the ports file's name
/// (PROC-5) and the syslog tag (CFG-102).
pub fn process_name() -> String {
    std::env::args_os()
        .next()
        .as_deref()
        .and_then(|path| std::path::Path::new(path).file_name())
        .map_or_else(
            || "nats-server".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
}
