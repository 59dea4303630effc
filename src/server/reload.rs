//! The configuration read again while the server runs: all of it or nothing (CFG-91..96).
//!
//! Whoever asks for a reload waits here for his turn, so there is one writer. What can fail comes
//! first: reading, checking, comparing, opening the log. Then the new settings go to shard 0, which
//! hands them on; each shard takes them between two turns and says so. The answer is given when
//! all have.
//!
//! A key that becomes reloadable is added in three places: `ops::config::changes` compares it,
//! `Reloader::settings` puts it into the view of the shards, and `shard::reload` does what it
//! means for connections that exist.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::handle::Shared;
use super::jetstream::folder::StoreFolder;
use super::jetstream::recovery;
use super::operator::{Logins, NewResolver, OperatorError, Vouched, view};
use super::remotes::Remotes;
use super::stapling::{Stapled, Watch};
use super::transports::Doors;
use super::{identity, leafnodes, shards, start};
use crate::accounts::registry::Accounts;
use crate::auth::jwt::trust::AccountRefused;
use crate::ids::{AccountId, ConnectionId};
use crate::listener::tls::TlsLoadError;
use crate::ops::cli::{self, ConfigureError, Flags};
use crate::ops::config::changes::{self, Changes, NotReloadable};
use crate::ops::http::facts::{CurrentFacts, ServerFacts};
use crate::ops::logging::{LogError, LogHandle, NewLog};
use crate::ops::pid_file;
use crate::ops::ports_file::{Ports, PortsFile};
use crate::options::Options;
use crate::protocol::info::ServerInfo;
use crate::shard::control::{Control, NewSettings};
use crate::shard::identity::ServerIdentity;
use crate::shard::leaf::settings::LeafSettings;
use crate::shard::report::{ConnectionQuery, Figures, Query};
use crate::shard::settings::Settings;

