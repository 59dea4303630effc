//! A stream that is filled from a copy: messages keep their sequences and times.

use super::scheduling::schedule_of;
use super::stream::Stream;
use super::ttl::{self, Ttl};
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::snapshot::archive::Entry;
use crate::jetstream::store::{Append, Lifetime, StoredMessage};
use crate::time::WallTime;

/// A message of a store as it goes into another one.
pub fn kept_message(message: &StoredMessage) -> Append<'_> {
    // It was taken with these headers.
    let ttl = ttl::of(&message.headers).unwrap_or_default();
    let parts = (
        &message.subject[..],
        &message.headers[..],
        &message.payload[..],
    );
    again(parts, message.time, ttl)
}

/// Subject, headers and payload of a message that was stored once.
fn again<'a>(
    (subject, headers, payload): (&'a [u8], &'a [u8], &'a [u8]),
    time: WallTime,
    ttl: Option<Ttl>,
) -> Append<'a> {
    Append {
        subject,
        headers,
        payload,
        time,
        lifetime: match ttl {
            None => Lifetime::Stream,
            Some(Ttl::Never) => Lifetime::Forever,
            Some(Ttl::For(span)) => Lifetime::For(span),
        },
        marker: ttl::is_marker(headers),
        schedule: schedule_of(headers).is_some(),
    }
}

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
        let message = (entry.name, entry.headers, entry.payload);
        let appended = self.store.append(again(message, time, ttl));
        appended.map_err(errors::stream_store_failed)?;
        self.count_usage();
        Ok(())
    }
}
