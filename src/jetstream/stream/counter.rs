//! Counters: a message says by how much its subject's total changes, and the total is what is
//! stored (section 9).

use std::borrow::Cow;

use num_bigint::BigInt;
use serde::Deserialize;

use super::headers;
use super::publish::Publish;
use super::stream::Stream;
use crate::jetstream::api::errors::{self, ApiError};
use crate::jetstream::store::Fetch;
use crate::protocol::headers::get;

/// What may not stand beside an increment (JS-134).
const NOT_BESIDE: [&[u8]; 6] = [
    headers::ROLLUP,
    headers::EXPECTED_STREAM,
    headers::EXPECTED_LAST_MSG_ID,
    headers::EXPECTED_LAST_SEQ,
    headers::EXPECTED_LAST_SUBJECT_SEQ,
    headers::EXPECTED_LAST_SUBJECT_SEQ_SUBJECT,
];

/// The body of a counter's message.
#[derive(Deserialize)]
struct Stored<'a> {
    #[serde(borrow, rename = "val")]
    value: Cow<'a, str>,
}

/// A counter's last total, as far as it can be told.
pub(super) enum Last {
    /// Zero if there is none.
    Known(BigInt),
    /// The message with it is still being read.
    Reading,
}

/// What is stored for a total.
pub(super) fn body(total: &BigInt) -> String {
    format!("{{\"val\":\"{total}\"}}")
}

impl Stream {
    /// By how much a message changes its counter, if it does.
    pub(super) fn increment(
        &self,
        block: &[u8],
        publish: &Publish<'_>,
    ) -> Result<Option<BigInt>, ApiError> {
        let text = get(block, headers::INCREMENT).filter(|it| !it.is_empty());
        let Some(text) = text else {
            return Ok(None);
        };
        let increment = number(text).ok_or(errors::MESSAGE_INCR_INVALID)?;
        if publish.sourced {
            return Ok(Some(increment));
        }
        if !self.config.allow_msg_counter {
            return Err(errors::MESSAGE_INCR_DISABLED);
        }
        if !publish.payload.is_empty() {
            return Err(errors::MESSAGE_INCR_PAYLOAD);
        }
        let is_there = |key: &&[u8]| get(block, key).is_some_and(|it| !it.is_empty());
        match NOT_BESIDE.iter().any(is_there) {
            true => Err(errors::MESSAGE_INCR_INVALID),
            false => Ok(Some(increment)),
        }
    }

    /// The total of a subject's counter.
    ///
    /// # Errors
    /// 10172 if what is stored is no total.
    pub(super) fn last_total(&mut self, subject: &[u8]) -> Result<Last, ApiError> {
        let last = self.store.subject(subject).map(|it| it.last);
        match last.map(|seq| self.store.fetch(seq)) {
            None | Some(Fetch::Absent) => Ok(Last::Known(BigInt::ZERO)),
            Some(Fetch::Reading) => Ok(Last::Reading),
            Some(Fetch::Damaged) => Err(errors::MESSAGE_COUNTER_BROKEN),
            Some(Fetch::Message(message)) => {
                let stored = serde_json::from_slice::<Stored<'_>>(&message.payload);
                let value = stored.ok().and_then(|it| number(it.value.as_bytes()));
                Ok(Last::Known(value.ok_or(errors::MESSAGE_COUNTER_BROKEN)?))
            }
        }
    }
}

/// Digits behind a sign or none.
fn number(text: &[u8]) -> Option<BigInt> {
    let digits = text.strip_prefix(b"+").or(text.strip_prefix(b"-"));
    // The library would let more through.
    if !digits.unwrap_or(text).iter().all(u8::is_ascii_digit) {
        return None;
    }
    BigInt::parse_bytes(text, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_behind_a_sign() {
        for (text, value) in [
            ("0", Some("0")),
            ("+5", Some("5")),
            ("-10", Some("-10")),
            ("-0", Some("0")),
            ("0012", Some("12")),
            (
                "99999999999999999999999999",
                Some("99999999999999999999999999"),
            ),
            ("", None),
            ("+", None),
            ("-", None),
            ("--1", None),
            ("+-1", None),
            ("1_000", None),
            ("1.5", None),
            (" 1", None),
            ("0x1", None),
        ] {
            let read = number(text.as_bytes()).map(|it| it.to_string());
            assert_eq!(read.as_deref(), value, "{text:?}");
        }
    }
}
