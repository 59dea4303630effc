//! Command line -> what to do (CFG-78..85, PROC-3).
//!
//! The syntax is that of Go's flag package, because scripts and charts for the stock server use
//! all of it: one dash or two, `-p 1` and `-p=1`, switches only alone or with `=`, and nothing is
//! a flag behind the first word that is none.

use std::ffi::OsString;
use std::path::PathBuf;

mod flags;
mod redact;
mod usage;

pub use flags::{FlagError, Flags};
pub use redact::redacted;

use flags::Flag;

use super::banner::STOCK_VERSION;
use super::config::{self, ConfigErrors, Configured, Environment, Problem};
use super::memory_limit::{self, MemoryLimitError};
use crate::options::Options;

/// Name in front of every message, whatever the executable is called: tools match it.
const NAME: &str = "nats-server";

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Serve.
    Run(Box<Configured>),
    /// `-t`: the file is valid. [`Self::message`] says so, on standard error.
    CheckConfig {
        /// The file.
        path: PathBuf,
        /// `sha256:..` of what it says.
        digest: String,
    },
    /// `check-store DIR`: read the streams below a directory and say what is there.
    CheckStore {
        /// The directory.
        path: PathBuf,
        /// How the server is set up that keeps them: what they are encrypted with. Defaults without
        /// a configuration file.
        options: Box<Options>,
        /// `--repair`: damaged ones are to be put in order.
        repairs: bool,
    },
    /// `-v`, `version`: [`Self::message`] on standard output.
    PrintVersion,
    /// `-h`, `help`: [`Self::message`] on standard output.
    PrintHelp,
    /// `--help_tls`: [`Self::message`] on standard output.
    PrintTlsHelp,
    /// `--help-config`: [`Self::message`] on standard output.
    PrintConfigHelp,
    /// `--signal`: to be sent to another process.
    Signal {
        /// `ldm`, `stop`, `quit`, `term`, `reopen`, `reload`; not checked here.
        command: String,
        /// Pid, file with a pid, or a pattern; empty for the one server that runs.
        target: String,
    },
}

impl Command {
    /// What to print, with its newline; empty for commands that print nothing.
    pub fn message(&self) -> String {
        match self {
            Self::Run(_) | Self::Signal { .. } | Self::CheckStore { .. } => String::new(),
            Self::CheckConfig { path, digest } => format!(
                "{NAME}: configuration file {} is valid ({digest})\n",
                path.display()
            ),
            Self::PrintVersion => format!("{NAME}: v{STOCK_VERSION}\n"),
            Self::PrintHelp => usage::USAGE.to_owned(),
            Self::PrintTlsHelp => usage::TLS_USAGE.to_owned(),
            Self::PrintConfigHelp => config::table::listing(),
        }
    }
}

/// A command line or a file that does not lead to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CliError {
    /// For standard error, with its newline.
    pub stderr: String,
    /// For standard output: the usage, where stock shows it.
    pub stdout: String,
    /// 1; 0 for a wrong flag, as in stock.
    pub exit_code: u8,
}

impl CliError {
    fn fatal(text: impl std::fmt::Display) -> Self {
        Self {
            stderr: format!("{NAME}: {text}\n"),
            stdout: String::new(),
            exit_code: 1,
        }
    }

    fn usage(error: &FlagError) -> Self {
        Self {
            stderr: format!("{error}\n"),
            stdout: usage::USAGE.to_owned(),
            exit_code: 0,
        }
    }
}

