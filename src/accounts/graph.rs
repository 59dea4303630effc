//! Exports and imports put together: who may have what of whom, and that nothing comes back to
//! where it was (AUTH-30..35). Texts are stock's.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::account::Account;
use super::export::{ServiceExport, StreamExport};
use super::import::{ServiceImport, StreamImport};
use super::transform::{TransformError, unnumbered};
use crate::ids::AccountId;
use crate::options::{AccountOptions, ExportOptions, ImportOptions, ResponseType, Shared};
use crate::routing::subject::{is_literal, is_valid_pattern, pattern_subset, patterns_overlap};

/// Accounts looked at for one import.
const SEARCH_DEPTH_MAX: usize = 1024;

/// One thing that is wrong, in stock's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphError(String);

impl fmt::Display for GraphError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for GraphError {}

/// Why one export or import cannot be.
enum Refused {
    Text(&'static str),
    Transform(&'static str, String, String, TransformError),
    Duplicate(String, String, String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Transform(kind, from, to, error) => write!(
                f,
                "failed to create mapping transform for {kind} import subject from {from:?} to \
                 {to:?}: {error}"
            ),
            Self::Duplicate(subject, account, other) => write!(
                f,
                "duplicate service import subject {subject:?}, previously used in import for \
                 account {account:?}, subject {other:?}"
            ),
        }
    }
}

const CYCLE: Refused = Refused::Text("import forms a cycle");
const INVALID_SUBJECT: Refused = Refused::Text("sublist: invalid subject");
const BAD_PUBLISH_SUBJECT: Refused = Refused::Text("invalid publish subject");

/// The accounts that are connected. Every one of them belongs to nobody else yet.
pub(super) struct Graph<'a> {
    accounts: &'a mut [Option<Arc<Account>>],
    ids: &'a HashMap<Box<str>, AccountId>,
    errors: Vec<GraphError>,
}

impl<'a> Graph<'a> {
    pub fn new(
        accounts: &'a mut [Option<Arc<Account>>],
        ids: &'a HashMap<Box<str>, AccountId>,
    ) -> Self {
        Self {
            accounts,
            ids,
            errors: Vec::new(),
        }
    }

    /// Adds all exports, then all imports, streams before services, as stock does; what cannot be
    /// is left out and returned.
    pub fn connect(&mut self, options: &[AccountOptions]) -> Vec<GraphError> {
        for shared in [Shared::Stream, Shared::Service] {
            for (account, export) in exports(options, shared) {
                self.export(account, export);
            }
        }
        for shared in [Shared::Stream, Shared::Service] {
            for (account, import) in imports(options, shared) {
                self.import(account, import);
            }
        }
        std::mem::take(&mut self.errors)
    }

    fn find(&self, name: &str) -> Option<AccountId> {
        let id = *self.ids.get(name)?;
        self.get(id).map(|account| account.id)
    }

    fn get(&self, id: AccountId) -> Option<&Account> {
        self.accounts.get(id.0 as usize)?.as_deref()
    }

    fn change(&mut self, id: AccountId, change: impl FnOnce(&mut Account)) {
        if let Some(Some(account)) = self.accounts.get_mut(id.0 as usize)
            && let Some(account) = Arc::get_mut(account)
        {
            change(account);
        }
    }

    fn error(&mut self, text: String) {
        self.errors.push(GraphError(text));
    }

    fn export(&mut self, account: &str, options: &ExportOptions) {
        let Some(owner) = self.find(account) else {
            return;
        };
        let kind = name(options.shared);
        for approved in options.accounts.iter().flatten() {
            if self.find(approved).is_none() {
                self.error(format!(
                    "{approved:?} account not defined for {kind} export"
                ));
            }
        }
        let subject = options.subject.as_str();
        if options.account_token_position > 0
            && let Err(why) = check_token_position(options)
        {
            return self.error(format!("Error adding {kind} export {subject:?}: {why}"));
        }
        match options.shared {
            Shared::Stream => self.change(owner, |account| {
                account.stream_exports.retain(|it| *it.subject != *subject);
                account.stream_exports.push(StreamExport::new(options));
            }),
            Shared::Service => {
                let mut export = ServiceExport::new(owner, options);
                if let Some(latency) = export.latency.take()
                    && let Err(why) = self.check_latency(owner, options, &latency.subject)
                {
                    self.error(format!(
                        "Error adding service latency sampling for {subject:?} on subject {:?}: \
                         {why}",
                        latency.subject
                    ));
                } else {
                    export.latency.clone_from(&options.latency);
                }
                self.change(owner, |account| {
                    account.service_exports.retain(|it| *it.subject != *subject);
                    account.service_exports.push(Arc::new(export));
                });
            }
        }
    }

