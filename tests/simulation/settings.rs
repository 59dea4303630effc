//! What the simulated server is told: two accounts, and a user of each.

use std::sync::Arc;
use std::time::Duration;

use ramjet::accounts::registry::Accounts;
use ramjet::auth::authenticate::Authenticator;
use ramjet::options::{AccountOptions, AuthOptions, ClientLimits, Options, UserOptions};
use ramjet::shard::settings::Settings;

/// Accounts, and their only users.
pub const ACCOUNTS: [&str; 2] = ["A", "B"];

/// Settings of a server that gives up a receiver with more than `max_pending` bytes waiting.
pub fn settings(max_pending: usize) -> Settings {
    let account = |name: &str| AccountOptions {
        name: name.to_owned(),
        ..AccountOptions::default()
    };
    let user = |name: &str| UserOptions {
        username: name.to_owned(),
        account: name.to_owned(),
        ..UserOptions::default()
    };
    let options = Options {
        accounts: ACCOUNTS.map(account).into(),
        auth: AuthOptions {
            users: ACCOUNTS.map(user).into(),
            // A reload would put out who has not said yet who it is.
            no_auth_user: Some(ACCOUNTS[0].to_owned()),
            ..AuthOptions::default()
        },
        client: ClientLimits {
            ping_interval: Duration::from_secs(3600),
            max_pending,
            ..ClientLimits::default()
        },
        ..Options::default()
    };
    let accounts = Arc::new(Accounts::new(&options).expect("names"));
    let authenticator = Authenticator::with_accounts(&options.auth, &accounts);
    Settings::of(&options, accounts, Arc::new(authenticator.expect("users")))
}