/// Turns arguments, without the program's name, into a command. Reads the configuration file, and
/// nothing else.
///
/// # Errors
/// [`CliError`]: what to print and the exit code.
pub fn parse(argv: &[OsString], environment: Environment<'_>) -> Result<Command, CliError> {
    let arguments: Vec<String> = argv
        .iter()
        .map(|it| it.to_string_lossy().into_owned())
        .collect();
    let (flags, words) = Flags::parse(&arguments).map_err(|error| CliError::usage(&error))?;
    if flags.is_on(Flag::Version) {
        return Ok(Command::PrintVersion);
    }
    if flags.is_on(Flag::Help) {
        return Ok(Command::PrintHelp);
    }
    if flags.is_on(Flag::HelpTls) {
        return Ok(Command::PrintTlsHelp);
    }
    if flags.is_on(Flag::HelpConfig) {
        return Ok(Command::PrintConfigHelp);
    }
    if let Some(word) = words.first() {
        return match word.to_lowercase().as_str() {
            "version" => Ok(Command::PrintVersion),
            "help" => Ok(Command::PrintHelp),
            "check-store" => parse_check_store(flags, &words[1..], environment),
            _ => Err(CliError::fatal(format_args!(
                "unrecognized command: {word:?}"
            ))),
        };
    }
    if let Some(signal) = flags.text(Flag::Signal).filter(|it| !it.is_empty()) {
        return parse_signal(signal);
    }
    let check_only = flags.is_on(Flag::CheckConfig);
    if check_only {
        let Some(path) = flags.config_file() else {
            return Err(CliError::fatal(
                "must specify [-c, --config] option to check configuration file syntax",
            ));
        };
        let configured =
            config::load_with(path, environment, flags.tls_off()).map_err(CliError::fatal)?;
        if !configured.warnings.is_empty() {
            return Err(CliError::fatal(ConfigErrors::Values {
                warnings: configured.warnings,
                errors: Vec::new(),
            }));
        }
        return Ok(Command::CheckConfig {
            path: path.to_owned(),
            digest: configured.options.config_digest,
        });
    }
    let configured = configure(flags, environment).map_err(CliError::fatal)?;
    Ok(Command::Run(Box::new(configured)))
}

/// Flags may stand before the command, before its directory and behind it; `--repair` is its own.
fn parse_check_store(
    flags: Flags,
    words: &[String],
    environment: Environment<'_>,
) -> Result<Command, CliError> {
    let (own, words): (Vec<String>, Vec<String>) =
        words.iter().cloned().partition(|it| it == "--repair");
    let (before, words) = Flags::parse(&words).map_err(|error| CliError::usage(&error))?;
    let [path, words @ ..] = words else {
        return Err(CliError::fatal("check-store needs a directory"));
    };
    let (behind, _) = Flags::parse(words).map_err(|error| CliError::usage(&error))?;
    let all = [behind, before, flags];
    let file = all.iter().find_map(Flags::config_file);
    let options = match file {
        Some(file) => {
            let configured = config::load_with(file, environment, true);
            configured.map_err(CliError::fatal)?.options
        }
        None => Options::default(),
    };
    Ok(Command::CheckStore {
        path: path.into(),
        options: Box::new(options),
        repairs: !own.is_empty(),
    })
}

fn parse_signal(argument: &str) -> Result<Command, CliError> {
    let parts: Vec<&str> = argument.split('=').collect();
    match parts.as_slice() {
        [command] => Ok(Command::Signal {
            command: (*command).to_owned(),
            target: String::new(),
        }),
        [command, target] => Ok(Command::Signal {
            command: (*command).to_owned(),
            target: (*target).to_owned(),
        }),
        surplus => Err(CliError::fatal(format_args!(
            "invalid signal parameters: [{}]",
            surplus[2..].join(" ")
        ))),
    }
}

/// Options from the file the flags name, if any, and the flags over it, checked against each
/// other. Also what a reload calls, with the flags of the start (CFG-83, CFG-91).
///
/// # Errors
/// All that is wrong with the file, or the first thing that does not go together.
pub fn configure(flags: Flags, environment: Environment<'_>) -> Result<Configured, ConfigureError> {
    let mut configured = match flags.config_file() {
        Some(path) => config::load_with(path, environment, flags.tls_off())?,
        None => Configured {
            options: Options::default(),
            inactive: Vec::new(),
            warnings: Vec::new(),
            flags: Flags::default(),
        },
    };
    flags.apply(&mut configured.options)?;
    let limit = environment(memory_limit::VARIABLE);
    configured.options.memory_limit = memory_limit::parse(limit.as_deref())?;
    let in_cluster = configured.inactive.iter().any(|it| it == "cluster");
    for key in flags.inactive(in_cluster)? {
        if !configured.inactive.contains(&key) {
            configured.inactive.push(key);
        }
    }
    config::validate(&configured.options)?;
    configured.flags = flags;
    Ok(configured)
}

/// Why file and flags give no options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigureError {
    /// The file.
    #[error(transparent)]
    File(#[from] ConfigErrors),
    /// A flag, or file and flags together.
    #[error("{0}")]
    Flags(Problem),
    /// The environment.
    #[error(transparent)]
    MemoryLimit(#[from] MemoryLimitError),
}

impl From<Problem> for ConfigureError {
    fn from(problem: Problem) -> Self {
        Self::Flags(problem)
    }
}
