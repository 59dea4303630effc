//! Who asks, for the service that is asked (AUTH-38).

use crate::accounts::client_info::ClientInfo;
use crate::connection::connection::Connection;
use crate::protocol::encode::CRLF;

/// The header's name.
const NAME: &[u8] = b"Nats-Request-Info";

/// What is told of a connection: its account and its round trip, or everything.
pub(super) fn describe(connection: &Connection, detailed: bool) -> ClientInfo<'_> {
    let rtt = connection.keep_alive.rtt.unwrap_or_default().as_nanos() as u64;
    let mut info = ClientInfo {
        acc: &connection.tenant.name,
        rtt,
        ..ClientInfo::default()
    };
    if detailed {
        let options = &connection.options;
        let start = i128::from(connection.start.0);
        let start = jiff::Timestamp::from_nanosecond(start).unwrap_or_default();
        info.start = Some(start.to_string());
        info.host = connection.address.ip().to_string();
        info.id = connection.cid.0;
        info.user = connection.user.as_ref().map_or("", |user| &user.name);
        info.name = &options.name;
        info.lang = &options.lang;
        info.ver = &options.version;
        (info.kind, info.client_type) = match connection.leaf {
            Some(_) => ("Leafnode", ""),
            None => ("Client", connection.listener.client_type()),
        };
    }
    info
}

/// Writes a header block with `info` in it, whatever a client put there, and the payload. Returns
/// the block's length.
pub(super) fn with_header(
    out: &mut Vec<u8>,
    header: Option<&[u8]>,
    info: &ClientInfo<'_>,
    payload: &[u8],
) -> usize {
    let mut lines = header
        .unwrap_or_default()
        .split_inclusive(|&it| it == b'\n');
    match lines.next() {
        Some(version) => out.extend_from_slice(version),
        None => out.extend_from_slice(b"NATS/1.0\r\n"),
    }
    for line in lines {
        let name = line.split(|&it| it == b':').next().unwrap_or_default();
        if line != CRLF && !name.trim_ascii().eq_ignore_ascii_case(NAME) {
            out.extend_from_slice(line);
        }
    }
    out.extend_from_slice(NAME);
    out.extend_from_slice(b": ");
    // Writing into memory does not fail.
    let _ = serde_json::to_writer(&mut *out, info);
    out.extend_from_slice(b"\r\n\r\n");
    let len = out.len();
    out.extend_from_slice(payload);
    len
}