/// Why nothing was changed. The text is the answer to whoever asked, and stock's where stock has
/// one.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// CFG-92.
    #[error("can only reload config when a file is provided using -c or --config")]
    NoFile,
    /// The file cannot be used.
    #[error("{}", .0.to_string().trim_end())]
    Configure(#[from] ConfigureError),
    /// The options contradict each other.
    #[error(transparent)]
    Options(#[from] start::StartError),
    /// Accounts, users or operators contradict themselves.
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// What a `tls` block names cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsLoadError),
    /// A change needs a restart.
    #[error(transparent)]
    NotReloadable(#[from] NotReloadable),
    /// The new log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No thread to do it on.
    #[error("cannot start the reload thread: {0}; raise the limit of processes (ulimit -u)")]
    Thread(#[from] std::io::Error),
    /// Too late.
    #[error("the server is shutting down")]
    Ending,
}

/// What the program around the server adds: where options come from, and what it writes for
/// others to see. A server embedded in another program has none of it.
pub(super) struct Program {
    pub flags: Flags,
    pub log: LogHandle,
    pub ports: Ports,
    /// Removed by whoever ends the program.
    pub ports_file: Arc<Mutex<Option<PortsFile>>>,
}

/// Changes the options of a running server.
pub struct Reloader {
    shared: Arc<Shared>,
    current: Mutex<Current>,
    /// What monitoring shows.
    facts: Arc<CurrentFacts>,
    /// Where streams are kept.
    folder: Option<Arc<StoreFolder>>,
    /// The port clients connect to.
    port: u16,
    /// Where WebSocket clients connect.
    websocket: Option<SocketAddr>,
    /// How often options were put in force.
    reloads: AtomicU64,
    program: OnceLock<Program>,
    /// What the service of the resolver is to go on with.
    resolver: Mutex<Option<NewResolver>>,
}

/// What the server runs with.
struct Current {
    options: Arc<Options>,
    settings: Arc<Settings>,
    vouched: Vouched,
    /// What authorities say of certificates is renewed as long as these are here.
    watches: Vec<Watch>,
    /// Servers it connects to as a leaf node.
    remotes: Remotes,
}

impl Reloader {
    pub(super) fn new(
        shared: Arc<Shared>,
        settings: Arc<Settings>,
        facts: Arc<CurrentFacts>,
        port: u16,
        websocket: Option<SocketAddr>,
        vouched: Vouched,
        folder: Option<Arc<StoreFolder>>,
    ) -> Self {
        let options = Arc::clone(&facts.now().options);
        Self {
            shared,
            current: Mutex::new(Current {
                options,
                settings,
                vouched,
                watches: Vec::new(),
                remotes: Remotes::default(),
            }),
            facts,
            folder,
            port,
            websocket,
            reloads: AtomicU64::new(0),
            program: OnceLock::new(),
            resolver: Mutex::new(None),
        }
    }

    /// Begins to renew what authorities say of the certificates in force.
    pub(super) fn watch(&self, stapled: Vec<Stapled>) {
        self.lock().watches = Doors::watch(stapled, &self.shared);
    }

    /// Begins to connect to remotes, those that the shards know already.
    ///
    /// # Errors
    /// When a thread cannot be made.
    pub(super) fn solicit(&self, remotes: Remotes) -> std::io::Result<()> {
        let mut current = self.lock();
        let options = Arc::clone(&current.options);
        remotes.start(&current.remotes, &options, &self.shared)?;
        current.remotes = remotes;
        Ok(())
    }

    /// What the server says of itself in INFO.
    pub(super) fn info(&self) -> Arc<ServerInfo> {
        Arc::clone(&self.lock().settings.info)
    }

    /// The server as its answers and events name it.
    pub(super) fn identity(&self) -> ServerIdentity {
        self.lock().settings.identity.clone()
    }

    /// The accounts in force.
    pub(super) fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.lock().settings.accounts)
    }

    /// Once, before the first reload.
    pub(super) fn attach(&self, program: Program) {
        let _ = self.program.set(program); // there is one program
    }

    /// As [`Reloader::reload`], on a thread of its own: for signals, and for requests that arrive
    /// on a shard, which must not wait for itself. `answer` gets the outcome.
    pub fn request(
        self: &Arc<Self>,
        answer: impl FnOnce(Result<(), ReloadError>) + Send + 'static,
    ) {
        let this = Arc::clone(self);
        let (hand, take) = sync_channel(1);
        let run = move || {
            if let Ok(answer) = take.recv() {
                let answer: Box<dyn FnOnce(_) + Send> = answer;
                answer(this.reload());
            }
        };
        match std::thread::Builder::new().name("reload".into()).spawn(run) {
            Ok(_) => {
                let _ = hand.send(Box::new(answer)); // it waits for exactly this
            }
            Err(error) => answer(logged(Err(error.into()))),
        }
    }

    /// Reads file and flags again and puts them in force. Blocks until every shard has taken
    /// them: not to be called on a shard.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed. It is in the log already.
    pub fn reload(&self) -> Result<(), ReloadError> {
        logged(self.read_and_apply())
    }

    fn read_and_apply(&self) -> Result<(), ReloadError> {
        let program = self.program.get().ok_or(ReloadError::NoFile)?;
        if program.flags.config_file().is_none() {
            return Err(ReloadError::NoFile);
        }
        let environment = |name: &str| std::env::var(name).ok();
        let mut current = self.lock();
        let configured = cli::configure(program.flags.clone(), &environment)?;
        self.change(&mut current, configured.options.clone())?;
        if let Some(warning) = configured.inactive_line() {
            log::warn!("{warning}");
        }
        Ok(())
    }

    /// Puts these options in force, as a reload of the file does; for embedders. The log, pid and
    /// ports files are the program's.
    ///
    /// # Errors
    /// [`ReloadError`]: nothing has changed.
    pub fn apply(&self, options: Options) -> Result<(), ReloadError> {
        logged(self.change(&mut self.lock(), options))
    }

    /// The resolver that a reload has put in the place of the one before.
    pub(super) fn new_resolver(&self) -> Option<NewResolver> {
        let mut new = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        new.take()
    }

    /// How often options were put in force since the start.
    pub(super) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Acquire)
    }

    /// Is this an account that an operator vouches for?
    pub(super) fn knows(&self, key: &str) -> bool {
        self.lock().vouched.knows(key)
    }

    /// Is there no need to look for this account?
    pub(super) fn has(&self, key: &str) -> bool {
        self.lock().vouched.has(key)
    }

    /// The system account, where its token could not be had yet.
    pub(super) fn bootstrapping(&self) -> Option<String> {
        self.lock().vouched.bootstrapping().cloned()
    }

    /// Takes over accounts' tokens; `None` where an account has gone. Blocks until every shard has
    /// taken them: not to be called on a shard. What is wrong with one goes to the log.
    ///
    /// # Errors
    /// The last of those that do not count; the others are taken over.
    pub(super) fn update_accounts(
        &self,
        tokens: &[(&str, Option<&str>)],
    ) -> Result<(), AccountRefused> {
        let mut current = self.lock();
        let mut vouched = current.vouched.clone();
        let mut changed: Vec<&str> = Vec::new();
        let mut outcome = Ok(());
        for &(key, token) in tokens {
            let taken = match token {
                Some(token) => vouched.take(key, token),
                None => Ok(vouched.drop(key)),
            };
            match taken {
                Ok(true) => changed.push(key),
                Ok(false) => {}
                Err(error) => {
                    log::error!("Update for account {key:?} resulted in error {error}");
                    outcome = Err(error);
                }
            }
        }
        if changed.is_empty() {
            return outcome;
        }
        let before = Arc::clone(&current.settings.accounts);
        let options = Arc::clone(&current.options);
        let (accounts, logins) = match view(Some(&current.settings), &options, &vouched) {
            Ok(view) => view,
            Err(error) => {
                log::error!("Accounts not updated: {error}");
                return outcome;
            }
        };
        let ids = changed
            .iter()
            .filter_map(|key| before.find(key).or_else(|| accounts.find(key)));
        let ids: Arc<[AccountId]> = ids.collect();
        let own = &current.settings.leaf;
        let own = (own.port, Arc::clone(&own.remotes));
        let Ok(leaf) = leafnodes::settings(&options, &accounts, own) else {
            log::error!("Accounts not updated: a leaf node's user is of none of them");
            return outcome;
        };
        let doors = (Doors::unchanged(&current.settings), leaf);
        let settings = self.settings(&current, &options, accounts, logins, doors);
        if self.hand_over(&settings, Some(ids)).is_err() {
            return outcome; // the server ends
        }
        let facts = self.facts.now();
        let (mut times, now) = (facts.token_times.as_ref().clone(), shards::wall_time());
        times.extend(changed.iter().map(|key| ((*key).to_owned(), now)));
        self.facts.replace(ServerFacts {
            accounts: Arc::clone(&settings.accounts),
            trusted: vouched.accounts(),
            token_times: Arc::new(times),
            ..ServerFacts::clone(&facts)
        });
        self.restore_streams(&before, &settings.accounts);
        current.settings = settings;
        current.vouched = vouched;
        for key in changed {
            self.close_over_account_limit(&current, key);
        }
        outcome
    }

    /// Closes the youngest connections of an account that may have fewer now (AUTH-56).
    fn close_over_account_limit(&self, current: &Current, key: &str) {
        let accounts = &current.settings.accounts;
        let Some(account) = accounts.find(key).and_then(|id| accounts.get(id)) else {
            return;
        };
        let Some(max) = account.limits.max_connections else {
            return;
        };
        if account.usage.connections() <= max {
            return;
        }
        let reports = self.shared.shards.ask(Query::Connections(ConnectionQuery {
            open: true,
            account: Some((*key).into()),
            most: usize::MAX,
            ..ConnectionQuery::default()
        }));
        let all = reports.iter().flat_map(|report| &report.connections);
        let mut cids: Vec<ConnectionId> = all.map(|it| it.cid).collect();
        cids.sort_unstable();
        let surplus: Arc<[ConnectionId]> = cids.drain(cids.len().min(max as usize)..).collect();
        self.shared
            .tell_all(|| Control::CloseOverAccountLimit(Arc::clone(&surplus)));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, current: &mut Current, options: Options) -> Result<(), ReloadError> {
        start::check(&options)?;
        let mut vouched = current.vouched.clone();
        let accounts = &current.settings.accounts;
        let stored = self.folder.as_ref().map(|it| it.accounts());
        let in_use = |key: &str| {
            let account = accounts.find(key).and_then(|id| accounts.get(id));
            account.is_some_and(|it| it.usage.in_use())
                || stored.iter().flatten().any(|it| it == key)
        };
        let resolver = vouched.reload(&current.options.operator, &options, in_use)?;
        let (accounts, logins) = view(Some(&current.settings), &options, &vouched)?;
        let mut changes = changes::between(
            &current.options,
            &options,
            [self.port, current.settings.leaf.port],
        )?;
        let mut doors = Doors::new(&options, self.websocket)?;
        let stapled = std::mem::take(&mut doors.stapled);
        changes.certificates(
            current.settings.transports.certificates(),
            doors.transports.certificates(),
        );
        let remotes = current.remotes.after(&options.leafnodes);
        let modes = remotes.modes(&options.leafnodes);
        let leaf_port = current.settings.leaf.port;
        let leaf = leafnodes::settings(&options, &accounts, (leaf_port, modes))
            .map_err(OperatorError::from)?;
        let settings = self.settings(current, &options, accounts, logins, (doors, leaf));
        let program = self.program.get();
        let log = program
            .filter(|_| changes.log)
            .map(|program| Ok::<_, LogError>((program, NewLog::open(&options.log)?)))
            .transpose()?;

        // From here on nothing fails but the end of the server.
        for line in &changes.lines {
            log::info!("{line}");
        }
        let users = &settings.authenticator;
        if users.has_former() && !current.settings.authenticator.has_former() {
            log::warn!(
                "Users were replaced by a token or a single user: those who are connected stay until \
                 they leave, nobody else is let in as one of them"
            );
        }
        if let Some(source) = resolver {
            let options = Arc::clone(&options.operator);
            let mut new = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
            *new = Some(NewResolver { source, options });
        }
        remotes.stop_others(&current.remotes);
        self.hand_over(&settings, None)?;
        if current.options.client.max_connections != options.client.max_connections {
            self.close_surplus(options.client.max_connections.unwrap_or(0));
        }
        if let Some((program, new)) = log {
            program.log.adopt(new);
        }
        if let Some(program) = program {
            program.rewrite_files(&changes, &options);
        }
        let digest = match options.config_digest.as_str() {
            "" => String::new(),
            digest => format!("({digest})"),
        };
        let options = Arc::new(options);
        self.facts.replace(ServerFacts {
            info: Arc::clone(&settings.info),
            options: Arc::clone(&options),
            accounts: Arc::clone(&settings.accounts),
            trusted: vouched.accounts(),
            transports: Arc::clone(&settings.transports),
            config_load: shards::wall_time(),
            ..ServerFacts::clone(&self.facts.now())
        });
        self.restore_streams(&current.settings.accounts, &settings.accounts);
        let started = remotes.start(&current.remotes, &options, &self.shared);
        started.unwrap_or_else(|error| log::error!("{}", ReloadError::Thread(error)));
        *current = Current {
            options,
            settings,
            vouched,
            watches: Doors::watch(stapled, &self.shared),
            remotes,
        };
        self.reloads.fetch_add(1, Ordering::Release);
        log::info!("Reloaded server configuration {digest}");
        Ok(())
    }

    /// The next view of the shards.
    fn settings(
        &self,
        current: &Current,
        options: &Options,
        accounts: Accounts,
        logins: Logins,
        doors: (Doors, LeafSettings),
    ) -> Arc<Settings> {
        let mut info = (*current.settings.info).clone();
        identity::update(&mut info, options, &logins.client, self.port);
        Arc::new(start::settings(
            Some(&current.settings),
            options,
            self.shared.shards.0.len(),
            Arc::new(info),
            Arc::new(accounts),
            logins,
            doors,
        ))
    }

    /// Restores the streams of accounts that were not known `before`.
    fn restore_streams(&self, before: &Accounts, accounts: &Accounts) {
        let Some(folder) = &self.folder else {
            return;
        };
        let facts = self.facts.now();
        let posts = &self.shared.shards.0;
        let missing = recovery::late(folder, (before, accounts), posts, &facts.unrecovered);
        if let Some(missing) = missing {
            self.facts.replace(ServerFacts {
                unrecovered: missing.into(),
                ..ServerFacts::clone(&facts)
            });
        }
    }

    /// Gives the settings to the shards; returns when all run under them.
    fn hand_over(
        &self,
        settings: &Arc<Settings>,
        changed: Option<Arc<[AccountId]>>,
    ) -> Result<(), ReloadError> {
        let posts = &self.shared.shards.0;
        let (taken, receiver) = sync_channel(posts.len());
        let first = posts.first().ok_or(ReloadError::Ending)?;
        first.send(Control::Settings(NewSettings {
            settings: Arc::clone(settings),
            changed,
            taken,
        }));
        for _ in posts {
            // A shard that ends drops its request, and so ends the wait.
            receiver.recv().map_err(|_| ReloadError::Ending)?;
        }
        Ok(())
    }

    /// Closes what is more than there may be. Shard 0 admits by the new limit already, and what
    /// it admitted before is ahead of our question in every shard's queue.
    fn close_surplus(&self, max: usize) {
        let reports = self.shared.shards.ask(Query::Counters);
        let open = reports.iter().map(|report| report.counters.connections);
        let surplus = open.clone().sum::<u64>().saturating_sub(max as u64);
        if surplus == 0 {
            return;
        }
        let mut left = surplus;
        for (post, open) in self.shared.shards.0.iter().zip(open) {
            let here = left.min(open);
            left -= here;
            post.send(Control::CloseSurplus(here));
        }
        log::info!("Closed {surplus} connections to fall within max_connections");
    }
}

impl Program {
    fn rewrite_files(&self, changes: &Changes, options: &Options) {
        if changes.pid_file
            && let Some(path) = &options.pid_file
            && let Err(error) = pid_file::write(path)
        {
            log::error!(
                "Failed to write pidfile: open {}: {}",
                error.path.display(),
                error.cause
            );
        }
        if changes.ports_file {
            let mut file = self
                .ports_file
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            drop(file.take()); // removes it
            *file = PortsFile::write_logged(options, &self.ports);
        }
    }
}

/// The outcome, after a failure went to the log.
fn logged(outcome: Result<(), ReloadError>) -> Result<(), ReloadError> {
    outcome.inspect_err(|error| log::error!("Failed to reload server configuration: {error}"))
}
