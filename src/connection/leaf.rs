//! A leaf link as its connection knows it: who is on the other side, and what may pass (TOPO-8..36).

use std::borrow::Cow;
use std::time::Duration;

use nkeys::KeyPair;

use super::jetstream_wall::JetStreamWall;
use crate::auth::permissions::Permissions;
use crate::options::{PermissionsOptions, SubjectPermission};
use crate::protocol::leaf::info::{LeafInfo, SubjectLists};
use crate::routing::links::Origin;
use crate::transport::dial::{Dial, DialTls};
use crate::transport::s2::level::Mode;
use crate::transport::websocket::upgrade::Request;

/// Front of the subjects by which loops are found (TOPO-32).
pub const LOOP_DETECTION: &[u8] = b"$LDS.";

/// How far a link has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeafStage {
    /// We connected and wait for the first INFO.
    AwaitsInfo,
    /// It is here, and TLS comes next.
    AwaitsTls,
    /// We have said how we compress, and their INFO comes again.
    AwaitsCompressed,
    /// They connected: their CONNECT comes next.
    AwaitsConnect,
    /// Our CONNECT is out; the INFO that answers it comes next.
    AwaitsAnswer,
    /// Interest and messages pass.
    Open,
}

/// What we connect with, as the server that solicits.
pub struct Solicited {
    /// Place of the remote in the configuration.
    pub remote: u32,
    /// Account of the link on our side.
    pub account: String,
    /// User name, and password.
    pub user: Option<(String, String)>,
    /// User JWT.
    pub jwt: String,
    /// Signs the nonce.
    pub signer: Option<KeyPair>,
    /// We are the hub of this link.
    pub hub: bool,
    /// What we do not take.
    pub deny_imports: Vec<String>,
    /// What we do not give.
    pub deny_exports: Vec<String>,
    /// Other leaf nodes' interest is not told.
    pub isolated: bool,
    /// The other side is asked for the same.
    pub request_isolation: bool,
    /// Time the first INFO may take.
    pub first_info_timeout: Duration,
    /// TLS with the hub, if that was asked for.
    pub tls: Option<DialTls>,
    /// It comes before the first INFO.
    pub tls_first: bool,
    /// All goes through a WebSocket, whose TLS comes first, too.
    pub websocket: Option<Request>,
    /// How the link may be compressed.
    pub compression: Mode,
    /// Links of this remote before this one.
    pub reconnects: u64,
}

impl Solicited {
    /// What comes before the first INFO, if anything does.
    pub fn opening(&self) -> Option<Dial> {
        let tls = self.tls.clone();
        let dial = Dial {
            tls: tls.filter(|_| self.tls_first || self.websocket.is_some()),
            websocket: self.websocket.clone(),
        };
        (dial.tls.is_some() || dial.websocket.is_some()).then_some(dial)
    }
}

/// What whoever has made a link is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkNews {
    /// The hub names places to connect to, `host:port`.
    Places(Vec<String>),
    /// It has ended.
    Ended {
        /// Time to wait before the next one, where it is not the usual one.
        delay: Option<Duration>,
        /// The hub wants TLS, which was not expected.
        wants_tls: bool,
        /// Its certificate is somebody else's.
        wrong_name: bool,
    },
}

