//! Leaf nodes: the listener, what shards know of it, and the threads that connect to hubs.

use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use nkeys::KeyPair;

use super::handle::Shared;
use super::start::{StartError, listen};
use crate::accounts::registry::Accounts;
use crate::auth::authenticate::{AuthConfigError, Authenticator};
use crate::ids::GLOBAL_ACCOUNT;
use crate::options::{AuthOptions, LeafOptions, Options, RemoteOptions};
use crate::shard::control::Control;
use crate::shard::leaf::Solicited;
use crate::shard::leaf::settings::LeafSettings;

/// Port of leaf nodes where a URL names none (TOPO-1).
const DEFAULT_PORT: u16 = 7422;
/// Time the first INFO may take where nothing else is said (TOPO-18).
const FIRST_INFO_TIMEOUT: Duration = Duration::from_secs(1);
/// A reconnecting thread looks this often whether the server ends.
const LOOK: Duration = Duration::from_millis(50);

/// Opens the leaf node listener, if there is to be one.
pub(super) fn listen_leafnodes(
    options: &LeafOptions,
) -> Result<Option<(TcpListener, SocketAddr)>, StartError> {
    if options.port == 0 {
        return Ok(None);
    }
    listen(host(options), options.port).map(Some)
}

fn host(options: &LeafOptions) -> &str {
    match options.host.as_str() {
        "" => "0.0.0.0",
        host => host,
    }
}

/// What shards know of leaf nodes; `port` is where the listener really is, 0 without one.
///
/// # Errors
/// What is wrong with `authorization`.
pub(super) fn settings(
    options: &Options,
    accounts: &Accounts,
    port: u16,
) -> Result<LeafSettings, AuthConfigError> {
    let own = &options.leafnodes;
    let authenticator = match own.users.is_empty() {
        true => None,
        false => Some(Arc::new(Authenticator::with_accounts(
            &AuthOptions {
                users: own.users.clone(),
                ..AuthOptions::default()
            },
            accounts,
        )?)),
    };
    let advertised = match own.advertise.as_str() {
        "" => format!("{}:{port}", host(own)),
        text if text.contains(':') => text.to_owned(),
        text => format!("{text}:{port}"),
    };
    Ok(LeafSettings {
        host: host(own).to_owned(),
        port,
        urls: match port == 0 || own.no_advertise {
            true => Vec::new(),
            false => vec![advertised],
        },
        authenticator,
        auth_timeout: own.auth_timeout,
        min_version: own.min_version.clone(),
        cluster: options.cluster_name.clone().unwrap_or_default(),
        isolate: own.isolate,
    })
}

/// Starts a thread for each remote, which connects to it for as long as the server runs.
///
/// # Errors
/// When a thread cannot be made.
pub(super) fn solicit(options: &LeafOptions, shared: &Arc<Shared>) -> std::io::Result<()> {
    let enabled = options.remotes.iter().filter(|it| !it.disabled);
    for (number, remote) in enabled.enumerate() {
        let remote = Remote {
            number: number as u32,
            options: remote.clone(),
            reconnect: options.reconnect,
            dial_timeout: remote.dial_timeout.unwrap_or(options.dial_timeout),
        };
        let shared = Arc::clone(shared);
        std::thread::Builder::new()
            .name(format!("leaf-{number}"))
            .spawn(move || remote.keep_connected(&shared))?;
    }
    Ok(())
}

struct Remote {
    number: u32,
    options: RemoteOptions,
    reconnect: Duration,
    dial_timeout: Duration,
}

impl Remote {
    fn keep_connected(&self, shared: &Shared) {
        let mut urls = self.options.urls.clone();
        if !self.options.no_randomize {
            shuffle(&mut urls);
        }
        let mut attempts: u64 = 0;
        while !shared.has_ended() {
            let Some(url) = urls.first().cloned() else {
                return;
            };
            let delay = match self.connect(&url, shared) {
                Ok(delay) => {
                    attempts = 0;
                    delay
                }
                Err(error) => {
                    attempts += 1;
                    if attempts == 1 || attempts.is_multiple_of(3600) {
                        log::error!(
                            "Error trying to connect as leafnode to remote server {:?} (attempt \
                             {attempts}): {error}",
                            shown(&url)
                        );
                    }
                    None
                }
            };
            urls.rotate_left(1);
            let usual = || self.reconnect + self.reconnect.mul_f64(random());
            pause(delay.unwrap_or_else(usual), shared);
        }
    }

