//! Rate limits (beyond stock): what a user, an account and an address may send in a second.
//!
//! Without limits a connection has nothing of this and nothing is looked at. With them its messages
//! leave the fast path, and take from buckets that all shards share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::connection::close_reason::CloseReason;
use crate::connection::rate::{Buckets, ConnectionRates, Counted};
use crate::ids::AccountId;
use crate::options::{RateOptions, Rates};
use crate::shard::core::Core;
use crate::time::Nanos;

/// Buckets from which on those nobody needs any more are looked for, each time as many have come.
const LOOK_AT: usize = 1024;

/// Whose buckets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Owner {
    User(AccountId, Box<str>),
    Account(AccountId),
    Address(IpAddr),
}

/// The buckets of everybody, of one view of the settings. Locked when connections come, never by
/// messages.
#[derive(Debug)]
pub struct RateTable {
    options: RateOptions,
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    buckets: HashMap<Owner, Arc<Buckets>>,
    look_at: usize,
}

impl RateTable {
    /// Buckets for these limits; `None` if there are none.
    pub fn new(options: &RateOptions) -> Option<Arc<Self>> {
        let limited = *options != RateOptions::default();
        limited.then(|| {
            Arc::new(Self {
                options: *options,
                all: Mutex::default(),
            })
        })
    }

    /// The limits.
    pub fn options(&self) -> &RateOptions {
        &self.options
    }

    fn buckets(
        &self,
        owner: Owner,
        rates: &Rates,
        now: Nanos,
        whose: impl FnOnce() -> String,
    ) -> Option<Arc<Buckets>> {
        if *rates == Rates::default() {
            return None;
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if all.buckets.len() >= all.look_at.max(LOOK_AT) {
            all.buckets
                .retain(|_, it| Arc::strong_count(it) > 1 || !it.are_full(now));
            all.look_at = all.buckets.len() * 2;
        }
        let made = || Arc::new(Buckets::new(whose().into(), rates));
        Some(Arc::clone(all.buckets.entry(owner).or_insert_with(made)))
    }

    fn of_address(&self, address: IpAddr, now: Nanos) -> Option<Arc<Buckets>> {
        let owner = Owner::Address(address);
        self.buckets(owner, &self.options.address, now, || {
            format!("address {address}")
        })
    }
}

impl Core {
    /// An address connects. False if it does so too often: the connection is told and closed.
    pub(super) fn address_may_connect(&mut self, index: u32) -> bool {
        let now = self.local.now;
        let Some(table) = self.local.settings.rates.clone() else {
            return true;
        };
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let taken = match table.of_address(connection.address.ip(), now) {
            Some(buckets) => buckets.take(Counted::Connections, 1, now),
            None => Ok(()),
        };
        // Those of `$G`, too: where nobody asks who it is it may stay there.
        self.renew_rates(index);
        self.may_stay(index, taken)
    }

    /// A connection has said who it is. False if its user or account connects too often.
    pub(super) fn user_may_connect(&mut self, index: u32) -> bool {
        let Some(buckets) = self.buckets_of_user(index) else {
            return true;
        };
        let now = self.local.now;
        let mut own = buckets
            .iter()
            .skip_while(|it| it.whose.starts_with("address"));
        let taken = own.try_for_each(|it| it.take(Counted::Connections, 1, now));
        self.give_rates(index, buckets);
        self.may_stay(index, taken)
    }

    /// Gives a connection the buckets of the settings of now.
    pub(super) fn renew_rates(&mut self, index: u32) {
        let buckets = self.buckets_of_user(index).unwrap_or_default();
        self.give_rates(index, buckets);
    }

    /// The buckets of a connection's address, account and user, in this order. Operators are not
    /// limited: they are who looks after the rest.
    fn buckets_of_user(&mut self, index: u32) -> Option<Vec<Arc<Buckets>>> {
        let now = self.local.now;
        let system = self.local.settings.accounts.system();
        let table = self.local.settings.rates.clone()?;
        let connection = self.local.connections.at(index)?;
        let account = connection.account;
        if Some(account) == system {
            return Some(Vec::new());
        }
        let options = table.options();
        let address = table.of_address(connection.address.ip(), now);
        let of_account = table.buckets(Owner::Account(account), &options.account, now, || {
            format!("account {:?}", connection.tenant.name)
        });
        let of_user = connection.user.as_ref().and_then(|user| {
            let owner = Owner::User(account, (*user.name).into());
            table.buckets(owner, &options.user, now, || {
                format!("user {:?}", user.name)
            })
        });
        Some(
            [address, of_account, of_user]
                .into_iter()
                .flatten()
                .collect(),
        )
    }

    fn give_rates(&mut self, index: u32, buckets: Vec<Arc<Buckets>>) {
        if let Some(connection) = self.local.connections.at(index) {
            connection.rates = (!buckets.is_empty()).then(|| {
                Box::new(ConnectionRates {
                    buckets,
                    told_at: None,
                })
            });
        }
    }

    fn may_stay(&mut self, index: u32, taken: Result<(), String>) -> bool {
        let Err(why) = taken else {
            return true;
        };
        self.local.counters.rate_limited += 1;
        // Clients know the front of it and try again later.
        self.complain(
            index,
            format!("maximum connections exceeded: {why}").as_bytes(),
        );
        self.close(index, CloseReason::MaximumConnectionsExceeded);
        // It had been admitted, unlike others that are closed for this reason.
        self.local.departed += 1;
        false
    }

    /// May a message of that size be published now? If not it is lost, and its publisher told.
    #[cold]
    pub(super) fn may_publish_now(&mut self, index: u32, subject: &[u8], size: u64) -> bool {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let Some(rates) = &mut connection.rates else {
            return true;
        };
        let taken = rates
            .take(Counted::Messages, 1, now)
            .and_then(|()| rates.take(Counted::Bytes, size, now));
        let Err(why) = taken else {
            return true;
        };
        let tell = rates.tell(now) || connection.options.verbose;
        connection.rate_limited += 1;
        self.local.counters.rate_limited += 1;
        if tell {
            // The front is one that clients take for the loss of a message, not of the connection.
            let subject = String::from_utf8_lossy(subject);
            let text = format!("Permissions Violation for Publish to \"{subject}\": {why}");
            self.complain(index, text.as_bytes());
        }
        false
    }

    /// May a subscription be made now? If not the client is told.
    pub(super) fn may_subscribe_now(
        &mut self,
        index: u32,
        pattern: &[u8],
        queue: Option<&[u8]>,
    ) -> bool {
        let now = self.local.now;
        let Some(connection) = self.local.connections.at(index) else {
            return false;
        };
        let Some(rates) = &connection.rates else {
            return true;
        };
        let Err(why) = rates.take(Counted::Subscriptions, 1, now) else {
            return true;
        };
        connection.rate_limited += 1;
        self.local.counters.rate_limited += 1;
        let mut text = Vec::new();
        crate::protocol::error_text::subscription_violation(&mut text, pattern, queue);
        text.extend_from_slice(b": ");
        text.extend_from_slice(why.as_bytes());
        self.complain(index, &text);
        false
    }
}
