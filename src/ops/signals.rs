//! Signals of the operator (CFG-87, PROC-8).
//!
//! [`SignalWatch::register`] belongs at the top of `main`: from then on no signal has its default
//! effect, and those that arrive before [`SignalWatch::deliver`] wait for it.

use std::io;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGXFSZ};
use signal_hook::iterator::Signals;

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalEvent {
    /// SIGINT: shut down.
    Quit,
    /// SIGTERM: shut down, unless lame duck mode is under way, which ends by itself.
    Terminate,
    /// SIGUSR1: open the log file anew.
    ReopenLog,
    /// SIGUSR2: lame duck mode.
    LameDuck,
    /// SIGHUP: read the configuration again.
    Reload,
}

impl SignalEvent {
    const ALL: [(i32, Self); 5] = [
        (SIGINT, Self::Quit),
        (SIGTERM, Self::Terminate),
        (SIGUSR1, Self::ReopenLog),
        (SIGUSR2, Self::LameDuck),
        (SIGHUP, Self::Reload),
    ];

    fn of(signal: i32) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|&&(number, _)| number == signal)
            .map(|&(_, event)| event)
    }

    /// The signal's name as the log shows it.
    pub const fn signal_name(self) -> &'static str {
        match self {
            Self::Quit => "interrupt",
            Self::Terminate => "terminated",
            Self::ReopenLog => "user defined signal 1",
            Self::LameDuck => "user defined signal 2",
            Self::Reload => "hangup",
        }
    }
}

/// Why signals cannot be caught.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The handlers could not be registered.
    #[error("cannot catch signals: {0}; raise the limit of open files (ulimit -n)")]
    Register(io::Error),
    /// The thread could not be started.
    #[error("cannot start the signal thread: {0}; raise the limit of processes (ulimit -u)")]
    Thread(io::Error),
}

/// Registered signals, waiting to be delivered.
#[derive(Debug)]
pub struct SignalWatch {
    signals: Signals,
}

impl SignalWatch {
    /// Catches the five signals from now on, and the one of file sizes, which means nothing. The same signal several times before delivery counts
    /// once. Not for embedded servers: signals belong to the program.
    ///
    /// # Errors
    /// [`SignalError::Register`].
    pub fn register() -> Result<Self, SignalError> {
        let known = SignalEvent::ALL.map(|(signal, _)| signal);
        // A file that may not grow any more is an error of the write, not the end of the process.
        let all = known.into_iter().chain([SIGXFSZ]);
        let signals = Signals::new(all).map_err(SignalError::Register)?;
        Ok(Self { signals })
    }

    /// Starts a thread that logs each signal and calls `act`, one signal after the other, for the
    /// life of the process: `act` should hand over long work.
    ///
    /// # Errors
    /// [`SignalError::Thread`].
    pub fn deliver(
        mut self,
        mut act: impl FnMut(SignalEvent) + Send + 'static,
    ) -> Result<(), SignalError> {
        let run = move || {
            for event in self.signals.forever().filter_map(SignalEvent::of) {
                log::info!("Trapped {:?} signal", event.signal_name());
                act(event);
            }
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(run)
            .map(drop)
            .map_err(SignalError::Thread)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// One test: signals belong to the whole process.
    #[test]
    fn cfg_87_early_and_late_signals_arrive() {
        let watch = SignalWatch::register().unwrap();
        let send = |signal| kill_process(getpid(), signal).unwrap();
        send(Signal::HUP);
        let (sender, receiver) = mpsc::channel();
        watch
            .deliver(move |event| sender.send(event).unwrap())
            .unwrap();
        let receive = || receiver.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(receive(), SignalEvent::Reload, "sent before delivery began");
        for (signal, event) in [
            (Signal::INT, SignalEvent::Quit),
            (Signal::TERM, SignalEvent::Terminate),
            (Signal::USR1, SignalEvent::ReopenLog),
            (Signal::USR2, SignalEvent::LameDuck),
        ] {
            send(signal);
            assert_eq!(receive(), event);
        }
    }
}