    fn check_latency(
        &self,
        owner: AccountId,
        options: &ExportOptions,
        results: &str,
    ) -> Result<(), Refused> {
        let is_subject = is_valid_pattern(results.as_bytes()) && is_literal(results.as_bytes());
        let exported = |account: &Account| {
            let own = std::iter::once(options.subject.as_str());
            let all = account.service_exports.iter().map(|it| &*it.subject);
            all.chain(own).any(|it| subset(results, it))
        };
        if !is_subject || self.get(owner).is_some_and(exported) {
            return Err(BAD_PUBLISH_SUBJECT);
        }
        if options.response != ResponseType::Singleton {
            return Err(Refused::Text("bad service response type"));
        }
        Ok(())
    }

    fn import(&mut self, account: &str, options: &ImportOptions) {
        let kind = name(options.shared);
        let Some(exporter) = self.find(&options.account) else {
            return self.error(format!(
                "{:?} account not defined for {kind} import",
                options.account
            ));
        };
        let Some(importer) = self.find(account) else {
            return;
        };
        let added = match options.shared {
            Shared::Stream => self.import_stream(importer, exporter, options),
            Shared::Service => self.import_service(importer, exporter, options),
        };
        if let Err(why) = added {
            self.error(format!(
                "Error adding {kind} import {:?}: {why}",
                options.subject
            ));
        }
    }

    fn import_stream(
        &mut self,
        importer: AccountId,
        exporter: AccountId,
        options: &ImportOptions,
    ) -> Result<(), Refused> {
        let from = options.subject.as_str();
        if !self.may_import(importer, exporter, from, Shared::Stream) {
            return Err(Refused::Text("stream import not authorized"));
        }
        let to = match (options.prefix.as_str(), options.to.as_str()) {
            ("", "") => from.to_owned(),
            ("", to) => to.to_owned(),
            (prefix, _) if !is_literal(prefix.as_bytes()) => {
                let text = "stream import prefix can not contain wildcard tokens";
                return Err(Refused::Text(text));
            }
            (prefix, _) if prefix.ends_with('.') => format!("{prefix}{from}"),
            (prefix, _) => format!("{prefix}.{from}"),
        };
        for subject in [to.as_str(), from] {
            let mut seen = HashSet::from([importer]);
            self.stream_cycle(exporter, subject, &mut seen)?;
        }
        let import = StreamImport::new(exporter, from, &to, options.allow_trace)
            .map_err(|error| Refused::Transform("stream", from.to_owned(), to, error))?;
        let same = |it: &Arc<StreamImport>| it.account == exporter && *it.from == *from;
        if self
            .get(importer)
            .is_some_and(|it| it.stream_imports.iter().any(same))
        {
            return Err(Refused::Text("stream import already exists"));
        }
        self.change(importer, |it| it.stream_imports.push(Arc::new(import)));
        Ok(())
    }

    /// Would what comes from `account` under `subject` have come from those in `seen`?
    fn stream_cycle(
        &self,
        account: AccountId,
        subject: &str,
        seen: &mut HashSet<AccountId>,
    ) -> Result<(), Refused> {
        if seen.len() >= SEARCH_DEPTH_MAX {
            return Err(Refused::Text("search cycle depth exhausted"));
        }
        let Some(account) = self.get(account) else {
            return Ok(());
        };
        if !account
            .stream_exports
            .iter()
            .any(|it| subset(subject, &it.subject))
        {
            return Ok(());
        }
        for import in &account.stream_imports {
            if overlaps(subject, &import.to) {
                if seen.contains(&import.account) {
                    return Err(CYCLE);
                }
                seen.insert(account.id);
                let narrower = if subset(&import.to, subject) {
                    &import.to
                } else {
                    subject
                };
                self.stream_cycle(import.account, narrower, seen)?;
            }
        }
        Ok(())
    }

