//! Why a client's bytes are refused.

use super::error_text::quote;
use super::parser::Limits;

/// Bytes of a refused input shown in a log line.
const SNIPPET_BYTES: usize = 32;

/// Why a client's bytes are refused. Every variant ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The verb is not one a client may send, or a payload does not end in CRLF (CORE-20).
    #[error("unknown protocol operation")]
    UnknownOperation,
    /// Arguments longer than `max_control_line` (CORE-55).
    #[error("maximum control line exceeded")]
    ControlLineTooLong,
    /// Right verb, wrong arguments (CORE-21).
    #[error("wrong arguments of {verb}")]
    BadArguments {
        /// In capitals.
        verb: &'static str,
    },
    /// The announced size, header included, is over `max_payload` (CORE-54).
    #[error("maximum payload exceeded")]
    MaxPayload {
        /// Bytes announced.
        size: usize,
    },
    /// HPUB although headers were not agreed on (CORE-21, CORE-74).
    #[error("message headers not supported")]
    HeadersNotSupported,
}

impl ProtocolError {
    /// Text of the `-ERR` line as clients match it; `None` where stock closes unspoken.
    pub const fn wire_text(self) -> Option<&'static str> {
        match self {
            Self::UnknownOperation => Some("Unknown Protocol Operation"),
            Self::ControlLineTooLong => Some("maximum control line exceeded"),
            Self::MaxPayload { .. } => Some("Maximum Payload Violation"),
            Self::BadArguments { .. } | Self::HeadersNotSupported => None,
        }
    }

    /// Line for the server's log. `input` is what the parser refused, from the start of the
    /// operation; credentials of a CONNECT are never shown.
    pub fn log_text(self, input: &[u8], limits: &Limits) -> String {
        let mut text = self.to_string();
        let shown = match self {
            Self::MaxPayload { size } => {
                return format!("{self}: {size} vs {}", limits.max_payload);
            }
            Self::HeadersNotSupported | Self::BadArguments { verb: "CONNECT" } => return text,
            Self::UnknownOperation | Self::ControlLineTooLong => SNIPPET_BYTES,
            Self::BadArguments { .. } => input
                .iter()
                .position(|&byte| byte == b'\n')
                .unwrap_or(SNIPPET_BYTES),
        };
        let starts_connect = input.len() >= 7 && input[..7].eq_ignore_ascii_case(b"CONNECT");
        if !starts_connect {
            let mut quoted = Vec::new();
            quote(&mut quoted, &input[..input.len().min(shown)]);
            text.push_str(": ");
            text.push_str(&String::from_utf8_lossy(&quoted));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_line_shows_the_input_but_no_credentials() {
        let limits = Limits {
            max_control_line: 4096,
            max_payload: 10,
            headers: true,
        };
        let check = |error: ProtocolError, input: &[u8], expected: &str| {
            assert_eq!(error.log_text(input, &limits), expected);
        };
        check(
            ProtocolError::UnknownOperation,
            b"\x16\x03\x01",
            r#"unknown protocol operation: "\x16\x03\x01""#,
        );
        check(
            ProtocolError::BadArguments { verb: "PUB" },
            b"PUB a b c d\r\nPING\r\n",
            r#"wrong arguments of PUB: "PUB a b c d\r""#,
        );
        check(
            ProtocolError::ControlLineTooLong,
            b"CONNECT {\"pass\":\"x\"",
            "maximum control line exceeded",
        );
        check(
            ProtocolError::MaxPayload { size: 11 },
            b"PUB a 11\r\n",
            "maximum payload exceeded: 11 vs 10",
        );
    }
}
