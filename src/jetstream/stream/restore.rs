//! A stream that is filled from a copy: messages keep their sequences and times.

use super::scheduling::schedule_of;
use super::stream::Stream;
use super::ttl::{self, Ttl};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::snapshot::archive::Entry;
use crate::jetstream::store::{Append, Lifetime};
use crate::time::WallTime;

impl Stream {
    /// Stores a message of a copy under its sequence, which is above the last one; what is between
    /// them is gone. One whose own time is over leaves only its sequence.
    ///
    /// # Errors
    /// There is no room, or it cannot be stored.
    pub fn restore_message(&mut self, entry: &Entry<'_>, now: WallTime) -> Result<(), ApiError> {
        self.check_server_room()?;
        self.check_account_room(entry.name, entry.headers, entry.payload)?;
        let time = WallTime(u64::try_from(entry.time).unwrap_or(0));
        let ttl = ttl::of(entry.headers)?;
        if let Some(Ttl::For(span)) = ttl {
            let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
            if time.0.saturating_add(span) < now.0 {
                self.store.skip(entry.seq, None);
                return Ok(());
            }
        }
        self.store.skip(entry.seq.saturating_sub(1), None);
        let appended = self.store.append(Append {
            subject: entry.name,
            headers: entry.headers,
            payload: entry.payload,
            time,
            lifetime: match ttl {
                None => Lifetime::Stream,
                Some(Ttl::Never) => Lifetime::Forever,
                Some(Ttl::For(span)) => Lifetime::For(span),
            },
            marker: ttl::is_marker(entry.headers),
            schedule: schedule_of(entry.headers).is_some(),
        });
        appended.map_err(errors::stream_store_failed)?;
        self.count_usage();
        Ok(())
    }
}
