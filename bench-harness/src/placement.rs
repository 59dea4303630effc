//! On which shards the two sides of a pair sit.
//!
//! Ramjet says in `/connz?shard=1` which shard serves a connection. To place one beside or apart
//! from another, connections are opened until one fits; those that do not are held open
//! meanwhile, or the server would give the next one the same place.

use clap::ValueEnum;
use serde::Serialize;

use crate::error::BenchError;
use crate::server::{Make, Server};
use crate::wire::Connection;

/// Connections opened before giving up.
const TRIES: usize = 64;

/// Numbers of two connections that exchange messages.
pub type Pair = (u64, u64);

/// Where the two sides of a pair sit. The stock server has no shards: there it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Wherever the server puts them.
    #[default]
    Any,
    /// On the same shard.
    Same,
    /// On different shards.
    Across,
}

impl Placement {
    /// Opens a connection that sits as asked in relation to `other`.
    ///
    /// # Errors
    /// What `open` returns, and [`BenchError::Monitoring`]. When none of [`TRIES`] connections
    /// fits, the last one is taken: what [`Self::held`] says then is in the table.
    pub fn open(
        self,
        server: &Server,
        other: Option<&Connection>,
        open: impl Fn() -> Result<Connection, BenchError>,
    ) -> Result<Connection, BenchError> {
        let Some(other) = other.filter(|_| self.matters(server)) else {
            return open();
        };
        let mut unfit = Vec::new();
        loop {
            let connection = open()?;
            let fits = self.fits(server, (other.id(), connection.id()))?;
            if fits || unfit.len() + 1 == TRIES {
                return Ok(connection);
            }
            unfit.push(connection);
        }
    }

    /// Part of `pairs` that sit as asked; `None` where that has no meaning.
    ///
    /// # Errors
    /// [`BenchError::Monitoring`].
    pub fn held(self, server: &Server, pairs: &[Pair]) -> Result<Option<f64>, BenchError> {
        if !self.matters(server) || pairs.is_empty() {
            return Ok(None);
        }
        let mut held = 0;
        for &pair in pairs {
            held += usize::from(self.fits(server, pair)?);
        }
        Ok(Some(held as f64 / pairs.len() as f64))
    }

    /// How the title says it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Same => ", same shard",
            Self::Across => ", across shards",
        }
    }

    fn matters(self, server: &Server) -> bool {
        self != Self::Any && server.make() == Make::Ramjet
    }

    fn fits(self, server: &Server, (one, other): Pair) -> Result<bool, BenchError> {
        let same = server.shard_of(one)? == server.shard_of(other)?;
        Ok(match self {
            Self::Any => true,
            Self::Same => same,
            Self::Across => !same,
        })
    }
}
