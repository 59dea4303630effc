//! Links over everything that may come before the protocol (TOPO-45, TOPO-46).

use rcgen::ExtendedKeyUsagePurpose;

use crate::support::tls::{Authority, Pair};
use crate::{exchange, ours, pair_with, stock};

/// What a link goes over: a hub's configuration and a leaf's.
struct Case {
    hub: String,
    leaf: String,
}

/// Certificates of a hub and of a leaf, signed by the same authority.
struct Certificates {
    authority: Authority,
    hub: Pair,
    leaf: Pair,
}

impl Certificates {
    fn new() -> Self {
        let authority = Authority::new();
        let hub = authority.server();
        let leaf = authority.issue("leaf", |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        Self {
            authority,
            hub,
            leaf,
        }
    }

    /// The `tls` block of a hub.
    fn hub_block(&self, more: &str) -> String {
        let (pair, ca) = (self.hub.config(), self.authority.ca());
        format!("tls {{ {pair}, ca_file: {ca:?}, timeout: 5, {more} }}")
    }

    /// The `tls` block of a leaf.
    fn leaf_block(&self, more: &str) -> String {
        format!(
            "tls {{ ca_file: {:?}, timeout: 5, {more} }}",
            self.authority.ca()
        )
    }
}

fn hub(more: &str) -> String {
    format!("leafnodes {{ listen: \"127.0.0.1:-1\", {more} }}")
}

fn leaf(scheme: &str, more: &str) -> String {
    format!(
        "leafnodes {{ reconnect: \"100ms\", remotes [ {{ url: \"{scheme}://l:p@@HUB@\", {more} }} ] }}"
    )
}

/// The same between all pairings of the two servers.
fn all_pairings(case: &Case) {
    let [ours, stock] = [ours(), stock()];
    for (hub, leaf) in [(&ours, &ours), (&ours, &stock), (&stock, &ours)] {
        let (hub, leaf) = pair_with(hub, leaf, &case.hub, &case.leaf);
        exchange(&hub, &leaf);
    }
}

#[test]
fn topo_045_tls_after_the_first_info() {
    let certificates = Certificates::new();
    all_pairings(&Case {
        hub: hub(&certificates.hub_block("")),
        leaf: leaf("tls", &certificates.leaf_block("")),
    });
}

#[test]
fn topo_045_tls_handshake_first() {
    let certificates = Certificates::new();
    for way in ["true", "auto", "\"300ms\""] {
        all_pairings(&Case {
            hub: hub(&certificates.hub_block(&format!("handshake_first: {way}"))),
            leaf: leaf("tls", &certificates.leaf_block("handshake_first: true")),
        });
    }
}

#[test]
fn topo_045_a_leaf_that_waits_for_info_gets_it_where_tls_may_come_first() {
    let certificates = Certificates::new();
    all_pairings(&Case {
        hub: hub(&certificates.hub_block("handshake_first: auto")),
        leaf: leaf("tls", &certificates.leaf_block("")),
    });
}

#[test]
fn topo_045_mutual_tls() {
    let certificates = Certificates::new();
    let own = certificates.leaf.config();
    all_pairings(&Case {
        hub: hub(&certificates.hub_block("verify: true")),
        leaf: leaf("tls", &certificates.leaf_block(&own)),
    });
}

#[test]
fn topo_045_insecure_takes_any_certificate() {
    let certificates = Certificates::new();
    all_pairings(&Case {
        hub: hub(&certificates.hub_block("")),
        leaf: leaf("tls", "tls { insecure: true, timeout: 5 }"),
    });
}

/// A hub that takes leaf nodes over WebSockets.
fn websocket_hub(tls: &str, more: &str) -> String {
    format!(
        "{}\nwebsocket {{ listen: \"127.0.0.1:-1\", {tls}, {more} }}",
        hub("")
    )
}

#[test]
fn topo_046_websocket() {
    for more in [
        "",
        "ws_compression: true",
        "ws_no_masking: true",
        "ws_compression: true, ws_no_masking: true",
    ] {
        all_pairings(&Case {
            hub: websocket_hub("no_tls: true", "compression: true"),
            leaf: leaf("ws", more),
        });
    }
}

#[test]
fn topo_046_websocket_without_compression_over_there() {
    all_pairings(&Case {
        hub: websocket_hub("no_tls: true", ""),
        leaf: leaf("ws", "ws_compression: true"),
    });
}

#[test]
fn topo_046_websocket_over_tls() {
    let certificates = Certificates::new();
    let own = certificates.leaf.config();
    for (hub, leaf_more) in [("", ""), ("verify: true", own.as_str())] {
        all_pairings(&Case {
            hub: websocket_hub(&certificates.hub_block(hub), "compression: true"),
            leaf: leaf("wss", &certificates.leaf_block(leaf_more)),
        });
    }
}

/// Our leaf says this of a hub of ours, and is not linked.
fn refused(hub_config: &str, leaf_config: &str, said: &str) {
    let (hub, leaf) = pair_with(&ours(), &ours(), hub_config, leaf_config);
    leaf.logged(said);
    drop(hub);
}

#[test]
fn topo_045_a_hub_that_cannot_be_trusted_is_not_linked_to() {
    let certificates = Certificates::new();
    let stranger = Certificates::new();
    refused(
        &hub(&certificates.hub_block("")),
        &leaf("tls", &stranger.leaf_block("")),
        "TLS leafnode handshake error: ",
    );
    let pins =
        "pinned_certs: [\"0000000000000000000000000000000000000000000000000000000000000000\"]";
    refused(
        &hub(&certificates.hub_block("")),
        &leaf("tls", &certificates.leaf_block(pins)),
        "certificate not pinned",
    );
    // Without a block the system's authorities count, and a hub that wants TLS gets it.
    refused(
        &hub(&certificates.hub_block("")),
        &leaf("nats-leaf", ""),
        "TLS leafnode handshake error: ",
    );
}