/// A leaf link.
pub struct Leaf {
    /// How far it has come.
    pub stage: LeafStage,
    /// We are the leaf, they are the hub.
    pub spoke: bool,
    /// What we connected with; `None` if they did.
    pub solicited: Option<Box<Solicited>>,
    /// Name of the server over there.
    pub server: String,
    /// Its cluster.
    pub cluster: String,
    /// Its JetStream domain.
    pub domain: String,
    /// It is counted among its account's links.
    pub counted: bool,
    /// The server over there can trace messages (TOPO-38).
    pub traces: bool,
    /// Those who listen to events were told that it is there.
    pub told: bool,
    /// It did what it may not, and is about to be closed.
    pub violated: bool,
    /// Account of the link over there.
    pub account: String,
    /// It says that it is a gateway of that name.
    pub gateway: String,
    /// Whose the interest is that comes over this link.
    pub origin: Origin,
    /// Other leaf nodes' interest is not told.
    pub isolated: bool,
    /// What the other side allows, where we connected.
    pub permissions: Option<Box<Permissions>>,
    /// What of JetStream does not pass.
    pub wall: JetStreamWall,
    /// What the other side does not want to be sent.
    refused: Option<Box<Permissions>>,
    /// The last message it was looked at for, so that it gets each once.
    pub stamp: u64,
    /// Time to wait before the next connection, where it is not the usual one.
    pub delay: Option<Duration>,
    /// The hub wants TLS, which we had not expected.
    pub wants_tls: bool,
    /// Its certificate is somebody else's.
    pub wrong_name: bool,
    /// How it is compressed, as monitoring shows it (TOPO-57).
    pub compression: Cow<'static, str>,
    /// What was agreed on, while the level depends on round trips.
    pub adapts: Option<Mode>,
    /// Nothing more is said about compression.
    pub negotiated: bool,
    /// Shards that may have an older link of the same server, which must end first.
    pub replacing: usize,
    /// Compression begins with the next byte that comes.
    pub switches: bool,
    /// The first INFO, while TLS begins.
    pub greeting: Option<Box<LeafInfo>>,
}

impl Leaf {
    /// They connected.
    pub fn accepted(isolated: bool) -> Self {
        Self {
            stage: LeafStage::AwaitsConnect,
            spoke: false,
            solicited: None,
            server: String::new(),
            cluster: String::new(),
            domain: String::new(),
            counted: false,
            traces: false,
            told: false,
            violated: false,
            account: String::new(),
            gateway: String::new(),
            origin: Origin::default(),
            isolated,
            permissions: None,
            wall: JetStreamWall::default(),
            refused: None,
            stamp: 0,
            delay: None,
            wants_tls: false,
            wrong_name: false,
            compression: "not supported".into(),
            adapts: None,
            negotiated: false,
            replacing: 0,
            switches: false,
            greeting: None,
        }
    }

    /// We connected.
    pub fn solicited(with: Solicited, isolated: bool) -> Self {
        let spoke = !with.hub;
        let mut this = Self {
            stage: LeafStage::AwaitsInfo,
            spoke,
            isolated: isolated || with.isolated,
            origin: Origin {
                cluster: 0,
                from_hub: spoke,
            },
            solicited: Some(Box::new(with)),
            ..Self::accepted(false)
        };
        this.allow(None, None);
        this
    }

    /// Sets what the other side allows, on top of what our own configuration does: `import` from
    /// it, `export` to it (TOPO-20).
    pub fn allow(&mut self, import: Option<SubjectLists>, export: Option<SubjectLists>) {
        let Some(solicited) = &self.solicited else {
            return;
        };
        let merged = |lists: Option<SubjectLists>, deny: &[String]| {
            let mut lists = SubjectPermission::from(lists.unwrap_or_default());
            lists.deny.extend_from_slice(deny);
            Some(lists).filter(|it| it.allow.is_some() || !it.deny.is_empty())
        };
        let subscribe = merged(import, &solicited.deny_imports);
        let publish = merged(export, &solicited.deny_exports);
        self.permissions = (subscribe.is_some() || publish.is_some()).then(|| {
            Box::new(Permissions::new(&PermissionsOptions {
                publish,
                subscribe,
                responses: None,
            }))
        });
    }

    /// Sets what the other side does not want to be sent (TOPO-36).
    pub fn refuse(&mut self, subjects: Vec<String>) {
        self.refused = (!subjects.is_empty()).then(|| {
            Box::new(Permissions::new(&PermissionsOptions {
                publish: Some(SubjectPermission {
                    allow: None,
                    deny: subjects,
                }),
                subscribe: None,
                responses: None,
            }))
        });
    }

    /// Names the cluster over there.
    pub fn set_cluster(&mut self, cluster: String) {
        self.origin.cluster = match cluster.as_str() {
            "" => 0,
            name => fnv(name.as_bytes()),
        };
        self.origin.from_hub = self.spoke;
        self.cluster = cluster;
    }

