//! The process-wide logger: installation, levels, orders to the writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::error::LogError;
use super::line::{FATAL, Line, Severity};
use super::queue::{Item, Queue};
use super::writer::{self, Output};
use crate::options::LogOptions;

/// Root of the targets whose debug and trace lines are ours; libraries' own are left out, as no
/// user of `-DV` asked for them.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");

static FACADE: Facade = Facade;
static ACTIVE: OnceLock<LogHandle> = OnceLock::new();
static STARTING: Mutex<Starting> = Mutex::new(Starting { installed: false });

/// Serialises [`start`].
struct Starting {
    /// [`FACADE`] is the process's logger, though starting the rest may have failed since.
    installed: bool,
}

/// Starts the process-wide log, or joins the one that runs.
///
/// There is one log per process: servers started later in the same process share the output of
/// the first, and can only add debug and trace lines to it. [`LogHandle::configure`] changes it.
///
/// # Errors
/// [`LogError::ForeignLogger`] if the program installed its own logger: the server's lines go
/// there and the caller may carry on. Other variants name what cannot be opened, and the cure.
///
/// ```
/// use ramjet::ops::logging::{LogError, start};
///
/// struct Mine;
/// impl log::Log for Mine {
///     fn enabled(&self, _: &log::Metadata<'_>) -> bool { true }
///     fn log(&self, _: &log::Record<'_>) {}
///     fn flush(&self) {}
/// }
/// log::set_logger(&Mine).unwrap();
/// let answer = start(&ramjet::options::LogOptions::default());
/// assert!(matches!(answer, Err(LogError::ForeignLogger)));
/// ```
pub fn start(options: &LogOptions) -> Result<LogHandle, LogError> {
    let mut starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(handle) = ACTIVE.get() {
        handle.set_levels(
            options.debug || handle.pipeline.debug.load(Ordering::Relaxed),
            options.trace || handle.pipeline.trace.load(Ordering::Relaxed),
        );
        return Ok(handle.clone());
    }
    let output = Output::open(options)?;
    if !starting.installed {
        log::set_logger(&FACADE).map_err(|_| LogError::ForeignLogger)?;
        starting.installed = true;
    }
    let handle = LogHandle {
        pipeline: Pipeline::spawn(output)?,
    };
    handle.set_levels(options.debug, options.trace);
    Ok(ACTIVE.get_or_init(|| handle).clone())
}

/// The running log. Clones are the same log.
#[derive(Clone)]
pub struct LogHandle {
    pipeline: Arc<Pipeline>,
}

impl LogHandle {
    /// Opens the log file anew under its name (SIGUSR1, CFG-87); for other outputs a line says
    /// that there is none. Does not wait.
    pub fn reopen(&self) {
        self.pipeline.queue.push_order(Item::Reopen);
    }

    /// Switches `[DBG]` and `[TRC]` lines on or off, each by itself.
    pub fn set_levels(&self, debug: bool, trace: bool) {
        self.pipeline.debug.store(debug, Ordering::Relaxed);
        self.pipeline.trace.store(trace, Ordering::Relaxed);
        log::set_max_level(if trace {
            LevelFilter::Trace
        } else if debug {
            LevelFilter::Debug
        } else {
            LevelFilter::Info
        });
    }

    /// Takes over changed options: output, time format, limits and levels (CFG-93). Opens files
    /// and sockets in the calling thread.
    ///
    /// # Errors
    /// As [`start`]; then nothing has changed.
    pub fn configure(&self, options: &LogOptions) -> Result<(), LogError> {
        self.adopt(NewLog::open(options)?);
        Ok(())
    }

    /// Goes on with what was opened before; lines logged until now still go the old way.
    pub fn adopt(&self, new: NewLog) {
        let NewLog {
            output,
            debug,
            trace,
        } = new;
        self.pipeline.queue.push_order(Item::Replace(output));
        self.set_levels(debug, trace);
    }

    /// Waits until every line logged so far is written, at most two seconds. The last call before
    /// the process ends.
    pub fn flush(&self) {
        self.pipeline.queue.flush();
    }
}

/// Output that is open and not in use yet: a reload opens it before it changes anything.
pub struct NewLog {
    output: Box<Output>,
    debug: bool,
    trace: bool,
}

impl NewLog {
    /// Opens what `options` ask for.
    ///
    /// # Errors
    /// What cannot be opened.
    pub fn open(options: &LogOptions) -> Result<Self, LogError> {
        Ok(Self {
            output: Box::new(Output::open(options)?),
            debug: options.debug,
            trace: options.trace,
        })
    }
}

impl std::fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogHandle")
            .field("debug", &self.pipeline.debug)
            .field("trace", &self.pipeline.trace)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Pipeline {
    queue: Queue,
    debug: AtomicBool,
    trace: AtomicBool,
}

impl Pipeline {
    fn spawn(output: Output) -> Result<Arc<Self>, LogError> {
        let pipeline = Arc::new(Self::default());
        let shared = Arc::clone(&pipeline);
        thread::Builder::new()
            .name("log".into())
            .spawn(move || writer::run(&shared.queue, output))
            .map_err(LogError::Thread)?;
        Ok(pipeline)
    }

