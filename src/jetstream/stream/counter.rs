//! Counters: a message says by how much its subject's total changes, and the total is what is
//! stored (section 9).

use std::borrow::Cow;
use std::collections::BTreeMap;

use num_bigint::BigInt;
use serde::Deserialize;

use super::headers;
use super::publish::{Publish, present};
use super::stream::Stream;
use crate::jetstream::api::encode::to_json;
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

/// What a counter is at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Count {
    total: BigInt,
    /// What of that came from sources: their totals as they were last, by stream and subject
    /// (JS-136).
    sources: BTreeMap<String, BTreeMap<String, String>>,
}

/// A counter's last message, as far as it can be told.
pub(super) enum Last {
    /// Zero if there is none.
    Known(Count),
    /// It is still being read.
    Reading,
}

impl Count {
    /// What a stored message says.
    fn of(block: &[u8], payload: &[u8]) -> Result<Self, ApiError> {
        let sources = match present(block, headers::COUNTER_SOURCES) {
            Some(sources) => serde_json::from_slice(sources),
            None => Ok(BTreeMap::new()),
        };
        Ok(Self {
            total: total_of(payload)?,
            sources: sources.map_err(|_| errors::MESSAGE_COUNTER_BROKEN)?,
        })
    }

    /// Counts a message in: by its increment, or, where it comes from a source, by what that
    /// source's total has changed since its last one that came: so nothing counts twice, and
    /// nothing is missed that was never seen. Gives the header block to store where it is another.
    ///
    /// # Errors
    /// 10172 if what a source sends is no total.
    pub fn add(
        &mut self,
        subject: &[u8],
        (block, payload): (&[u8], &[u8]),
        increment: &BigInt,
    ) -> Result<Option<Vec<u8>>, ApiError> {
        let mut stored = None;
        match present(block, headers::STREAM_SOURCE) {
            None => self.total += increment,
            Some(from) => {
                let value = total_of(payload)?;
                let mut fields = from.split(|&it| it == b' ');
                let stream = fields.next().unwrap_or_default();
                let subject = fields.nth(3).unwrap_or(subject);
                let text = |it| String::from_utf8_lossy(it).into_owned();
                let seen = self.sources.entry(text(stream)).or_default();
                let before = seen.insert(text(subject), value.to_string());
                let before = before.and_then(|it| number(it.as_bytes()));
                let change = value - before.unwrap_or_default();
                self.total += &change;
                let mut block_with = Vec::new();
                let change = change.to_string();
                headers::append_set(
                    &mut block_with,
                    block,
                    headers::INCREMENT,
                    change.as_bytes(),
                );
                stored = Some(block_with);
            }
        }
        if !self.sources.is_empty() {
            let mut block_with = Vec::new();
            let block = stored.as_deref().unwrap_or(block);
            let sources = to_json(&self.sources);
            headers::append_set(&mut block_with, block, headers::COUNTER_SOURCES, &sources);
            stored = Some(block_with);
        }
        Ok(stored)
    }

    /// Digits, behind a sign if they are less than nothing.
    pub fn total(&self) -> String {
        self.total.to_string()
    }

    /// The body that is stored for it.
    pub fn body(&self) -> String {
        format!("{{\"val\":\"{}\"}}", self.total)
    }
}

/// The total a message carries.
fn total_of(payload: &[u8]) -> Result<BigInt, ApiError> {
    let stored = serde_json::from_slice::<Stored<'_>>(payload);
    let value = stored.ok().and_then(|it| number(it.value.as_bytes()));
    value.ok_or(errors::MESSAGE_COUNTER_BROKEN)
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

    /// What a subject's counter is at.
    ///
    /// # Errors
    /// 10172 if what is stored is no total.
    pub(super) fn last_count(&mut self, subject: &[u8]) -> Result<Last, ApiError> {
        let last = self.store.subject(subject).map(|it| it.last);
        match last.map(|seq| self.store.fetch(seq)) {
            None | Some(Fetch::Absent) => Ok(Last::Known(Count::default())),
            Some(Fetch::Reading) => Ok(Last::Reading),
            Some(Fetch::Damaged) => Err(errors::MESSAGE_COUNTER_BROKEN),
            Some(Fetch::Message(it)) => Ok(Last::Known(Count::of(&it.headers, &it.payload)?)),
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

    #[test]
    fn js_136_a_source_counts_with_what_has_changed() {
        let block = |from: &str| {
            format!("NATS/1.0\r\nNats-Incr: 1\r\nNats-Stream-Source: {from}\r\n\r\n").into_bytes()
        };
        let body = |total: &str| format!("{{\"val\":\"{total}\"}}").into_bytes();
        let mut count = Count::default();
        let one = BigInt::from(1);
        for (from, value, change, total, sources) in [
            ("A 1 > > a id", "5", "5", "5", r#"{"A":{"a":"5"}}"#),
            // Two that were not seen come with the next one.
            ("A 4 > > a id", "8", "3", "8", r#"{"A":{"a":"8"}}"#),
            ("A 5 > > a id", "-2", "-10", "-2", r#"{"A":{"a":"-2"}}"#),
            (
                "B:hash 1 > > b.x id",
                "7",
                "7",
                "5",
                r#"{"A":{"a":"-2"},"B:hash":{"b.x":"7"}}"#,
            ),
            (
                "B:hash 1 >",
                "1",
                "1",
                "6",
                r#"{"A":{"a":"-2"},"B:hash":{"b.x":"7","s":"1"}}"#,
            ),
        ] {
            let (block, body) = (block(from), body(value));
            let stored = count.add(b"s", (&block, &body), &one).expect("a total");
            let stored = String::from_utf8(stored.expect("another block")).expect("text");
            assert_eq!(
                stored,
                format!(
                    "NATS/1.0\r\nNats-Incr: {change}\r\nNats-Stream-Source: {from}\r\nNats-Counter-Sources: {sources}\r\n\r\n"
                )
            );
            assert_eq!(count.total(), total);
            // Read again, it is the same.
            let read = Count::of(stored.as_bytes(), count.body().as_bytes());
            assert_eq!(read.as_ref(), Ok(&count));
        }
        // What somebody counts here leaves that as it is.
        let own = b"NATS/1.0\r\nNats-Incr: 1\r\n\r\n";
        let stored = count.add(b"s", (own, b""), &one).expect("a total");
        assert_eq!(count.total(), "7");
        let stored = String::from_utf8(stored.expect("another block")).expect("text");
        assert!(stored.contains(r#"Nats-Counter-Sources: {"A":{"a":"-2"},"#));
        let broken = count.add(b"s", (&block("A 1 > > a"), b"x"), &one);
        assert_eq!(broken.expect_err("no total").err_code, 10172);
        let broken = Count::of(b"NATS/1.0\r\nNats-Counter-Sources: x\r\n\r\n", &body("1"));
        assert_eq!(broken.expect_err("no sources").err_code, 10172);
    }
}
