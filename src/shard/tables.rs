//! What a shard has of each account: its interest and its figures.

use crate::ids::AccountId;
use crate::routing::interest::{Interest, RoutingStats};
use crate::shard::report::{AccountFigures, Counters, Volume};

/// The tables of all accounts, by id. One is made when its account first does something here, so
/// that an account nobody uses costs a pointer.
#[derive(Default)]
pub struct Tables(Vec<Option<Box<Table>>>);

/// One account on this shard.
#[derive(Default)]
pub struct Table {
    /// Who receives what of its subjects.
    pub interest: Interest,
    /// Counts.
    pub figures: AccountFigures,
    /// Links that are told of its interest, by connection index.
    pub links: Vec<u32>,
}

impl Table {
    /// Counts what was delivered since `before` as the account's.
    #[inline]
    pub fn sent_since(&mut self, before: Volume, now: &Counters) {
        self.figures.sent = self.figures.sent.plus(now.sent().since(before));
    }
}

impl Tables {
    /// The table of an account.
    #[inline]
    pub fn of(&mut self, account: AccountId) -> &mut Table {
        let at = account.0 as usize;
        if self.0.get(at).is_none_or(Option::is_none) {
            self.add(at);
        }
        match &mut self.0[at] {
            Some(table) => table,
            None => unreachable!("added above"),
        }
    }

    /// All that have been made.
    pub fn iter(&self) -> impl Iterator<Item = (AccountId, &Table)> {
        let all = self.0.iter().enumerate();
        all.filter_map(|(at, table)| Some((AccountId(at as u32), &**table.as_ref()?)))
    }

    /// Routing figures of all accounts together.
    pub fn stats(&self) -> RoutingStats {
        let all = self.iter().map(|(_, table)| table.interest.stats());
        all.fold(RoutingStats::default(), RoutingStats::plus)
    }

    #[cold]
    fn add(&mut self, at: usize) {
        if self.0.len() <= at {
            self.0.resize_with(at + 1, || None);
        }
        self.0[at] = Some(Box::default());
    }
}
