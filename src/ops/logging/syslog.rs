//! Lines to a syslog daemon, on this machine or another (CFG-102).
//!
//! The format is the traditional one that stock sends: priority, time, tag and pid in front of
//! the text. Lost connections are made anew, at most once per second; lines in between are lost
//! and counted by the writer.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use super::error::LogError;
use super::line::{Line, Severity, local};

/// Sockets a local daemon listens on, by distribution.
const LOCAL_SOCKETS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];

/// Facility "daemon", for lines that stay on this machine.
const FACILITY_DAEMON: u8 = 3 << 3;

/// Facility 0: what stock sends to an address.
const FACILITY_REMOTE: u8 = 0;

/// Longest one connect or write may hold up the writer thread.
const IO_TIMEOUT: Duration = Duration::from_secs(1);

/// Shortest time between two tries to connect again.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(1);

/// A way to one syslog daemon.
#[derive(Debug)]
pub(super) struct Syslog {
    address: Address,
    /// Name of this process.
    tag: String,
    hostname: String,
    connection: Option<Connection>,
    retry_at: Instant,
}

impl Syslog {
    /// Connects to `remote_syslog`, or to the local daemon when that is empty.
    pub(super) fn connect(remote_syslog: &str, tag: String) -> Result<Self, LogError> {
        let address = Address::parse(remote_syslog)?;
        let connection = address.connect().map_err(|cause| LogError::SyslogConnect {
            address: address.to_string(),
            cause,
        })?;
        let hostname = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        let retry_at = Instant::now();
        Ok(Self {
            address,
            tag,
            hostname,
            connection: Some(connection),
            retry_at,
        })
    }

    /// Sends one line; tries once more over a new connection.
    pub(super) fn send(&mut self, line: &Line) -> io::Result<()> {
        let packet = self.packet(line, std::process::id(), &TimeZone::system());
        if let Some(connection) = &mut self.connection
            && connection.send(&packet).is_ok()
        {
            return Ok(());
        }
        self.connection = None;
        let now = Instant::now();
        if now < self.retry_at {
            return Err(io::ErrorKind::NotConnected.into());
        }
        self.retry_at = now + RECONNECT_INTERVAL;
        let mut connection = self.address.connect()?;
        connection.send(&packet)?;
        self.connection = Some(connection);
        Ok(())
    }

    fn packet(&self, line: &Line, pid: u32, zone: &TimeZone) -> Vec<u8> {
        let (tag, text) = (&self.tag, line.text.trim_end_matches('\n'));
        let time = local(line.at, zone);
        let severity = syslog_severity(line.severity);
        match self.address {
            Address::Local(_) => {
                let priority = FACILITY_DAEMON | severity;
                let stamp = time.strftime("%b %e %H:%M:%S");
                format!("<{priority}>{stamp} {tag}[{pid}]: {text}\n")
            }
            Address::Udp(_) | Address::Tcp(_) | Address::Unix(_) => {
                let priority = FACILITY_REMOTE | severity;
                let stamp = time.strftime("%Y-%m-%dT%H:%M:%S");
                let offset = match time.offset().seconds() {
                    0 => "Z".to_owned(),
                    _ => time.strftime("%:z").to_string(),
                };
                let hostname = &self.hostname;
                format!("<{priority}>{stamp}{offset} {hostname} {tag}[{pid}]: {text}\n")
            }
        }
        .into_bytes()
    }
}

/// Notice, warning, error, critical and debug; trace lines count as notices, as in stock.
const fn syslog_severity(severity: Severity) -> u8 {
    match severity {
        Severity::Fatal => 2,
        Severity::Error => 3,
        Severity::Warning => 4,
        Severity::Info | Severity::Trace => 5,
        Severity::Debug => 7,
    }
}

