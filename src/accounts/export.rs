//! What an account lets others have, and whom (AUTH-30, AUTH-31).

use std::time::Duration;

use crate::ids::AccountId;
use crate::options::{ExportOptions, LatencyOptions, ResponseType};

/// Time for the next answer where none is named.
pub const RESPONSE_THRESHOLD: Duration = Duration::from_secs(120);

/// Who may import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approval {
    /// Accounts by name; `None` is all.
    pub accounts: Option<Vec<String>>,
    /// Token that must be the importer's name; 0 is none.
    pub account_token_position: u32,
}

impl Approval {
    fn new(options: &ExportOptions) -> Self {
        Self {
            accounts: options.accounts.clone(),
            account_token_position: options.account_token_position,
        }
    }

    /// May that account import that subject of it? `exact` where the subject is the export's own:
    /// then no token of it is looked at, as in stock.
    pub fn allows(&self, importer: &str, subject: &str, exact: bool) -> bool {
        let named = |names: &Vec<String>| names.iter().any(|it| it == importer);
        match self.account_token_position.checked_sub(1) {
            Some(_) if exact => false,
            Some(at) => subject.split('.').nth(at as usize) == Some(importer),
            // An empty list stands for none at all.
            None => self
                .accounts
                .as_ref()
                .is_none_or(|it| it.is_empty() || named(it)),
        }
    }
}

/// Messages others may receive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamExport {
    /// Subject or pattern.
    pub subject: Box<str>,
    /// Who may.
    pub approval: Approval,
}

/// Requests others may make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceExport {
    /// The exporting account.
    pub account: AccountId,
    /// Subject or pattern.
    pub subject: Box<str>,
    /// Who may.
    pub approval: Approval,
    /// How it answers.
    pub response: ResponseType,
    /// Time for the next answer.
    pub threshold: Duration,
    /// Where its response times are published.
    pub latency: Option<LatencyOptions>,
    /// Message traces go on into it.
    pub allow_trace: bool,
}

impl StreamExport {
    pub(super) fn new(options: &ExportOptions) -> Self {
        Self {
            subject: options.subject.as_str().into(),
            approval: Approval::new(options),
        }
    }
}

impl ServiceExport {
    /// Where measurements go; empty where nothing is measured.
    pub fn latency_subject(&self) -> String {
        let latency = self.latency.as_ref();
        latency.map(|it| it.subject.clone()).unwrap_or_default()
    }

    pub(super) fn new(account: AccountId, options: &ExportOptions) -> Self {
        Self {
            account,
            subject: options.subject.as_str().into(),
            approval: Approval::new(options),
            response: options.response,
            threshold: options
                .threshold
                .filter(|it| !it.is_zero())
                .unwrap_or(RESPONSE_THRESHOLD),
            latency: options.latency.clone(),
            allow_trace: options.allow_trace,
        }
    }
}