    /// One connection, from its making to its end; returns the time to wait if that is not usual.
    fn connect(&self, url: &str, shared: &Shared) -> Result<Option<Duration>, String> {
        let place = Place::parse(url).ok_or("not a leaf node URL")?;
        let with = self.solicited(&place)?;
        let addresses = (place.host.as_str(), place.port).to_socket_addrs();
        let addresses = addresses.map_err(|error| error.to_string())?;
        let mut last = String::from("no address");
        let dial = |address| TcpStream::connect_timeout(&address, self.dial_timeout);
        let stream = addresses
            .into_iter()
            .find_map(|address| dial(address).map_err(|error| last = error.to_string()).ok());
        let stream = stream.ok_or(last)?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let address = stream.peer_addr().map_err(|error| error.to_string())?;
        let (ended, ending) = channel();
        let first = shared.shards.0.first().ok_or("the server ends")?;
        first.send(Control::Link {
            socket: stream.into(),
            cid: None,
            address,
            with: Box::new(with),
            ended,
        });
        // The other end goes when the link does, and with the shard.
        Ok(ending.recv().ok().flatten())
    }

    fn solicited(&self, place: &Place) -> Result<Solicited, String> {
        let (jwt, signer) = self.identity()?;
        let options = &self.options;
        Ok(Solicited {
            remote: self.number,
            account: match options.account.as_str() {
                "" => GLOBAL_ACCOUNT.to_owned(),
                account => account.to_owned(),
            },
            user: place.user.clone(),
            jwt,
            signer,
            hub: options.hub,
            deny_imports: options.deny_imports.clone(),
            deny_exports: options.deny_exports.clone(),
            isolated: options.isolate,
            request_isolation: options.request_isolation,
            first_info_timeout: options.first_info_timeout.unwrap_or(FIRST_INFO_TIMEOUT),
        })
    }

    /// The token and the key that signs. Read for each connection: files change.
    fn identity(&self) -> Result<(String, Option<KeyPair>), String> {
        if let Some(path) = &self.options.credentials {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            let mut blocks = credentials_blocks(&text);
            let (Some(jwt), Some(seed)) = (blocks.next(), blocks.next()) else {
                return Err("Credentials file malformed".into());
            };
            let key = KeyPair::from_seed(seed);
            let key = key.map_err(|_| "Credentials file has malformed seed")?;
            return Ok((jwt.to_owned(), Some(key)));
        }
        let Some(seed) = &self.options.nkey else {
            return Ok((String::new(), None));
        };
        let key = KeyPair::from_seed(seed).map_err(|_| "Remote nkey has malformed seed")?;
        Ok((String::new(), Some(key)))
    }
}

/// What stands between the dashed lines of a credentials file.
fn credentials_blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut lines = text.lines().map(str::trim);
    std::iter::from_fn(move || {
        lines.find(|line| line.starts_with("---") && line.contains("BEGIN"))?;
        lines.find(|line| !line.is_empty())
    })
}

/// A remote's URL in parts.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    user: Option<(String, String)>,
    host: String,
    port: u16,
}

impl Place {
    fn parse(url: &str) -> Option<Self> {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let rest = rest.split(['/', '?']).next()?;
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let user = user.map(|it| {
            let (name, password) = it.split_once(':').unwrap_or((it, ""));
            (percent_decoded(name), percent_decoded(password))
        });
        let bracketed = address.ends_with(']');
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !bracketed => (host, port.parse().ok()?),
            _ => (address, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| Self {
            user,
            host: host.to_owned(),
            port,
        })
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| byte == b'%');
        let code = code.and_then(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A URL for the log: without its secrets.
fn shown(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, address))) => format!("{scheme}://{address}"),
        _ => url.to_owned(),
    }
}

fn pause(time: Duration, shared: &Shared) {
    let until = std::time::Instant::now() + time;
    while !shared.has_ended() {
        let left = until.saturating_duration_since(std::time::Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// From 0 to below 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    // Without it everybody comes back at once, and that is all.
    let _ = getrandom::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}

fn shuffle<T>(list: &mut [T]) {
    for last in (1..list.len()).rev() {
        let at = (random() * (last + 1) as f64) as usize;
        list.swap(last, at.min(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_remotes() {
        let place = |user: Option<(&str, &str)>, host: &str, port| {
            Some(Place {
                user: user.map(|(name, pass)| (name.to_owned(), pass.to_owned())),
                host: host.to_owned(),
                port,
            })
        };
        let check = |url: &str, expected| assert_eq!(Place::parse(url), expected, "{url}");
        check("nats-leaf://h:1", place(None, "h", 1));
        check("nats://u:p%40@h", place(Some(("u", "p@")), "h", 7422));
        check("tls://t@[::1]:5/x", place(Some(("t", "")), "::1", 5));
        check("[::1]", place(None, "::1", 7422));
        check("nats://h:x", None);
        assert_eq!(shown("nats://u:secret@h:1"), "nats://h:1");
    }

    #[test]
    fn credentials_files() {
        let text = "-----BEGIN NATS USER JWT-----\nabc\n------END NATS USER JWT------\n\n\
            -----BEGIN USER NKEY SEED-----\nSU\n------END USER NKEY SEED------\n";
        assert_eq!(credentials_blocks(text).collect::<Vec<_>>(), ["abc", "SU"]);
    }
}
