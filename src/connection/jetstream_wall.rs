//! What of JetStream does not pass a leaf link: each side has its own (TOPO-51..54).

use crate::routing::subject::pattern_subset;

/// Requests without a domain, and what is kept in buckets.
const OF_CLIENTS: &[&[u8]] = &[b"$JS.API.>", b"$KV.>", b"$OBJ.>"];
/// In the system account also what servers of one JetStream say to each other.
const OF_SERVERS: &[&[u8]] = &[b"$JSC.>", b"$NRG.>", b"$JS.API.>", b"$KV.>", b"$OBJ.>"];

/// What is kept on this side of one link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JetStreamWall {
    denied: &'static [&'static [u8]],
    /// Front of the requests to this server's own domain: they do not leave.
    own: Option<Box<[u8]>>,
}

impl Default for JetStreamWall {
    fn default() -> Self {
        Self {
            denied: OF_CLIENTS,
            own: None,
        }
    }
}

/// What a wall depends on.
#[derive(Debug, Clone, Copy)]
pub struct Neighbours<'a> {
    /// Domain of this server; empty without one.
    pub domain: &'a str,
    /// Domain of the other.
    pub remote_domain: &'a str,
    /// JetStream is on here.
    pub enabled: bool,
    /// The link is in the system account.
    pub system: bool,
    /// The account's requests are answered by a server behind the link that has no domain
    /// (`default_js_domain`).
    pub without_domain: bool,
}

impl JetStreamWall {
    /// Of a link between these.
    pub fn between(neighbours: Neighbours<'_>) -> Self {
        let Neighbours {
            domain,
            remote_domain,
            enabled,
            system,
            without_domain,
        } = neighbours;
        let own = || format!("$JS.{domain}.API.").into_bytes().into();
        match (system, without_domain) {
            (false, true) => Self {
                denied: &[],
                own: None,
            },
            // A JetStream is not extended over links, whatever the domains: what stock sends in its
            // system account for that stays where it is.
            _ => Self {
                denied: if system { OF_SERVERS } else { OF_CLIENTS },
                own: (enabled && !domain.is_empty() && domain != remote_domain).then(own),
            },
        }
    }

    /// Does it keep this subject on either side?
    pub fn denies(&self, subject: &[u8]) -> bool {
        subject.first() == Some(&b'$')
            && self.denied.iter().any(|all| {
                let prefix = &all[..all.len() - 1];
                subject.len() > prefix.len() && subject.starts_with(prefix)
            })
    }

    /// Does it keep this subject on this side?
    pub fn keeps(&self, subject: &[u8]) -> bool {
        let own = self.own.as_deref();
        self.denies(subject)
            || own.is_some_and(|own| subject.len() > own.len() && subject.starts_with(own))
    }

    /// Is the other side not to be told of interest in this pattern? The hub of a link says that it
    /// takes requests without a domain, whatever comes of them (TOPO-30).
    pub fn hides(&self, pattern: &[u8], spoke: bool) -> bool {
        let first = pattern.first() == Some(&b'$');
        let denied = first && self.denied.iter().any(|all| pattern_subset(pattern, all));
        let told = !spoke && pattern == b"$JS.API.>" && self.denied.len() == OF_CLIENTS.len();
        denied && !told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Neighbours<'static> = Neighbours {
        domain: "hub",
        remote_domain: "edge",
        enabled: true,
        system: false,
        without_domain: false,
    };

    #[test]
    fn topo_051_requests_and_buckets_stay_where_they_are() {
        for wall in [JetStreamWall::default(), JetStreamWall::between(HERE)] {
            for subject in [&b"$JS.API.INFO"[..], b"$KV.b.k", b"$OBJ.b"] {
                assert!(wall.denies(subject) && wall.keeps(subject));
            }
            for subject in [
                &b"$JS.edge.API.INFO"[..],
                b"$JS.ACK.x",
                b"$KV",
                b"a",
                b"$NRG.V",
            ] {
                assert!(!wall.keeps(subject));
            }
        }
    }

    #[test]
    fn topo_052_053_servers_keep_to_themselves_in_the_system_account() {
        for remote_domain in ["edge", "hub"] {
            let wall = JetStreamWall::between(Neighbours {
                system: true,
                remote_domain,
                ..HERE
            });
            for subject in [&b"$JSC.R.x"[..], b"$NRG.V.x", b"$JS.API.INFO"] {
                assert!(wall.denies(subject));
            }
            assert!(wall.hides(b"$JS.API.>", false) && wall.hides(b"$JSC.>", true));
        }
    }

    #[test]
    fn topo_054_requests_to_the_own_domain_do_not_leave() {
        let wall = JetStreamWall::between(HERE);
        assert!(wall.keeps(b"$JS.hub.API.INFO") && !wall.denies(b"$JS.hub.API.INFO"));
        let same = JetStreamWall::between(Neighbours {
            remote_domain: "hub",
            ..HERE
        });
        assert!(!same.keeps(b"$JS.hub.API.INFO"));
    }

    #[test]
    fn topo_030_the_hub_says_that_it_takes_requests() {
        let wall = JetStreamWall::between(HERE);
        assert!(!wall.hides(b"$JS.API.>", false) && wall.hides(b"$JS.API.>", true));
        assert!(wall.hides(b"$KV.b.>", false) && !wall.hides(b"$JS.hub.API.INFO", true));
        let open = JetStreamWall::between(Neighbours {
            without_domain: true,
            ..HERE
        });
        assert!(!open.hides(b"$JS.API.>", true) && !open.keeps(b"$JS.API.INFO"));
    }
}