    fn import_service(
        &mut self,
        importer: AccountId,
        exporter: AccountId,
        options: &ImportOptions,
    ) -> Result<(), Refused> {
        let to = options.subject.as_str();
        let from = match options.to.as_str() {
            "" => to,
            from => from,
        };
        if !is_valid_pattern(from.as_bytes()) || !is_valid_pattern(to.as_bytes()) {
            return Err(INVALID_SUBJECT);
        }
        if !self.may_import(importer, exporter, to, Shared::Service) {
            return Err(Refused::Text("service import not authorized"));
        }
        let plain = match is_literal(to.as_bytes()) {
            true => from.to_owned(),
            false => unnumbered(from).0,
        };
        let mut seen = HashSet::from([importer]);
        self.service_cycle(exporter, &plain, &mut seen)?;
        if let Some(account) = self.get(importer)
            && let Some(other) = account
                .service_imports
                .iter()
                .find(|it| it.account == exporter && *it.from == *from)
        {
            let (account, other) = (options.account.clone(), other.to.to_string());
            return Err(Refused::Duplicate(from.to_owned(), account, other));
        }
        let Some(export) = self.get(exporter).and_then(|it| service_export(it, to)) else {
            return Err(Refused::Text("service import not authorized"));
        };
        let import =
            ServiceImport::new(&export, exporter, from, to, options.share).map_err(|error| {
                Refused::Transform("service", from.to_owned(), unnumbered(to).0, error)
            })?;
        self.change(importer, |it| it.service_imports.push(Arc::new(import)));
        Ok(())
    }

    fn service_cycle(
        &self,
        account: AccountId,
        subject: &str,
        seen: &mut HashSet<AccountId>,
    ) -> Result<(), Refused> {
        if seen.len() >= SEARCH_DEPTH_MAX {
            return Err(Refused::Text("search cycle depth exhausted"));
        }
        let Some(account) = self.get(account) else {
            return Ok(());
        };
        for import in &account.service_imports {
            if overlaps(subject, &import.to) {
                if seen.contains(&import.account) {
                    return Err(CYCLE);
                }
                seen.insert(account.id);
                let narrower = if subset(&import.from, subject) {
                    &import.from
                } else {
                    subject
                };
                self.service_cycle(import.account, narrower, seen)?;
            }
        }
        Ok(())
    }

    /// Has `exporter` an export of this subject, and may `importer` have it?
    fn may_import(
        &self,
        importer: AccountId,
        exporter: AccountId,
        subject: &str,
        shared: Shared,
    ) -> bool {
        let (Some(importer), Some(exporter)) = (self.get(importer), self.get(exporter)) else {
            return false;
        };
        let streams = exporter.stream_exports.iter();
        let services = exporter.service_exports.iter();
        let exports: Vec<_> = match shared {
            Shared::Stream => streams.map(|it| (&*it.subject, &it.approval)).collect(),
            Shared::Service => services.map(|it| (&*it.subject, &it.approval)).collect(),
        };
        let exact = exports.iter().find(|(it, _)| *it == subject);
        let found = exact.or_else(|| exports.iter().find(|(it, _)| subset(subject, it)));
        found.is_some_and(|(_, approval)| approval.allows(&importer.name, subject, exact.is_some()))
    }
}

/// The export that a subject is asked by.
fn service_export(account: &Account, subject: &str) -> Option<Arc<ServiceExport>> {
    let mut all = account.service_exports.iter();
    let exact = all.clone().find(|it| *it.subject == *subject);
    exact
        .or_else(|| all.find(|it| subset(subject, &it.subject)))
        .map(Arc::clone)
}

fn check_token_position(options: &ExportOptions) -> Result<(), Refused> {
    let at = options.account_token_position as usize - 1;
    match options.subject.split('.').nth(at) {
        Some("*") => Ok(()),
        _ => Err(INVALID_SUBJECT),
    }
}

fn exports(
    options: &[AccountOptions],
    shared: Shared,
) -> impl Iterator<Item = (&str, &ExportOptions)> {
    let all = options.iter();
    let all = all.flat_map(|account| account.exports.iter().map(|it| (&*account.name, it)));
    all.filter(move |(_, it)| it.shared == shared)
}

fn imports(
    options: &[AccountOptions],
    shared: Shared,
) -> impl Iterator<Item = (&str, &ImportOptions)> {
    let all = options.iter();
    let all = all.flat_map(|account| account.imports.iter().map(|it| (&*account.name, it)));
    all.filter(move |(_, it)| it.shared == shared)
}

const fn name(shared: Shared) -> &'static str {
    match shared {
        Shared::Stream => "stream",
        Shared::Service => "service",
    }
}

fn subset(pattern: &str, of: &str) -> bool {
    pattern_subset(pattern.as_bytes(), of.as_bytes())
}

fn overlaps(a: &str, b: &str) -> bool {
    patterns_overlap(a.as_bytes(), b.as_bytes())
}
