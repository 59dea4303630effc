//! Why connections end.

/// Why a connection was closed; the texts are those of `/connz` (MON-23).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer went away.
    ClientClosed,
    /// No CONNECT in time.
    AuthenticationTimeout,
    /// Wrong credentials.
    AuthenticationFailure,
    /// The credentials' time is over (AUTH-53).
    AuthenticationExpired,
    /// The user has been shut out (AUTH-55).
    CredentialsRevoked,
    /// Right credentials perhaps, but not through the proxy they are for.
    ProxyRequired,
    /// Through a proxy that is not trusted.
    ProxyNotTrusted,
    /// More than `max_pending` queued.
    SlowConsumerPendingBytes,
    /// One write took longer than `write_deadline`.
    SlowConsumerWriteDeadline,
    /// Sending failed.
    WriteError,
    /// Receiving failed.
    ReadError,
    /// Right verb, wrong arguments.
    ParseError,
    /// No answer to our PINGs.
    StaleConnection,
    /// Bytes that are no operation.
    ProtocolViolation,
    /// `protocol` of the CONNECT is not one we know.
    BadClientProtocolVersion,
    /// More than `max_connections`.
    MaximumConnectionsExceeded,
    /// More than its account may have (CORE-16).
    MaximumAccountConnectionsExceeded,
    /// As many subscriptions as are allowed, when that was looked at anew (CORE-56).
    MaximumSubscriptionsExceeded,
    /// More than `max_payload`.
    MaximumPayloadExceeded,
    /// More than `max_control_line`.
    MaximumControlLineExceeded,
    /// The server ends.
    ServerShutdown,
    /// An operator wants it gone.
    Kicked,
    /// `no_responders` without headers.
    NoRespondersRequiresHeaders,
    /// TLS was not agreed on.
    TlsHandshakeError,
    /// A newer link of the same server takes its place (TOPO-14).
    DuplicateRemoteLeafNode,
    /// It is another port than that of leaf nodes.
    WrongPort,
}

impl CloseReason {
    /// Text shown by `/connz` and in the log.
    pub const fn text(self) -> &'static str {
        match self {
            Self::ClientClosed => "Client Closed",
            Self::AuthenticationTimeout => "Authentication Timeout",
            Self::AuthenticationFailure => "Authentication Failure",
            Self::AuthenticationExpired => "Authentication Expired",
            Self::CredentialsRevoked => "Credentials Revoked",
            Self::ProxyRequired => "Proxy Required",
            Self::ProxyNotTrusted => "Proxy Not Trusted",
            Self::SlowConsumerPendingBytes => "Slow Consumer (Pending Bytes)",
            Self::SlowConsumerWriteDeadline => "Slow Consumer (Write Deadline)",
            Self::WriteError => "Write Error",
            Self::ReadError => "Read Error",
            Self::ParseError => "Parse Error",
            Self::StaleConnection => "Stale Connection",
            Self::ProtocolViolation => "Protocol Violation",
            Self::BadClientProtocolVersion => "Bad Client Protocol Version",
            Self::MaximumConnectionsExceeded => "Maximum Connections Exceeded",
            Self::MaximumAccountConnectionsExceeded => "Maximum Account Connections Exceeded",
            Self::MaximumSubscriptionsExceeded => "Maximum Subscriptions Exceeded",
            Self::MaximumPayloadExceeded => "Maximum Message Payload Exceeded",
            Self::MaximumControlLineExceeded => "Maximum Control Line Exceeded",
            Self::ServerShutdown => "Server Shutdown",
            Self::Kicked => "Kicked",
            Self::NoRespondersRequiresHeaders => "No Responders Requires Headers",
            Self::TlsHandshakeError => "TLS Handshake Failure",
            Self::DuplicateRemoteLeafNode => "Duplicate Remote LeafNode Connection",
            Self::WrongPort => "Incorrect Port",
        }
    }

    /// Status of the close frame a WebSocket client gets (WS-13).
    pub const fn websocket_status(self) -> u16 {
        match self {
            Self::ClientClosed => 1000,
            Self::AuthenticationTimeout
            | Self::AuthenticationFailure
            | Self::SlowConsumerPendingBytes
            | Self::SlowConsumerWriteDeadline
            | Self::MaximumConnectionsExceeded
            | Self::MaximumSubscriptionsExceeded
            | Self::MaximumAccountConnectionsExceeded
            | Self::AuthenticationExpired
            | Self::CredentialsRevoked
            | Self::MaximumControlLineExceeded => 1008,
            Self::TlsHandshakeError => 1015,
            Self::ParseError | Self::ProtocolViolation | Self::BadClientProtocolVersion => 1002,
            Self::MaximumPayloadExceeded => 1009,
            Self::WriteError | Self::ReadError | Self::StaleConnection | Self::ServerShutdown => {
                1001
            }
            Self::NoRespondersRequiresHeaders
            | Self::ProxyRequired
            | Self::ProxyNotTrusted
            | Self::DuplicateRemoteLeafNode
            | Self::WrongPort
            | Self::Kicked => 1011,
        }
    }

    /// Is what waits for the connection still sent (CORE-66)? Not to one that cannot take it.
    pub const fn flushes(self) -> bool {
        !matches!(
            self,
            Self::SlowConsumerPendingBytes
                | Self::SlowConsumerWriteDeadline
                | Self::WriteError
                | Self::ReadError
        )
    }
}