/// Where the daemon listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    /// First of these sockets that answers.
    Local(Vec<PathBuf>),
    Udp(String),
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    fn parse(remote_syslog: &str) -> Result<Self, LogError> {
        if remote_syslog.is_empty() {
            return Ok(Self::Local(LOCAL_SOCKETS.map(PathBuf::from).to_vec()));
        }
        let host = |rest: &str| rest.split('/').next().unwrap_or_default().to_owned();
        match remote_syslog.split_once("://") {
            Some(("udp", rest)) => Ok(Self::Udp(host(rest))),
            Some(("tcp", rest)) => Ok(Self::Tcp(host(rest))),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            _ => Err(LogError::SyslogAddress {
                address: remote_syslog.to_owned(),
            }),
        }
    }

    fn connect(&self) -> io::Result<Connection> {
        match self {
            Self::Local(paths) => first_ok(paths, |path| connect_unix(path)),
            Self::Unix(path) => connect_unix(path),
            Self::Udp(host_port) => {
                let peers: Vec<_> = host_port.to_socket_addrs()?.collect();
                first_ok(&peers, |peer| {
                    let any = if peer.is_ipv4() {
                        "0.0.0.0:0"
                    } else {
                        "[::]:0"
                    };
                    let socket = UdpSocket::bind(any)?;
                    socket.connect(peer)?;
                    Ok(Connection::Udp(socket))
                })
            }
            Self::Tcp(host_port) => {
                let peers: Vec<_> = host_port.to_socket_addrs()?.collect();
                first_ok(&peers, |peer| {
                    let stream = TcpStream::connect_timeout(peer, IO_TIMEOUT)?;
                    stream.set_write_timeout(Some(IO_TIMEOUT))?;
                    Ok(Connection::Tcp(stream))
                })
            }
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(paths) => {
                let names: Vec<_> = paths
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                f.write_str(&names.join(", "))
            }
            Self::Udp(host_port) => write!(f, "udp://{host_port}"),
            Self::Tcp(host_port) => write!(f, "tcp://{host_port}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

fn first_ok<T>(
    candidates: &[T],
    connect: impl Fn(&T) -> io::Result<Connection>,
) -> io::Result<Connection> {
    let mut failure = io::Error::from(io::ErrorKind::NotFound);
    for candidate in candidates {
        match connect(candidate) {
            Ok(connection) => return Ok(connection),
            Err(cause) => failure = cause,
        }
    }
    Err(failure)
}

/// Datagrams first: that is what daemons use today.
fn connect_unix(path: &Path) -> io::Result<Connection> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(IO_TIMEOUT))?;
    if socket.connect(path).is_ok() {
        return Ok(Connection::UnixDatagram(socket));
    }
    let stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    Ok(Connection::UnixStream(stream))
}

#[derive(Debug)]
enum Connection {
    UnixDatagram(UnixDatagram),
    UnixStream(UnixStream),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Connection {
    fn send(&mut self, packet: &[u8]) -> io::Result<()> {
        match self {
            Self::UnixDatagram(socket) => socket.send(packet).map(drop),
            Self::Udp(socket) => socket.send(packet).map(drop),
            Self::UnixStream(stream) => stream.write_all(packet),
            Self::Tcp(stream) => stream.write_all(packet),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::time::UNIX_EPOCH;

    use super::*;

    fn line(severity: Severity, text: &str) -> Line {
        Line {
            severity,
            at: UNIX_EPOCH + Duration::from_secs(1_699_000_000),
            text: text.into(),
        }
    }

    fn hostname() -> String {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    }

    #[test]
    fn cfg_102_local_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let address = Address::Local(vec!["/nonexistent".into(), path]);
        let connection = Some(address.connect().unwrap());
        let mut syslog = Syslog {
            address,
            tag: "nats-server".into(),
            hostname: String::new(),
            connection,
            retry_at: Instant::now(),
        };
        let packet = syslog.packet(&line(Severity::Warning, "a"), 9, &TimeZone::UTC);
        assert_eq!(
            String::from_utf8(packet).unwrap(),
            "<28>Nov  3 08:26:40 nats-server[9]: a\n"
        );
        syslog.send(&line(Severity::Error, "b\n")).unwrap();
        let mut buffer = [0; 200];
        let length = daemon.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(text.starts_with("<27>Nov "), "{text}");
        assert!(
            text.ends_with(&format!(" nats-server[{}]: b\n", std::process::id())),
            "{text}"
        );
    }

    #[test]
    fn cfg_102_levels() {
        let severities = [
            Severity::Info,
            Severity::Warning,
            Severity::Error,
            Severity::Fatal,
            Severity::Debug,
            Severity::Trace,
        ];
        assert_eq!(severities.map(syslog_severity), [5, 4, 3, 2, 7, 5]);
    }

    #[test]
    fn cfg_102_remote_over_unix_udp_and_tcp() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let unix = UnixDatagram::bind(&path).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut buffer = [0; 200];
        let mut check = |address: &str, receive: &mut dyn FnMut(&mut [u8]) -> usize| {
            let mut syslog = Syslog::connect(address, "tag".into()).unwrap();
            let packet = syslog.packet(&line(Severity::Info, "a"), 9, &TimeZone::UTC);
            let expected = format!("<5>2023-11-03T08:26:40Z {} tag[9]: a\n", hostname());
            assert_eq!(String::from_utf8(packet).unwrap(), expected);
            syslog.send(&line(Severity::Debug, "b")).unwrap();
            let length = receive(&mut buffer);
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            assert!(text.starts_with("<7>2023-11-03T"), "{text}");
            assert!(text.ends_with(&format!(" {} tag[{}]: b\n", hostname(), std::process::id())));
        };
        check(&format!("unix://{}", path.display()), &mut |buffer| {
            unix.recv(buffer).unwrap()
        });
        check(
            &format!("udp://{}", udp.local_addr().unwrap()),
            &mut |buffer| udp.recv(buffer).unwrap(),
        );
        check(
            &format!("tcp://{}", tcp.local_addr().unwrap()),
            &mut |buffer| tcp.accept().unwrap().0.read(buffer).unwrap(),
        );
    }

    #[test]
    fn cfg_102_offsets_other_than_utc_are_written_out() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = format!("udp://{}", socket.local_addr().unwrap());
        let syslog = Syslog::connect(&address, "tag".into()).unwrap();
        let zone = TimeZone::fixed(jiff::tz::offset(-5));
        let packet = syslog.packet(&line(Severity::Info, "a"), 9, &zone);
        assert!(packet.starts_with(b"<5>2023-11-03T03:26:40-05:00 "));
    }

    #[test]
    fn cfg_102_other_schemes_are_refused() {
        for address in ["http://a:1", "a:1", "udp"] {
            let error = Syslog::connect(address, "tag".into()).unwrap_err();
            assert!(matches!(error, LogError::SyslogAddress { .. }), "{error}");
        }
    }

    #[test]
    fn lost_daemon_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let first = UnixDatagram::bind(&path).unwrap();
        let mut syslog =
            Syslog::connect(&format!("unix://{}", path.display()), "t".into()).unwrap();
        drop(first);
        std::fs::remove_file(&path).unwrap();
        assert!(syslog.send(&line(Severity::Info, "lost")).is_err());
        let second = UnixDatagram::bind(&path).unwrap();
        syslog.retry_at = Instant::now();
        syslog.send(&line(Severity::Info, "kept")).unwrap();
        let mut buffer = [0; 200];
        let length = second.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"kept\n"));
    }
}
