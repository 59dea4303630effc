//! From options to the keys that are trusted: what does not go together (AUTH-59, AUTH-67).

use super::operator::OperatorClaims;
use super::token::{TokenError, is_public_key};
use super::trust::Keys;
use super::user::UserClaims;
use crate::options::{Options, ResolverOptions};

/// Options of operator mode that contradict each other; texts are stock's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// A fixed text.
    #[error("{0}")]
    Text(&'static str),
    /// A token in the options is none.
    #[error("error parsing operator JWT: {0}")]
    Operator(#[from] TokenError),
    /// This server is too old.
    #[error("{0}")]
    Version(String),
    /// Not a key.
    #[error("trusted Keys {0:?} are required to be a valid public operator nkey")]
    Key(String),
    /// Not a key.
    #[error("pinned account key {0:?} is not a valid public account nkey")]
    Pinned(String),
    /// A token in the options is none.
    #[error("preload account error for {key:?}: {error}")]
    Preload {
        /// The account.
        key: String,
        /// What is wrong.
        error: TokenError,
    },
}

/// The keys a server of this version trusts under these options; `None` where it is not in
/// operator mode.
///
/// # Errors
/// [`SetupError`] names what does not go together.
pub fn keys(options: &Options, version: &str) -> Result<Option<Keys>, SetupError> {
    let operator = &options.operator;
    let sentinel = operator.default_sentinel.as_ref();
    if operator.operators.is_empty() {
        if sentinel.is_some() {
            let text = "default sentinel requires operators and accounts";
            return Err(SetupError::Text(text));
        }
        if operator.trusted_keys.is_empty() {
            return Ok(None);
        }
    }
    let mut keys = Keys {
        trusted: operator.trusted_keys.iter().cloned().collect(),
        pinned: operator
            .pinned_accounts
            .as_ref()
            .map(|it| it.iter().cloned().collect()),
        default_sentinel: sentinel.cloned(),
        ..Keys::default()
    };
    if !operator.operators.is_empty() {
        check(options)?;
        let claims: Vec<OperatorClaims> = operator
            .operators
            .iter()
            .map(|token| OperatorClaims::decode(token))
            .collect::<Result<_, _>>()?;
        check_system_account(options, &claims)?;
        for claims in &claims {
            claims.check_version(version).map_err(SetupError::Version)?;
            keys.trusted.extend(claims.trusted_keys().cloned());
            if claims.body.strict_signing_key_usage {
                keys.strict.extend(claims.body.signing_keys.iter().cloned());
            }
        }
    }
    if let Some(bad) = keys.trusted.iter().find(|it| !is_public_key(it, 'O')) {
        return Err(SetupError::Key(bad.clone()));
    }
    if let Some(pinned) = &mut keys.pinned {
        if let Some(bad) = pinned.iter().find(|it| !is_public_key(it, 'A')) {
            return Err(SetupError::Pinned(bad.clone()));
        }
        // The operator's own can always connect.
        pinned.insert(options.system_account.clone());
    }
    let read_only = matches!(operator.resolver, Some(ResolverOptions::Url(_)));
    if read_only && !operator.preload.is_empty() {
        let text =
            "resolver preloads only available for writeable resolver types MEM/DIR/CACHE_DIR";
        return Err(SetupError::Text(text));
    }
    for (key, token) in &operator.preload {
        if let Err(error) = super::account::AccountClaims::decode(token) {
            let key = key.clone();
            return Err(SetupError::Preload { key, error });
        }
    }
    Ok(Some(keys))
}

fn check(options: &Options) -> Result<(), SetupError> {
    let operator = &options.operator;
    if let Some(sentinel) = &operator.default_sentinel {
        let claims = UserClaims::decode(sentinel);
        let claims = claims.map_err(|_| SetupError::Text("default sentinel JWT not valid"))?;
        let limits = &claims.body.limits;
        let scoped = !claims.body.issuer_account.is_empty() && *limits == Default::default();
        if !limits.bearer_token && !scoped {
            let text = "default sentinel must be a bearer token";
            return Err(SetupError::Text(text));
        }
    }
    let refused = [
        (
            // The one operator names no account server either: stock asks one without a name.
            operator.resolver.is_none() && operator.operators.len() == 1,
            "could not fetch <\"/accounts/\">: Get \"/accounts/\": unsupported protocol scheme \"\"",
        ),
        (
            operator.resolver.is_none(),
            "operators require an account resolver to be configured",
        ),
        (
            !options.accounts.is_empty(),
            "operators do not allow Accounts to be configured directly",
        ),
        (
            !options.auth.users.is_empty(),
            "operators do not allow users to be configured directly",
        ),
        (
            !operator.trusted_keys.is_empty(),
            "conflicting options for 'TrustedKeys' and 'TrustedOperators'",
        ),
        (
            options.auth.callout.is_some(),
            "operators do not allow authorization callouts to be configured directly",
        ),
        (
            options.auth.no_auth_user.is_some(),
            "no_auth_user not compatible with Trusted Operator",
        ),
    ];
    match refused.iter().find(|(refused, _)| *refused) {
        Some((_, text)) => Err(SetupError::Text(text)),
        None => Ok(()),
    }
}

fn check_system_account(options: &Options, claims: &[OperatorClaims]) -> Result<(), SetupError> {
    let named = claims.iter().map(|it| it.body.system_account.as_str());
    let mut named = named.filter(|it| !it.is_empty()).peekable();
    if options.system_account != crate::ids::SYSTEM_ACCOUNT {
        let some = named.peek().is_some();
        if some && !named.any(|it| it == options.system_account) {
            let text = "system_account in config and operator JWT must be identical";
            return Err(SetupError::Text(text));
        }
        return Ok(());
    }
    let nats_based = matches!(
        options.operator.resolver,
        Some(ResolverOptions::Full(_) | ResolverOptions::Cache(_))
    );
    if nats_based && named.peek().is_none() {
        let text = "using nats based account resolver - the system account needs to be specified \
                    in configuration or the operator jwt";
        return Err(SetupError::Text(text));
    }
    Ok(())
}