    fn takes(&self, metadata: &Metadata<'_>) -> bool {
        let shown = match metadata.level() {
            Level::Error | Level::Warn | Level::Info => return true,
            Level::Debug => self.debug.load(Ordering::Relaxed),
            Level::Trace => self.trace.load(Ordering::Relaxed),
        };
        shown && is_own(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        let severity = Severity::of(record);
        self.queue
            .push_line(Line::now(severity, record.args().to_string()));
        if severity == Severity::Fatal {
            self.queue.flush();
        }
    }
}

fn is_own(target: &str) -> bool {
    target == FATAL
        || target
            .strip_prefix(OWN_TARGET)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What the `log` crate holds for the life of the process.
struct Facade;

impl Log for Facade {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        ACTIVE
            .get()
            .is_some_and(|handle| handle.pipeline.takes(metadata))
    }

    fn log(&self, record: &Record<'_>) {
        if let Some(handle) = ACTIVE.get()
            && handle.pipeline.takes(record.metadata())
        {
            handle.pipeline.log(record);
        }
    }

    fn flush(&self) {
        if let Some(handle) = ACTIVE.get() {
            handle.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn log(pipeline: &Pipeline, level: Level, target: &str, text: &str) {
        let metadata = Metadata::builder().level(level).target(target).build();
        if pipeline.takes(&metadata) {
            pipeline.log(
                &Record::builder()
                    .metadata(metadata)
                    .args(format_args!("{text}"))
                    .build(),
            );
        }
    }

    /// The whole way from a call to the bytes of a file, in this order.
    #[test]
    fn lines_reach_the_file_in_order_and_reopen_follows_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        let options = LogOptions {
            file: Some(path.clone()),
            logtime: false,
            ..LogOptions::default()
        };
        let pipeline = Pipeline::spawn(Output::open(&options).unwrap()).unwrap();
        let handle = LogHandle {
            pipeline: Arc::clone(&pipeline),
        };
        pipeline.debug.store(true, Ordering::Relaxed);
        log(&pipeline, Level::Info, "ramjet::server", "one");
        log(&pipeline, Level::Debug, "ramjet", "two");
        log(&pipeline, Level::Trace, "ramjet", "off");
        log(&pipeline, Level::Debug, "ramjetty", "not ours");
        log(&pipeline, Level::Warn, "library", "three");
        log(&pipeline, Level::Error, FATAL, "four");
        let pid = std::process::id();
        let expected = format!(
            "[{pid}] [INF] one\n[{pid}] [DBG] two\n[{pid}] [WRN] three\n[{pid}] [FTL] four\n"
        );
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            expected,
            "FTL is written on return"
        );

        fs::rename(&path, folder.path().join("old")).unwrap();
        handle.reopen();
        handle.flush();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!("[{pid}] [INF] File log re-opened\n")
        );

        fs::rename(&path, folder.path().join("older")).unwrap();
        fs::create_dir(&path).unwrap();
        handle.reopen();
        handle.flush();
        let kept = fs::read_to_string(folder.path().join("older")).unwrap();
        assert!(kept.contains("[ERR] File log re-open failed"), "{kept}");
    }

    #[test]
    fn oversized_file_is_rotated_at_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.log");
        fs::write(&path, "x".repeat(2000)).unwrap();
        let options = LogOptions {
            file: Some(path.clone()),
            size_limit: 1000,
            ..LogOptions::default()
        };
        let pipeline = Pipeline::spawn(Output::open(&options).unwrap()).unwrap();
        log(&pipeline, Level::Error, FATAL, "now");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("Rotated log, backup saved as"), "{text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    /// The only test that touches the process's own logger.
    #[test]
    fn one_log_per_process_shared_and_reconfigured() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("first.log");
        let options = LogOptions {
            file: Some(path.clone()),
            ..LogOptions::default()
        };
        let first = start(&options).unwrap();
        let second = start(&LogOptions {
            debug: true,
            ..LogOptions::default()
        })
        .unwrap();
        assert!(Arc::ptr_eq(&first.pipeline, &second.pipeline));
        log::debug!("from the second");
        second.flush();
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains("[DBG] from the second\n")
        );

        let next = folder.path().join("next.log");
        first
            .configure(&LogOptions {
                file: Some(next.clone()),
                ..LogOptions::default()
            })
            .unwrap();
        log::debug!("hidden");
        log::error!(target: FATAL, "in the next");
        let text = fs::read_to_string(&next).unwrap();
        assert!(
            text.contains("[FTL] in the next\n") && !text.contains("hidden"),
            "{text}"
        );
        let bad = LogOptions {
            file: Some("/nonexistent/x".into()),
            ..LogOptions::default()
        };
        assert!(matches!(
            first.configure(&bad),
            Err(LogError::OpenFile { .. })
        ));
        // Other tests' lines are no business of a folder that goes away.
        first.configure(&LogOptions::default()).unwrap();
    }
}
