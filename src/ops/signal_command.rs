//! `--signal cmd[=pid]`: one server process speaks to another (CFG-88, PROC-14).

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// Names a server runs under: ours, and the one it is a drop-in for.
const PROCESS_NAMES: [&str; 2] = ["nats-server", "ramjet"];

/// Why a signal was not sent. Texts are stock's: scripts match them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalCommandError {
    /// `cmd=a=b`.
    #[error("invalid signal parameters: [{0}]")]
    Parameters(String),
    /// Neither a readable file nor the number of a process.
    #[error("invalid pid: {0}")]
    InvalidPid(String),
    /// No such command.
    #[error("unknown signal {0:?}")]
    UnknownCommand(String),
    /// Nothing to send to.
    #[error("no nats-server processes running")]
    NoProcess,
    /// Several servers run and none was named.
    #[error("multiple nats-server processes running:{}", pid_lines(.0))]
    SeveralProcesses(Vec<i32>),
    /// `/proc` cannot be read.
    #[error("unable to resolve pid, try providing one")]
    Unresolvable,
    /// The system refused; the text has one line for each process that was not reached.
    #[error("{}", failure_lines(.0))]
    Send(Vec<SendFailure>),
}

/// A process that the signal did not reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendFailure {
    /// The command as given.
    pub command: String,
    /// The process.
    pub pid: i32,
    /// The system's answer.
    pub cause: Errno,
}

/// Carries out the value of `--signal`: `cmd`, `cmd=pid`, `cmd=pidfile`, `cmd=12*` (every server
/// whose pid begins so), `cmd=*`.
///
/// # Errors
/// [`SignalCommandError`], to be shown after `nats-server: `, exit code 1.
pub fn run_argument(argument: &str) -> Result<(), SignalCommandError> {
    match argument.split_once('=') {
        None => run(argument, ""),
        Some((command, target)) if !target.contains('=') => run(command, target),
        Some((_, target)) => {
            let surplus: Vec<_> = target.split('=').skip(1).collect();
            Err(SignalCommandError::Parameters(surplus.join(" ")))
        }
    }
}

/// Sends what `command` means to `target`: a pid, a pid file, a pid's beginning and `*`, or empty
/// for the one server that runs here.
///
/// # Errors
/// [`SignalCommandError`].
pub fn run(command: &str, target: &str) -> Result<(), SignalCommandError> {
    let target = PidTarget::parse(target)?;
    let pids = match target {
        PidTarget::Exact(pid) => vec![pid],
        PidTarget::TheOne => {
            let pids = server_pids(Path::new("/proc"))?;
            if pids.len() > 1 {
                return Err(SignalCommandError::SeveralProcesses(pids));
            }
            pids
        }
        PidTarget::StartingWith(prefix) => {
            let mut pids = server_pids(Path::new("/proc"))?;
            pids.retain(|pid| pid.to_string().starts_with(&prefix));
            pids
        }
    };
    if pids.is_empty() {
        return Err(SignalCommandError::NoProcess);
    }
    let signal =
        signal_of(command).ok_or_else(|| SignalCommandError::UnknownCommand(command.to_owned()))?;
    let failures: Vec<_> = pids
        .into_iter()
        .filter_map(|pid| {
            let sent = Pid::from_raw(pid)
                .ok_or(Errno::SRCH)
                .and_then(|p| kill_process(p, signal));
            sent.err().map(|cause| SendFailure {
                command: command.to_owned(),
                pid,
                cause,
            })
        })
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(SignalCommandError::Send(failures))
    }
}

