//! Leaf node options that do not go together, or with the rest, once all is read (TOPO-49, TOPO-50).

use nkeys::{KeyPair, KeyPairType};

use crate::ids::GLOBAL_ACCOUNT;
use crate::options::Options;

/// Looks at what only the whole configuration tells.
///
/// # Errors
/// What is wrong, in stock's words.
pub fn check(options: &Options) -> Result<(), String> {
    let operator = &options.operator;
    match operator.operators.is_empty() && operator.trusted_keys.is_empty() {
        true => accounts(options)?,
        false => keys(options)?,
    }
    for remote in &options.leafnodes.remotes {
        let websockets = remote.urls.iter().filter(|it| is_websocket(it)).count();
        if websockets != 0 && websockets != remote.urls.len() {
            let urls: Vec<_> = remote.shown_urls().collect();
            return Err(format!(
                "remote leaf node configuration cannot have a mix of websocket and non-websocket \
                 urls: [{}]",
                urls.join(" ")
            ));
        }
    }
    Ok(())
}

/// Accounts must be in the configuration.
fn accounts(options: &Options) -> Result<(), String> {
    let leaf = &options.leafnodes;
    let there = |name: &str| {
        let system = name == options.system_account && !options.no_system_account;
        let mut all = options.accounts.iter();
        name.is_empty() || name == GLOBAL_ACCOUNT || system || all.any(|it| it.name == name)
    };
    let users = leaf.users.iter().map(|it| (&it.account, "authorization"));
    let remotes = leaf.remotes.iter().map(|it| (&it.account, "remote"));
    match users.chain(remotes).find(|(name, _)| !there(name)) {
        None => Ok(()),
        Some((name, place)) => Err(format!(
            "cannot find local account {name:?} specified in leafnode {place}"
        )),
    }
}

/// Accounts are known by their keys.
fn keys(options: &Options) -> Result<(), String> {
    let leaf = &options.leafnodes;
    if !leaf.users.is_empty() && !leaf.single_user {
        return Err("operator mode does not allow specifying users in leafnode config".into());
    }
    if !leaf.remotes.iter().all(|it| is_account(&it.account)) {
        return Err(
            "operator mode requires account nkeys in remotes. Please add an `account` key to each \
             remote in your `leafnodes` section, to assign it to an account. Each account value \
             should be a 56 character public key, starting with the letter 'A'"
                .into(),
        );
    }
    let mut accounts = leaf.users.iter().map(|it| &it.account);
    if leaf.port != 0 && accounts.any(|it| !it.is_empty() && !is_account(it)) {
        return Err("operator mode and non account nkeys are incompatible".into());
    }
    Ok(())
}

fn is_account(key: &str) -> bool {
    KeyPair::from_public_key(key).is_ok_and(|it| it.key_pair_type() == KeyPairType::Account)
}

fn is_websocket(url: &str) -> bool {
    url.starts_with("ws://") || url.starts_with("wss://")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{
        AccountOptions, LeafOptions, OperatorOptions, RemoteOptions, UserOptions,
    };
    use std::sync::Arc;

    fn remote(urls: &[&str], account: &str) -> RemoteOptions {
        RemoteOptions {
            urls: urls.iter().map(|it| (*it).to_owned()).collect(),
            account: account.into(),
            ..RemoteOptions::default()
        }
    }

    fn with(remote: RemoteOptions) -> Options {
        Options {
            accounts: vec![AccountOptions {
                name: "A".into(),
                ..AccountOptions::default()
            }],
            leafnodes: LeafOptions {
                remotes: vec![remote],
                ..LeafOptions::default()
            },
            ..Options::default()
        }
    }

    #[test]
    fn topo_050_accounts_of_remotes_and_users_are_there() {
        for account in ["", "$G", "A", "$SYS"] {
            assert_eq!(check(&with(remote(&["h:1"], account))), Ok(()), "{account}");
        }
        let text = "cannot find local account \"B\" specified in leafnode remote";
        assert_eq!(check(&with(remote(&["h:1"], "B"))), Err(text.into()));
        let mut options = with(remote(&["h:1"], "A"));
        options.leafnodes.users = vec![UserOptions {
            account: "B".into(),
            ..UserOptions::default()
        }];
        let text = "cannot find local account \"B\" specified in leafnode authorization";
        assert_eq!(check(&options), Err(text.into()));
    }

    #[test]
    fn topo_050_operators_know_accounts_by_their_keys() {
        let key = KeyPair::new_account().public_key();
        let mut options = with(remote(&["h:1"], &key));
        options.operator = Arc::new(OperatorOptions {
            trusted_keys: vec!["O".into()],
            ..OperatorOptions::default()
        });
        assert_eq!(check(&options), Ok(()));
        for account in ["", "A", &KeyPair::new_user().public_key()] {
            options.leafnodes.remotes = vec![remote(&["h:1"], account)];
            let text = check(&options).expect_err("no key");
            assert!(
                text.starts_with("operator mode requires account nkeys"),
                "{text}"
            );
        }
        options.leafnodes.remotes.clear();
        options.leafnodes.users = vec![UserOptions::default()];
        assert!(check(&options).is_err());
        options.leafnodes.single_user = true;
        assert_eq!(check(&options), Ok(()));
    }

    #[test]
    fn topo_046_all_places_are_websockets_or_none() {
        assert_eq!(check(&with(remote(&["ws://u:p@h", "wss://h"], ""))), Ok(()));
        let text = "remote leaf node configuration cannot have a mix of websocket and \
                    non-websocket urls: [\"ws://u:xxxxx@h\" \"nats-leaf://h\"]";
        let mixed = with(remote(&["ws://u:p@h", "nats-leaf://h"], ""));
        assert_eq!(check(&mixed), Err(text.into()));
    }
}
