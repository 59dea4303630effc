//! All accounts: one immutable view after another, made by the one writer, read by every shard.
//!
//! An id belongs to one name for the life of the process: an account that goes and comes back has
//! its old id, and what shards still hold under it means the same as before.

use std::collections::HashMap;
use std::sync::Arc;

use super::account::Account;
use super::default_domain;
use super::graph::{Graph, GraphError};
use super::mapping::{MappingError, Mappings};
use crate::ids::{AccountId, GLOBAL_ACCOUNT};
use crate::options::{AccountOptions, Options};

/// Why accounts cannot be as they are asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// A mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// An import or export.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// A view of all accounts.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// By id; `None` where an account has gone.
    all: Vec<Option<Arc<Account>>>,
    /// Ids ever given out.
    ids: HashMap<Box<str>, AccountId>,
    system: Option<AccountId>,
}

impl Default for Accounts {
    /// `$G` alone.
    fn default() -> Self {
        let mut accounts = Self {
            all: Vec::new(),
            ids: HashMap::new(),
            system: None,
        };
        accounts.add(GLOBAL_ACCOUNT);
        accounts
    }
}

impl Accounts {
    /// The accounts a server starts with.
    ///
    /// # Errors
    /// As [`Accounts::next`].
    pub fn new(options: &Options) -> Result<Self, AccountError> {
        Self::default().next(options)
    }

    /// The view after this one.
    ///
    /// # Errors
    /// What does not go together. Options that come from a file have been checked for it.
    pub fn next(&self, options: &Options) -> Result<Self, AccountError> {
        let (next, refused) = self.next_but(options)?;
        match refused.into_iter().next() {
            Some(first) => Err(first.into()),
            None => Ok(next),
        }
    }

    /// The same, without what does not go together of imports and exports: an account is not to
    /// suffer from another one's.
    ///
    /// # Errors
    /// A mapping.
    pub fn next_but(&self, options: &Options) -> Result<(Self, Vec<GraphError>), AccountError> {
        let mut next = Self {
            all: vec![None; self.all.len()],
            ids: self.ids.clone(),
            system: None,
        };
        next.add(GLOBAL_ACCOUNT);
        if !options.no_system_account {
            next.system = Some(next.add(&options.system_account));
        }
        for entry in &options.accounts {
            let id = next.add(&entry.name);
            next.configure(id, entry, options)?;
        }
        // Stock forgets nothing of `$G` where the file says nothing of it any more: its mappings
        // go at a restart only.
        if !options.accounts.iter().any(|it| it.name == GLOBAL_ACCOUNT)
            && let Some(before) = self.get(AccountId::GLOBAL)
            && let Some(Some(global)) = next.all.first_mut()
            && let Some(global) = Arc::get_mut(global)
        {
            global.mappings.clone_from(&before.mappings);
        }
        let mut graph = Graph::new(&mut next.all, &next.ids);
        let refused = graph.connect(&options.accounts);
        for (old, new) in self.all.iter().zip(&mut next.all) {
            if let (Some(old), Some(new)) = (old, new)
                && let Some(new) = Arc::get_mut(new)
            {
                new.usage = Arc::clone(&old.usage);
            }
        }
        Ok((next, refused))
    }

    /// Everything that is wrong with the imports and exports of these accounts, for a file that is
    /// checked as a whole.
    pub fn problems(options: &[AccountOptions]) -> Vec<GraphError> {
        let mut accounts = Self::default();
        for entry in options {
            accounts.add(&entry.name);
        }
        Graph::new(&mut accounts.all, &accounts.ids).connect(options)
    }

    /// The account with an id, unless it has gone.
    pub fn get(&self, id: AccountId) -> Option<&Arc<Account>> {
        self.all.get(id.0 as usize)?.as_ref()
    }

    /// The id of the account of that name.
    pub fn find(&self, name: &str) -> Option<AccountId> {
        let id = *self.ids.get(name)?;
        self.get(id).map(|account| account.id)
    }

    /// The account's name; that of `$G` for one that has gone.
    pub fn name(&self, id: AccountId) -> &str {
        self.get(id).map_or(GLOBAL_ACCOUNT, |account| &account.name)
    }

    /// The account of the server's own services and events, if there is one.
    pub fn system(&self) -> Option<AccountId> {
        self.system
    }

    /// All accounts, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.all.iter().flatten()
    }

    /// Ids given out so far, those of accounts that have gone included.
    pub fn ids(&self) -> usize {
        self.all.len()
    }

    fn add(&mut self, name: &str) -> AccountId {
        let new = AccountId(self.all.len() as u32);
        let id = *self.ids.entry(name.into()).or_insert(new);
        if id == new {
            self.all.push(None);
        }
        let place = &mut self.all[id.0 as usize];
        place.get_or_insert_with(|| Arc::new(Account::new(id, name)));
        id
    }

    fn configure(
        &mut self,
        id: AccountId,
        options: &AccountOptions,
        all: &Options,
    ) -> Result<(), AccountError> {
        if let Some(Some(account)) = self.all.get_mut(id.0 as usize)
            && let Some(account) = Arc::get_mut(account)
        {
            account.limits = options.limits;
            if !options.name_tag.is_empty() {
                account.name_tag = options.name_tag.as_str().into();
            }
            account.trace.clone_from(&options.trace);
            account.jetstream.clone_from(&options.jetstream);
            let mut mappings = options.mappings.clone();
            if let Some(domain) = all.jetstream.default_domains.get(&options.name)
                && !domain.is_empty()
                && options.jetstream.is_none()
            {
                mappings.extend(default_domain::mappings(domain));
            }
            account.mappings = Mappings::new(&mappings, all.cluster_name.as_deref())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(names: &[&str]) -> Options {
        let account = |name: &&str| AccountOptions {
            name: (*name).to_owned(),
            ..AccountOptions::default()
        };
        Options {
            accounts: names.iter().map(account).collect(),
            ..Options::default()
        }
    }

    #[test]
    fn ids_stay_with_their_names() {
        let first = Accounts::new(&options(&["A", "B"])).expect("valid");
        assert_eq!(first.find("$G"), Some(AccountId::GLOBAL));
        let (a, b) = (first.find("A").expect("A"), first.find("B").expect("B"));
        assert!(first.system().is_some_and(|id| first.name(id) == "$SYS"));
        first.get(b).expect("B").usage.enter(None);

        let second = first.next(&options(&["C", "B"])).expect("valid");
        assert_eq!(second.find("A"), None);
        assert!(second.get(a).is_none());
        assert_eq!(second.find("B"), Some(b));
        assert_eq!(second.get(b).expect("B").usage.connections(), 1);
        let c = second.find("C").expect("C");
        assert!(c != a && c != b);

        let third = second.next(&options(&["A"])).expect("valid");
        assert_eq!(
            third.find("A"),
            Some(a),
            "what was said under it still holds"
        );
    }

    #[test]
    fn connections_are_counted_up_to_the_limit() {
        let usage = super::super::account::Usage::default();
        assert!(usage.enter(Some(2)) && usage.enter(Some(2)) && !usage.enter(Some(2)));
        usage.leave();
        assert!(usage.enter(Some(2)) && usage.enter(None));
        assert_eq!(usage.connections(), 3);
        assert!(!super::super::account::Usage::default().enter(Some(0)));
    }
}
