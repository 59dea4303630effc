//! A client's request for messages (JS-210).

use bytes::Bytes;

use crate::jetstream::api::request::NextRequest;
use crate::protocol::json::{JsonError, JsonReader};

/// What a client asks for. Times are nanoseconds, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PullRequest {
    pub(super) batch: i64,
    /// How long it waits; 0 is without end.
    pub(super) expires: i64,
    /// Bytes at most; 0 is no bound.
    pub(super) bytes: i64,
    pub(super) no_wait: bool,
    /// How often to say that nothing is there; 0 is never.
    pub(super) heartbeat: i64,
    /// Set where the request was an object, whatever was in it.
    pub(super) group: Option<GroupRequest>,
}

/// What a request says to a priority group (JS-220 to JS-223).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct GroupRequest {
    pub(super) name: String,
    pub(super) min_pending: i64,
    pub(super) min_ack_pending: i64,
    /// The pin it holds.
    pub(super) id: Bytes,
    pub(super) priority: i64,
}

impl PullRequest {
    /// Reads a body: nothing, a number or an object; anything else asks for one message.
    ///
    /// # Errors
    /// What stands behind `400 Bad Request - `.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let body = body.trim_ascii();
        if body.first() == Some(&b'{') {
            let request = Self::from_json(body).map_err(|_| {
                // The quick reader knows no words for it.
                let error = NextRequest::decode(body).err();
                error.map_or_else(|| "invalid JSON".to_owned(), |it| it.to_string())
            })?;
            if request.heartbeat > 0 && request.heartbeat.saturating_mul(2) > request.expires {
                return Err("heartbeat value too large".to_owned());
            }
            return Ok(request);
        }
        let number = str::from_utf8(body).ok().and_then(|it| it.parse().ok());
        Ok(Self {
            batch: number.unwrap_or(1),
            ..Self::default()
        })
    }

    fn from_json(body: &[u8]) -> Result<Self, JsonError> {
        let mut request = Self::default();
        let mut group = GroupRequest::default();
        let mut reader = JsonReader::new(body);
        reader.object(|reader, key| {
            let number = match key {
                "batch" => &mut request.batch,
                "expires" => &mut request.expires,
                "max_bytes" => &mut request.bytes,
                "idle_heartbeat" => &mut request.heartbeat,
                "min_pending" => &mut group.min_pending,
                "min_ack_pending" => &mut group.min_ack_pending,
                "priority" => &mut group.priority,
                "no_wait" => {
                    request.no_wait = reader.bool()?.unwrap_or(request.no_wait);
                    return Ok(());
                }
                "group" => {
                    if let Some(name) = reader.string()? {
                        group.name = name;
                    }
                    return Ok(());
                }
                "id" => {
                    if let Some(id) = reader.string()? {
                        group.id = id.into();
                    }
                    return Ok(());
                }
                _ => return reader.skip(),
            };
            *number = reader.integer()?.unwrap_or(*number);
            Ok(())
        })?;
        reader.end()?;
        request.group = Some(group);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn js_210_forms_of_a_request() {
        for (body, batch) in [
            ("", 1),
            ("  ", 1),
            ("7", 7),
            ("junk", 1),
            ("{}", 0),
            ("{\"BATCH\":3}", 3),
        ] {
            let request = PullRequest::parse(body.as_bytes()).expect("readable");
            assert_eq!(request.batch, batch, "{body}");
            assert_eq!(request.group.is_some(), body.starts_with('{'));
        }
        let all = br#"{"batch":2,"expires":9,"no_wait":true,"max_bytes":4,"idle_heartbeat":2,
            "group":"g","id":"i","min_pending":5,"min_ack_pending":6,"priority":8,"failover":1}"#;
        let all = PullRequest::parse(all).expect("readable");
        assert_eq!((all.batch, all.expires, all.bytes), (2, 9, 4));
        assert!(all.no_wait && all.heartbeat == 2);
        let group = all.group.expect("an object");
        assert_eq!((&group.name[..], &group.id[..]), ("g", &b"i"[..]));
        let numbers = (group.min_pending, group.min_ack_pending, group.priority);
        assert_eq!(numbers, (5, 6, 8));
    }

    #[test]
    fn js_217_requests_that_cannot_be_read() {
        let bad = |body: &str| PullRequest::parse(body.as_bytes()).expect_err("refused");
        for (body, text) in [
            ("{", "unexpected end of JSON input"),
            (
                r#"{"batch":1} x"#,
                "invalid character 'x' after top-level value",
            ),
            (
                "{bad}",
                "invalid character 'b' looking for beginning of object key string",
            ),
            (
                r#"{"batch":"x"}"#,
                "json: cannot unmarshal string into Go struct field .batch of type int",
            ),
            (
                r#"{"expires":1.5}"#,
                "json: cannot unmarshal number 1.5 into Go struct field .expires of type time.Duration",
            ),
            (
                r#"{"no_wait":3}"#,
                "json: cannot unmarshal number into Go struct field .no_wait of type bool",
            ),
            (
                r#"{"min_pending":[]}"#,
                "json: cannot unmarshal array into Go struct field .min_pending of type int64",
            ),
        ] {
            assert_eq!(bad(body), text);
        }
        let heartbeat = "{\"idle_heartbeat\":6,\"expires\":10}";
        assert_eq!(bad(heartbeat), "heartbeat value too large");
    }
}
