//! What must hold between keys, whichever of file and flags set them (CFG-75, CFG-76).

use super::error::{Problem, ProblemKind};
use super::{jetstream, websocket};
use crate::auth::jwt::setup;
use crate::options::Options;

/// New enough for every operator: which one this is, is known to the server alone.
const ANY_VERSION: &str = "999999.0.0";
/// Payloads above this are warned about (CORE-54).
const PAYLOAD_WARNED: usize = 8 * 1024 * 1024;

/// Checks options that are complete. The first problem is the answer, in stock's order.
///
/// # Errors
/// What does not go together.
pub fn validate(options: &Options) -> Result<(), Problem> {
    check(options).map_err(|kind| Problem { origin: None, kind })
}

fn check(options: &Options) -> Result<(), ProblemKind> {
    let (grace, duration) = (options.lame_duck_grace_period, options.lame_duck_duration);
    if grace >= duration {
        return Err(ProblemKind::LameDuckGrace {
            grace: grace.into(),
            duration: duration.into(),
        });
    }
    let client = &options.client;
    if client.max_payload > client.max_pending {
        return Err(ProblemKind::PayloadOverPending {
            max_payload: signed(client.max_payload as u128),
            max_pending: signed(client.max_pending as u128),
        });
    }
    if options
        .server_name
        .as_deref()
        .is_some_and(|it| it.contains(' '))
    {
        return Err(ProblemKind::Stock("server name cannot contain spaces"));
    }
    if let Some(name) = &options.auth.no_auth_user {
        no_auth_user(options, name)?;
    }
    if let Err(error) = setup::keys(options, ANY_VERSION) {
        let found = error.to_string();
        return Err(ProblemKind::TypeIn { text: "", found });
    }
    jetstream::validate(options)?;
    websocket::validate(options)
}

/// A user that stands for those without credentials must be one (AUTH-5).
pub(super) fn no_auth_user(options: &Options, name: &str) -> Result<(), ProblemKind> {
    let auth = &options.auth;
    if auth.users.is_empty() {
        return Err(ProblemKind::NoAuthUserWithoutUsers(name.to_owned()));
    }
    let known = |it: &crate::options::UserOptions| match &it.nkey {
        Some(nkey) => nkey == name,
        None => it.username == name,
    };
    if !auth.users.iter().any(known) {
        return Err(ProblemKind::NoAuthUserUnknown(name.to_owned()));
    }
    Ok(())
}

fn signed(number: u128) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is said in the log once the server starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StartWarning {
    /// CFG-76.
    #[error("Plaintext passwords detected, use nkeys or bcrypt")]
    PlaintextPasswords,
    /// CORE-54.
    #[error(
        "Maximum payloads over 8.00 MB are generally discouraged and could lead to poor performance"
    )]
    LargePayload,
    /// CFG-69.
    #[error(
        "The option `default_js_domain` is a temporary backwards compatibility measure and will be removed"
    )]
    DefaultDomain,
}

/// The warnings options give rise to, for the log.
pub fn start_warnings(options: &Options) -> Vec<StartWarning> {
    let mut warnings = Vec::new();
    if options.client.max_payload > PAYLOAD_WARNED {
        warnings.push(StartWarning::LargePayload);
    }
    if !options.jetstream.default_domains.is_empty() {
        warnings.push(StartWarning::DefaultDomain);
    }
    let auth = &options.auth;
    let single = auth.password.iter();
    let users = auth.users.iter().filter(|it| it.nkey.is_none());
    if single
        .chain(users.map(|it| &it.password))
        .any(|it| !is_bcrypt(it))
    {
        warnings.push(StartWarning::PlaintextPasswords);
    }
    warnings
}

/// `$2a$10$` and its kin (AUTH-2).
fn is_bcrypt(text: &str) -> bool {
    ["$2a$", "$2b$", "$2x$", "$2y$"]
        .iter()
        .any(|it| text.starts_with(it))
}