    /// The server over there with its cluster, as log lines name it.
    pub fn decorated(&self) -> String {
        match self.cluster.as_str() {
            "" => self.server.clone(),
            cluster => format!("{}/{cluster}", self.server),
        }
    }

    /// May a message go over, as far as this side decides without the user's permissions?
    pub fn may_send(&self, subject: &[u8]) -> bool {
        let allowed = |it: &Permissions| it.can_publish(subject);
        !self.wall.keeps(subject)
            && self.refused.as_deref().is_none_or(allowed)
            && self.permissions.as_deref().is_none_or(allowed)
    }

    /// May a message come in, as far as this side decides without the user's permissions?
    pub fn may_receive(&self, subject: &[u8]) -> bool {
        let permissions = self.permissions.as_ref();
        // What a leaf node asks of its hub's JetStream is the hub's to answer.
        !(self.spoke && self.wall.denies(subject))
            && permissions.is_none_or(|it| it.can_deliver(subject, None))
    }

    /// Is the other side to be told of interest in a pattern? `user`: the permissions it has here,
    /// where it has connected.
    pub fn may_announce(&self, pattern: &[u8], user: Option<&Permissions>) -> bool {
        if pattern.starts_with(LOOP_DETECTION) {
            return true;
        }
        !self.wall.hides(pattern, self.spoke)
            && self
                .permissions
                .as_ref()
                .is_none_or(|it| it.may_want(pattern))
            && (self.solicited.is_some() || user.is_none_or(|it| it.may_bring(pattern)))
    }
}

/// FNV-1a: the same on every shard, never 0.
fn fnv(bytes: &[u8]) -> u64 {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solicited() -> Solicited {
        Solicited {
            remote: 0,
            account: "$G".into(),
            user: None,
            jwt: String::new(),
            signer: None,
            hub: false,
            deny_imports: vec!["no.in".into()],
            deny_exports: vec!["no.out".into()],
            isolated: false,
            request_isolation: false,
            first_info_timeout: Duration::from_secs(1),
            tls: None,
            tls_first: false,
            websocket: None,
            compression: Mode::default(),
            reconnects: 0,
        }
    }

    #[test]
    fn topo_020_036_both_sides_permissions_count() {
        let mut leaf = Leaf::solicited(solicited(), false);
        assert!(leaf.spoke && leaf.origin.from_hub);
        assert!(!leaf.may_receive(b"no.in") && leaf.may_receive(b"in"));
        assert!(!leaf.may_send(b"no.out") && leaf.may_send(b"out"));
        assert!(!leaf.may_announce(b"no.in", None));
        let lists = |allow: &str| SubjectLists {
            allow: Some(vec![allow.into()]),
            deny: Vec::new(),
        };
        leaf.allow(Some(lists("a.>")), Some(lists("b.>")));
        assert!(leaf.may_receive(b"a.1") && !leaf.may_receive(b"b.1"));
        assert!(leaf.may_send(b"b.1") && !leaf.may_send(b"a.1"));
        assert!(!leaf.may_receive(b"no.in"));
        assert!(leaf.may_announce(b"a.*", None) && !leaf.may_announce(b"b.*", None));
        // Wider than what is allowed: what comes is judged by itself.
        assert!(leaf.may_announce(b">", None) && leaf.may_announce(b"*.1", None));
        assert!(leaf.may_announce(b"$LDS.x", None));
    }

    #[test]
    fn topo_051_a_hub_answers_what_its_leaf_asks() {
        let mut hub = Leaf::accepted(false);
        assert!(hub.may_receive(b"$JS.API.INFO") && !hub.may_send(b"$JS.API.INFO"));
        hub.spoke = true;
        assert!(!hub.may_receive(b"$JS.API.INFO"));
    }

    #[test]
    fn topo_033_clusters_are_told_apart() {
        let mut leaf = Leaf::accepted(false);
        leaf.set_cluster("c".into());
        let other = fnv(b"d");
        assert!(leaf.origin.cluster != 0 && leaf.origin.cluster != other);
        leaf.set_cluster(String::new());
        assert_eq!(leaf.origin.cluster, 0);
    }
}