fn signal_of(command: &str) -> Option<Signal> {
    match command {
        "stop" => Some(Signal::KILL),
        "quit" => Some(Signal::INT),
        "reopen" => Some(Signal::USR1),
        "reload" => Some(Signal::HUP),
        "ldm" => Some(Signal::USR2),
        "term" => Some(Signal::TERM),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum PidTarget {
    Exact(i32),
    TheOne,
    StartingWith(String),
}

impl PidTarget {
    fn parse(target: &str) -> Result<Self, SignalCommandError> {
        // A pid file wins over a number, as in stock. Editors and shells leave newlines in it.
        let content = fs::read_to_string(target);
        let target = content.as_deref().unwrap_or(target).trim();
        let (digits, is_prefix) = match target.strip_suffix('*') {
            Some(digits) => (digits, true),
            None => (target, false),
        };
        if digits.is_empty() {
            return Ok(if is_prefix {
                Self::StartingWith(String::new())
            } else {
                Self::TheOne
            });
        }
        // 0 and negative numbers would mean process groups: never what `--signal` is for.
        let pid = digits.parse().ok().filter(|&pid: &i32| pid > 0);
        let pid = pid.ok_or_else(|| SignalCommandError::InvalidPid(digits.to_owned()))?;
        Ok(if is_prefix {
            Self::StartingWith(pid.to_string())
        } else {
            Self::Exact(pid)
        })
    }
}

/// Servers listed under `proc`, in the order of their pids, without this process.
fn server_pids(proc: &Path) -> Result<Vec<i32>, SignalCommandError> {
    let own = i32::try_from(std::process::id()).ok();
    let entries = fs::read_dir(proc).map_err(|_| SignalCommandError::Unresolvable)?;
    let mut pids: Vec<i32> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| Some(pid) != own && is_server(&proc.join(pid.to_string())))
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// Whether the process of this folder carries a server's name, as the kernel knows it or as it
/// was started. A process that ends while we look is none.
fn is_server(process: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(process.join("stat")) else {
        return false;
    };
    let Some((name, state)) = name_and_state(&stat) else {
        return false;
    };
    // Zombies can be signalled, to no effect: containers without an init are full of them.
    state != 'Z' && (is_server_name(name) || argv0(process).is_some_and(|n| is_server_name(&n)))
}

fn is_server_name(name: &str) -> bool {
    PROCESS_NAMES.contains(&name)
}

fn argv0(process: &Path) -> Option<String> {
    let arguments = fs::read(process.join("cmdline")).ok()?;
    let first = arguments.split(|&byte| byte == 0).next()?;
    let name = first.rsplit(|&byte| byte == b'/').next()?;
    String::from_utf8(name.to_vec()).ok()
}

/// From `12 (name) S ...`; the name may hold blanks and brackets.
fn name_and_state(stat: &str) -> Option<(&str, char)> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    Some((name, rest.trim_start().chars().next()?))
}

fn pid_lines(pids: &[i32]) -> String {
    pids.iter().fold(String::new(), |mut lines, pid| {
        // Writing to a String cannot fail.
        let _ = write!(lines, "\n{pid}");
        lines
    })
}

fn failure_lines(failures: &[SendFailure]) -> String {
    failures.iter().fold(
        String::new(),
        |mut lines,
         SendFailure {
             command,
             pid,
             cause,
         }| {
            let cause = match *cause {
                Errno::SRCH => "no such process".to_owned(),
                Errno::PERM => "operation not permitted".to_owned(),
                other => other.to_string(),
            };
            let _ = write!(lines, "\nsignal {command:?} {pid}: {cause}");
            lines
        },
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    use super::*;

    #[track_caller]
    fn check_error(argument: &str, text: &str) {
        assert_eq!(run_argument(argument).unwrap_err().to_string(), text);
    }

    #[test]
    fn cfg_88_error_texts() {
        check_error("quit=abc", "invalid pid: abc");
        check_error("quit=0", "invalid pid: 0");
        check_error("quit=-1", "invalid pid: -1");
        check_error("quit=/nonexistent/file", "invalid pid: /nonexistent/file");
        check_error("foo=99999", "unknown signal \"foo\"");
        check_error(
            "quit=999999999",
            "\nsignal \"quit\" 999999999: no such process",
        );
        check_error("quit=1=2=3", "invalid signal parameters: [2 3]");
        check_error("ldm=999999999*", "no nats-server processes running");
        assert_eq!(
            SignalCommandError::SeveralProcesses(vec![1, 22]).to_string(),
            "multiple nats-server processes running:\n1\n22"
        );
    }

    #[test]
    fn cfg_88_commands() {
        let signals = ["stop", "quit", "reopen", "reload", "ldm", "term"].map(signal_of);
        assert_eq!(
            signals.map(Option::unwrap),
            [
                Signal::KILL,
                Signal::INT,
                Signal::USR1,
                Signal::HUP,
                Signal::USR2,
                Signal::TERM
            ]
        );
    }

    #[test]
    fn cfg_88_pid_pid_file_and_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        fs::write(&file, "123\n").unwrap();
        assert_eq!(
            PidTarget::parse(file.to_str().unwrap()),
            Ok(PidTarget::Exact(123))
        );
        assert_eq!(PidTarget::parse("123"), Ok(PidTarget::Exact(123)));
        assert_eq!(
            PidTarget::parse("12*"),
            Ok(PidTarget::StartingWith("12".into()))
        );
        assert_eq!(
            PidTarget::parse("*"),
            Ok(PidTarget::StartingWith(String::new()))
        );
        assert_eq!(PidTarget::parse(""), Ok(PidTarget::TheOne));
    }

    #[test]
    fn cfg_88_signals_reach_a_pid() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        run_argument(&format!("term={}", child.id())).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn cfg_88_servers_are_found_by_name() {
        let mut child = Command::new("sleep")
            .arg0("/opt/bin/nats-server")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        // A new program has no arguments yet for a moment after its start was reported.
        let found = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            server_pids(Path::new("/proc")).unwrap().contains(&pid)
        });
        run("stop", &pid.to_string()).unwrap();
        child.wait().unwrap();
        assert!(found);
    }

    #[test]
    fn processes_listed_by_proc() {
        let proc = tempfile::tempdir().unwrap();
        let add = |pid: &str, stat: &str, arguments: &str| {
            let folder = proc.path().join(pid);
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("stat"), stat).unwrap();
            fs::write(folder.join("cmdline"), arguments).unwrap();
        };
        add("30", "30 (nats-server) S 1", "nats-server\0-p\x004222\0");
        add("4", "4 (ramjet) R 1", "/usr/bin/ramjet\0");
        add("5", "5 (nats-server) Z 1", "");
        add(
            "6",
            "6 (nats-server-exporter) S 1",
            "nats-server-exporter\0",
        );
        add("7", "7 (a) nats-server) S 1", "vim\0nats-server\0");
        add("8", "8 (loader) S 1", "./nats-server\0");
        add(
            &std::process::id().to_string(),
            "1 (ramjet) S 1",
            "ramjet\0",
        );
        fs::create_dir(proc.path().join("self")).unwrap();
        assert_eq!(server_pids(proc.path()).unwrap(), [4, 8, 30]);
    }
}
