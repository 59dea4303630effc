//! Configuration file -> [`Options`]: the grammar, every top-level key of the stock server, and
//! its error texts (CFG-1..77, CFG-86).
//!
//! `lexer` -> `parser` -> tree of `value`s -> `keys` -> options. Nothing of a file is taken when
//! anything in it is wrong, and all that is wrong is reported at once.

pub mod accounts;
pub mod authorization;
pub mod changes;
pub mod digest;
pub mod error;
mod exports;
mod imports;
mod inactive;
mod jetstream;
mod keys;
mod leaf_changes;
pub mod leaf_check;
mod leafnodes;
pub mod lexer;
mod listen;
mod mappings;
mod operator;
pub mod parser;
mod rates;
mod report;
pub mod table;
mod tls;
mod validate;
pub mod value;
mod websocket;

use std::path::Path;

pub use error::{ConfigErrors, ParseError, Problem, ProblemKind};
pub use parser::Environment;
pub use validate::{StartWarning, start_warnings, validate};

use super::cli::Flags;
use crate::options::Options;
use report::Report;
use value::Map;

/// Options ready for a server, and what is to be said about how they came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// Defaults, overlaid by the file, overlaid by the flags.
    pub options: Options,
    /// Keys and flags that were checked and do nothing in this version, each once.
    pub inactive: Vec<String>,
    /// Warnings about the file, shown on standard error before the log begins.
    pub warnings: Vec<Problem>,
    /// The command line's flags; empty for a file alone. A reload needs them again.
    pub flags: Flags,
}

impl Configured {
    /// The one line of the log that names what does nothing yet.
    pub fn inactive_line(&self) -> Option<String> {
        (!self.inactive.is_empty())
            .then(|| format!("Accepted, not active yet: {}", self.inactive.join(", ")))
    }
}

/// Reads a file. Options are not yet validated against each other, because flags may still change
/// them: see [`validate`].
///
/// # Errors
/// [`ConfigErrors`]: all that is wrong, as stock prints it.
pub fn load(path: &Path, environment: Environment<'_>) -> Result<Configured, ConfigErrors> {
    load_with(path, environment, false)
}

/// [`load`], where `tls_off` says that the flag `--tls=false` takes the file's `tls` away.
pub(super) fn load_with(
    path: &Path,
    environment: Environment<'_>,
    tls_off: bool,
) -> Result<Configured, ConfigErrors> {
    let map = parser::parse_file(path, environment).map_err(ConfigErrors::Parse)?;
    from_tree(&map, path, tls_off)
}

/// Options from a tree that was parsed already; `path` is named in texts and kept in the options.
///
/// # Errors
/// As [`load`].
pub fn from_tree(map: &Map, path: &Path, tls_off: bool) -> Result<Configured, ConfigErrors> {
    let mut report = Report::default();
    let mut options = Options {
        config_file: Some(path.to_owned()),
        config_digest: digest::digest(map),
        ..Options::default()
    };
    if map.is_empty() {
        report.warnings.push(Problem {
            origin: None,
            kind: ProblemKind::Empty(path.to_string_lossy().into_owned()),
        });
    }
    keys::read(map, tls_off, &mut options, &mut report);
    let Report {
        errors,
        warnings,
        inactive,
    } = report;
    if !errors.is_empty() {
        return Err(ConfigErrors::Values { warnings, errors });
    }
    Ok(Configured {
        options,
        inactive,
        warnings,
        flags: Flags::default(),
    })
}
