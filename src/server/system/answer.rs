//! The frame around an answer, and how it is packed (MON-41, MON-43).

use std::io::Write;

use serde_json::{Value, json};

use crate::protocol::headers;
use crate::shard::internal::InternalMessage;

/// Why a request has no data in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// As HTTP has them.
    pub code: u16,
    /// For a person.
    pub description: String,
    /// The answer says that there is no data, rather than nothing of it.
    pub without_data: bool,
}

impl Failure {
    /// The body of the request makes no sense.
    pub(super) fn bad_request(description: String) -> Self {
        Self {
            code: 400,
            description,
            without_data: false,
        }
    }

    /// What was asked for cannot be had.
    pub(super) fn failed(description: impl Into<String>) -> Self {
        Self {
            code: 500,
            description: description.into(),
            without_data: false,
        }
    }

    /// The same where there would have been data.
    pub(super) fn no_data(description: impl Into<String>) -> Self {
        Self {
            without_data: true,
            ..Self::failed(description)
        }
    }
}

/// An answer as JSON. `server` is one stamp; an answer without data is `None`.
pub(super) fn envelope(server: &str, outcome: &Result<Option<Value>, Failure>) -> String {
    match outcome {
        Ok(Some(data)) => format!("{{\"server\":{server},\"data\":{data}}}"),
        Ok(None) => format!("{{\"server\":{server}}}"),
        Err(failure) => {
            let error = json!({ "code": failure.code, "description": failure.description });
            let data = if failure.without_data {
                "\"data\":null,"
            } else {
                ""
            };
            format!("{{\"server\":{server},{data}\"error\":{error}}}")
        }
    }
}

/// Packs an answer as the request accepts it: header block and body.
pub(super) fn pack(request: &InternalMessage, answer: String) -> (Vec<u8>, Vec<u8>) {
    let body = answer.into_bytes();
    let accepted = headers::get(&request.header, b"Accept-Encoding").unwrap_or_default();
    let accepted = accepted.to_ascii_lowercase();
    let accepts = |name: &[u8]| memchr::memmem::find(&accepted, name).is_some();
    if accepted.is_empty() {
        return (Vec::new(), body);
    }
    // What fails to be packed, of which there is nothing in memory, leaves as it is.
    let packed = if accepts(b"snappy") || accepts(b"s2") {
        snappy(&body).map(|it| ("snappy", it))
    } else if accepts(b"gzip") {
        gzip(&body).map(|it| ("gzip", it))
    } else {
        None
    };
    let (name, body) = packed.unwrap_or(("identity", body));
    let header = format!("NATS/1.0\r\nContent-Encoding: {name}\r\n\r\n");
    (header.into_bytes(), body)
}

fn snappy(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = snap::write::FrameEncoder::new(Vec::new());
    out.write_all(body).ok()?;
    out.into_inner().ok()
}

fn gzip(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(body).ok()?;
    out.finish().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::ids::AccountId;
    use crate::shard::internal::ServiceId;

    fn packed(accepted: &str) -> (String, Vec<u8>) {
        let header = match accepted {
            "" => String::new(),
            accepted => format!("NATS/1.0\r\nAccept-Encoding: {accepted}\r\n\r\n"),
        };
        let request = InternalMessage {
            service: ServiceId(0),
            account: AccountId::GLOBAL,
            subject: Box::default(),
            reply: None,
            header: header.into_bytes().into(),
            payload: Box::default(),
            requester: None,
        };
        let (header, body) = pack(&request, "answer ".repeat(100));
        (String::from_utf8(header).expect("text"), body)
    }

    #[test]
    fn mon_043_answers_are_packed_as_they_are_accepted() {
        let plain = "answer ".repeat(100).into_bytes();
        assert_eq!(packed(""), (String::new(), plain.clone()));
        for accepted in ["snappy", "S2", "gzip, snappy"] {
            let (header, body) = packed(accepted);
            assert_eq!(header, "NATS/1.0\r\nContent-Encoding: snappy\r\n\r\n");
            assert!(body.starts_with(b"\xff\x06\x00\x00sNaPpY") && body.len() < plain.len());
            let mut unpacked = Vec::new();
            let mut reader = snap::read::FrameDecoder::new(&*body);
            reader.read_to_end(&mut unpacked).expect("snappy");
            assert_eq!(unpacked, plain);
        }
        let (header, body) = packed("gzip");
        assert_eq!(header, "NATS/1.0\r\nContent-Encoding: gzip\r\n\r\n");
        let mut unpacked = Vec::new();
        let mut reader = flate2::read::GzDecoder::new(&*body);
        reader.read_to_end(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain);
        let (header, body) = packed("br");
        assert_eq!(header, "NATS/1.0\r\nContent-Encoding: identity\r\n\r\n");
        assert_eq!(body, plain);
    }
}
