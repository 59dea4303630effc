//! Looking for an account: with those it imports from, for without them its imports could not be
//! (AUTH-57), and with those its auth service may put users into (AUTH-83).

use std::collections::HashSet;
use std::time::Instant;

use crate::auth::jwt::account::{ANYBODY, AccountClaims};
use crate::limits;

/// A search under way.
pub(super) struct Search {
    /// The account it began with.
    pub key: String,
    /// When it is given up.
    pub until: Instant,
    open: Vec<String>,
    seen: HashSet<String>,
    found: Vec<(String, String)>,
}

impl Search {
    pub fn new(key: &str, until: Instant) -> Self {
        Self {
            key: key.to_owned(),
            until,
            open: vec![key.to_owned()],
            seen: HashSet::from([key.to_owned()]),
            found: Vec::new(),
        }
    }

    /// The next account to look for, but none that is `there`: the search before this one may have
    /// found it while somebody still came to ask.
    pub fn next(&mut self, there: impl Fn(&str) -> bool) -> Option<String> {
        loop {
            let key = self.open.pop()?;
            if !there(&key) {
                return Some(key);
            }
        }
    }

    /// An account's token was found. False if it is another's, or none.
    pub fn take(&mut self, key: &str, token: &str) -> bool {
        let claims = match AccountClaims::decode(token) {
            Ok(claims) if claims.standard.subject == key => claims,
            _ => return false,
        };
        let body = claims.body;
        let imported = body.imports.into_iter().map(|it| it.account);
        let allowed = body.authorization.allowed_accounts.into_iter();
        for other in imported.chain(allowed.filter(|it| it != ANYBODY)) {
            if self.seen.len() < limits::ACCOUNTS_SOUGHT_MAX && self.seen.insert(other.clone()) {
                self.open.push(other);
            }
        }
        self.found.push((key.to_owned(), token.to_owned()));
        true
    }

    /// All that was found: accounts and their tokens.
    pub fn found(&self) -> Vec<(&str, Option<&str>)> {
        let found = self.found.iter();
        found
            .map(|(key, token)| (key.as_str(), Some(token.as_str())))
            .collect()
    }
}
