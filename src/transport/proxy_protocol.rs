//! The header a proxy puts in front of a connection, version 1 and 2 (CORE-91).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest line of version 1, CRLF included.
const LINE_MAX: usize = 107;
const V1_PREFIX: &[u8; 6] = b"PROXY ";
const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const V2_HEAD: usize = 16;

/// What the front of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Too little of it has come to tell.
    More,
    /// No header: the connection begins with these bytes.
    None,
    /// A header of that many bytes; the client's address, unless the proxy speaks for itself.
    Header {
        /// Bytes it takes.
        used: usize,
        /// The client.
        client: Option<SocketAddr>,
    },
}

/// A header that begins as one and is none. The texts are stock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyHeaderError {
    /// No CRLF in 107 bytes.
    #[error("invalid PROXY protocol header: v1 line too long")]
    LineTooLong,
    /// Not five words after `PROXY`.
    #[error("invalid PROXY protocol header: invalid v1 format")]
    Format,
    /// No address.
    #[error("invalid PROXY protocol header: invalid address")]
    Address,
    /// No port.
    #[error("invalid {0} port")]
    Port(&'static str),
    /// `TCP4` with an IPv6 address.
    #[error("invalid PROXY protocol header: TCP4 with IPv6 address")]
    V6InTcp4,
    /// `TCP6` with an IPv4 address.
    #[error("invalid PROXY protocol header: TCP6 with IPv4 address")]
    V4InTcp6,
    /// Neither.
    #[error("invalid PROXY protocol header: invalid protocol")]
    Protocol,
    /// Not the whole of version 2's signature.
    #[error("invalid PROXY protocol header: invalid signature")]
    Signature,
    /// Another version.
    #[error("invalid PROXY protocol header: invalid version 0x{0:02x}")]
    Version(u8),
    /// Neither LOCAL nor PROXY.
    #[error("unknown PROXY protocol command: 0x{0:02x}")]
    Command(u8),
    /// UDP and the like.
    #[error("unsupported PROXY protocol feature: only STREAM protocol supported")]
    NotStream,
    /// Unix sockets and the like.
    #[error("unsupported PROXY protocol feature: unsupported address family 0x{0:02x}")]
    Family(u8),
    /// Shorter than the addresses it says it has.
    #[error("{0} address data too short: {1} bytes")]
    TooShort(&'static str, usize),
}

/// Reads the front of a connection.
///
/// # Errors
/// [`ProxyHeaderError`]: it begins as a header and is none.
pub fn read(input: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let head = &input[..input.len().min(V1_PREFIX.len())];
    let (v1, v2) = (V1_PREFIX.starts_with(head), V2_SIGNATURE.starts_with(head));
    if !v1 && !v2 {
        return Ok(Progress::None);
    }
    if head.len() < V1_PREFIX.len() {
        return Ok(Progress::More);
    }
    if v1 { line(input) } else { binary(input) }
}

fn line(input: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let window = &input[..input.len().min(LINE_MAX)];
    let Some(end) = memchr::memmem::find(window, b"\r\n") else {
        return if window.len() == LINE_MAX {
            Err(ProxyHeaderError::LineTooLong)
        } else {
            Ok(Progress::More)
        };
    };
    let used = end + 2;
    let text =
        std::str::from_utf8(&window[V1_PREFIX.len()..end]).map_err(|_| ProxyHeaderError::Format)?;
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.first().is_some_and(|&word| word == "UNKNOWN") {
        return Ok(Progress::Header { used, client: None });
    }
    let &[protocol, source, target, source_port, target_port] = words.as_slice() else {
        return Err(ProxyHeaderError::Format);
    };
    let address = |text: &str| {
        text.parse::<IpAddr>()
            .map_err(|_| ProxyHeaderError::Address)
    };
    let (from, _) = (address(source)?, address(target)?);
    let port = |text: &str, which| {
        let digits = !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
        digits
            .then(|| text.parse::<u16>().ok())
            .flatten()
            .ok_or(ProxyHeaderError::Port(which))
    };
    let (from_port, _) = (port(source_port, "source")?, port(target_port, "dest")?);
    let v6 = [source, target].map(|text| text.contains(':'));
    match protocol {
        "TCP4" if v6.contains(&true) => return Err(ProxyHeaderError::V6InTcp4),
        "TCP6" if v6.contains(&false) => return Err(ProxyHeaderError::V4InTcp6),
        "TCP4" | "TCP6" => {}
        _ => return Err(ProxyHeaderError::Protocol),
    }
    let client = SocketAddr::new(from.to_canonical(), from_port);
    Ok(Progress::Header {
        used,
        client: Some(client),
    })
}

fn binary(input: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let signature = &input[..input.len().min(V2_SIGNATURE.len())];
    if !V2_SIGNATURE.starts_with(signature) {
        return Err(ProxyHeaderError::Signature);
    }
    let Some(&[version_command, family_protocol, high, low]) =
        input.get(V2_SIGNATURE.len()..V2_HEAD)
    else {
        return Ok(Progress::More);
    };
    let (version, command) = (version_command & 0xf0, version_command & 0x0f);
    let (family, protocol) = (family_protocol & 0xf0, family_protocol & 0x0f);
    let len = usize::from(u16::from_be_bytes([high, low]));
    if version != 0x20 {
        return Err(ProxyHeaderError::Version(version));
    }
    let local = match command {
        0 => true,
        1 => false,
        _ => return Err(ProxyHeaderError::Command(command)),
    };
    if !local {
        if protocol != 1 {
            return Err(ProxyHeaderError::NotStream);
        }
        match family {
            0x10 if len < 12 => return Err(ProxyHeaderError::TooShort("IPv4", len)),
            0x20 if len < 36 => return Err(ProxyHeaderError::TooShort("IPv6", len)),
            0x00 | 0x10 | 0x20 => {}
            _ => return Err(ProxyHeaderError::Family(family)),
        }
    }
    let used = V2_HEAD + len;
    // At most 64 KiB, the length's own bound; nothing of it is stored beyond that.
    let Some(data) = input.get(V2_HEAD..used) else {
        return Ok(Progress::More);
    };
    let client = if local { None } else { addresses(family, data) };
    Ok(Progress::Header { used, client })
}

fn addresses(family: u8, data: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| Some(u16::from_be_bytes(data.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x10 => {
            let ip: [u8; 4] = data.get(..4)?.try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port(8)?))
        }
        0x20 => {
            let ip: [u8; 16] = data.get(..16)?.try_into().ok()?;
            let ip = IpAddr::from(Ipv6Addr::from(ip)).to_canonical();
            Some(SocketAddr::new(ip, port(32)?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &[u8], expected: Result<Progress, ProxyHeaderError>) {
        // Any front of a header asks for more: the network cuts where it likes.
        if let Ok(Progress::Header { used, .. }) = expected {
            for end in 0..used {
                assert_eq!(read(&input[..end]), Ok(Progress::More), "cut at {end}");
            }
        }
        assert_eq!(read(input), expected);
    }

    fn header(used: usize, client: Option<&str>) -> Result<Progress, ProxyHeaderError> {
        let client = client.map(|text| text.parse().expect("an address"));
        Ok(Progress::Header { used, client })
    }

    #[test]
    fn version_1() {
        check(
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 4222\r\nPING",
            header(38, Some("1.2.3.4:1000")),
        );
        check(
            b"PROXY TCP6 ::1 2001:db8::2 65535 1\r\n",
            header(36, Some("[::1]:65535")),
        );
        check(b"PROXY UNKNOWN a b c\r\n", header(21, None));
        check(
            b"PROXY TCP4 ::1 ::2 1 2\r\n",
            Err(ProxyHeaderError::V6InTcp4),
        );
        check(
            b"PROXY TCP6 1.2.3.4 ::2 1 2\r\n",
            Err(ProxyHeaderError::V4InTcp6),
        );
        check(
            b"PROXY TCP4 1.2.3.4 1.2.3.5 +1 2\r\n",
            Err(ProxyHeaderError::Port("source")),
        );
        check(
            b"PROXY TCP4 1.2.3.4 1.2.3.5 1 70000\r\n",
            Err(ProxyHeaderError::Port("dest")),
        );
        check(
            b"PROXY TCP4 x 1.2.3.5 1 2\r\n",
            Err(ProxyHeaderError::Address),
        );
        check(b"PROXY TCP4\r\n", Err(ProxyHeaderError::Format));
        check(b"PROXY \xff\r\n", Err(ProxyHeaderError::Format));
        let mut long = b"PROXY ".to_vec();
        long.resize(107, b'x');
        check(&long, Err(ProxyHeaderError::LineTooLong));
    }

    #[test]
    fn version_2() {
        let with = |version_command: u8, family: u8, data: &[u8]| {
            let mut header = V2_SIGNATURE.to_vec();
            header.extend([version_command, family]);
            header.extend((data.len() as u16).to_be_bytes());
            header.extend_from_slice(data);
            header
        };
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0x10, 0x01, 0x10, 0x7e];
        check(&with(0x21, 0x11, &v4), header(28, Some("1.2.3.4:4097")));
        let mut more = v4.to_vec();
        more.extend([3, 0, 1, 9]);
        check(&with(0x21, 0x11, &more), header(32, Some("1.2.3.4:4097")));
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[33] = 7;
        check(&with(0x21, 0x21, &v6), header(52, Some("[::1]:7")));
        check(&with(0x20, 0, &[]), header(16, None));
        check(&with(0x20, 0x31, &[1, 2, 3]), header(19, None));
        check(&with(0x21, 0x01, &[1, 2]), header(18, None));
        check(&with(0x31, 0x11, &v4), Err(ProxyHeaderError::Version(0x30)));
        check(&with(0x22, 0x11, &v4), Err(ProxyHeaderError::Command(2)));
        check(&with(0x21, 0x12, &v4), Err(ProxyHeaderError::NotStream));
        check(&with(0x21, 0x31, &v4), Err(ProxyHeaderError::Family(0x30)));
        check(
            &with(0x21, 0x11, &v4[..8]),
            Err(ProxyHeaderError::TooShort("IPv4", 8)),
        );
        check(b"\r\n\r\n\0\rX", Err(ProxyHeaderError::Signature));
    }

    #[test]
    fn no_header_is_no_error() {
        check(b"", Ok(Progress::More));
        check(b"PROXX", Ok(Progress::None));
        check(b"CONNECT {}\r\n", Ok(Progress::None));
        check(b"\x16\x03\x01", Ok(Progress::None));
        check(b"PUB x 1\r\n", Ok(Progress::None));
    }
}
