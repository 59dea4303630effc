//! Other servers are asked for accounts over NATS (AUTH-77).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::search::Search;
use super::waiting::Waiting;
use crate::ids::AccountId;
use crate::server::system::services::Outlet;
use crate::shard::internal::InternalPublish;

/// Time an answer may take where nothing is said.
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(1900);

/// Questions without an answer yet.
pub(super) struct Lookups {
    /// Connections that wait for what is asked.
    pub waiting: Waiting,
    system: AccountId,
    /// Subject of answers, but for its last token.
    prefix: String,
    timeout: Duration,
    asked: u64,
    open: HashMap<String, Open>,
}

/// One question.
pub(super) struct Open {
    /// What it is asked for.
    pub search: Search,
    /// Account it is about.
    pub key: String,
}

impl Lookups {
    pub fn new(
        waiting: Waiting,
        system: AccountId,
        inbox: &str,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            waiting,
            system,
            prefix: format!("{inbox}.lookup."),
            timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
            asked: 0,
            open: HashMap::new(),
        }
    }

    /// Subjects of answers.
    pub fn pattern(&self) -> String {
        format!("{}*", self.prefix)
    }

    /// A search from now on.
    pub fn search(&self, key: &str) -> Search {
        Search::new(key, Instant::now() + self.timeout)
    }

    /// Is this where an answer is awaited?
    pub fn is_own(&self, subject: &[u8]) -> bool {
        subject.starts_with(self.prefix.as_bytes())
    }

    /// Asks for the account `key`.
    pub fn ask(&mut self, search: Search, key: String, outlet: &Outlet) {
        self.asked += 1;
        let name = self.asked.to_string();
        outlet.publish(InternalPublish {
            account: self.system,
            subject: format!("$SYS.REQ.ACCOUNT.{key}.CLAIMS.LOOKUP")
                .into_bytes()
                .into(),
            reply: Some(format!("{}{name}", self.prefix).into_bytes().into()),
            ..InternalPublish::default()
        });
        self.open.insert(name, Open { search, key });
    }

    /// The question that is answered on this subject. Only the first answer counts: as long as no
    /// other server is known, there are no more.
    pub fn answered(&mut self, subject: &str) -> Option<Open> {
        self.open.remove(subject.strip_prefix(&self.prefix)?)
    }

    /// Questions that nobody has answered in time.
    pub fn late(&mut self, now: Instant) -> Vec<Open> {
        let late = self.open.extract_if(|_, open| open.search.until <= now);
        late.map(|(_, open)| open).collect()
    }

    /// Is this account searched for already?
    pub fn seeks(&self, key: &str) -> bool {
        self.open.values().any(|open| open.search.key == key)
    }
}
