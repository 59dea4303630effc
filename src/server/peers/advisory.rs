//! What the system account hears of peers that are refused (MON-65, MON-66).

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::judge::fingerprint;
use crate::auth::certificate::subject_and_issuer;
use crate::ids::AccountId;
use crate::ops::http::format;
use crate::server::shards::wall_time;
use crate::server::system::envelope::Envelope;
use crate::server::system::services::Outlet;
use crate::shard::internal::InternalPublish;

const REJECT_TYPE: &str = "io.nats.server.advisory.v1.ocsp_peer_reject";
const LINK_INVALID_TYPE: &str = "io.nats.server.advisory.v1.ocsp_peer_link_invalid";

/// Tells the system account.
pub(super) struct Advisories<'a> {
    pub system: AccountId,
    pub envelope: &'a Envelope,
    pub outlet: &'a Outlet,
}

/// A certificate as advisories describe it.
fn described(certificate: &CertificateDer<'_>) -> Value {
    let (subject, issuer) = subject_and_issuer(certificate);
    json!({
        "subject": subject,
        "issuer": issuer,
        "fingerprint": fingerprint(certificate),
        "raw": BASE64.encode(certificate),
    })
}

impl Advisories<'_> {
    /// A peer is not let in.
    pub fn reject(&self, peer: &CertificateDer<'_>, reason: &str) {
        self.publish(
            ("CONN.REJECT", REJECT_TYPE),
            json!({
                "kind": "Client",
                "peer": described(peer),
                "server": self.envelope.server(),
                "reason": reason,
            }),
        );
    }

    /// A certificate of its chain is bad.
    pub fn link_invalid(&self, link: &CertificateDer<'_>, peer: &CertificateDer<'_>, reason: &str) {
        self.publish(
            ("LINK.INVALID", LINK_INVALID_TYPE),
            json!({
                "link": described(link),
                "peer": described(peer),
                "server": self.envelope.server(),
                "reason": reason,
            }),
        );
    }

    fn publish(&self, (subject, kind): (&str, &str), content: Value) {
        let mut advisory = json!({
            "type": kind,
            "id": self.envelope.event_id(),
            "timestamp": format::time(wall_time()),
        });
        if let (Some(advisory), Value::Object(content)) = (advisory.as_object_mut(), content) {
            advisory.extend(content);
        }
        let server = self.envelope.server_id();
        let subject = format!("$SYS.SERVER.{server}.OCSP.PEER.{subject}");
        self.outlet.publish(InternalPublish {
            account: self.system,
            subject: subject.into_bytes().into(),
            payload: advisory.to_string().into_bytes().into(),
            ..InternalPublish::default()
        });
    }
}
