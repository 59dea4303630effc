//! What a server tells every link that it wants, whoever its clients are.

use crate::connection::leaf::LOOP_DETECTION;
use crate::ids::AccountId;
use crate::shard::settings::Settings;

/// Questions to the system account that those in an account may ask about themselves: the other
/// side's, too (MON-56, MON-57).
const OF_TENANTS: [&[u8]; 4] = [
    b"$SYS.REQ.ACCOUNT.PING.CONNZ",
    b"$SYS.REQ.ACCOUNT.PING.STATZ",
    b"$SYS.REQ.SERVER.PING.CONNZ",
    b"$SYS.REQ.USER.INFO",
];
/// On what servers hear of each other that share a system account (TOPO-107). They tell only those
/// who want it; nothing comes of it here, where each server is one alone.
const OF_SERVERS: [&[u8]; 8] = [
    b"$SYS.ACCOUNT.*.LEAFNODE.CONNECT",
    b"$SYS.REQ.ACCOUNT.PING.STATZ",
    b"$SYS.REQ.USER.*.INFO",
    b"$SYS.REQ.USER.INFO",
    b"$SYS.SERVER.*.LAMEDUCK",
    b"$SYS.SERVER.*.SHUTDOWN",
    b"$SYS.SERVER.*.STATSZ",
    b"$SYS.SERVER.ACCOUNT.*.CONNS",
];
/// Characters of a name that stands for a server (TOPO-7).
const NODE: usize = 8;
/// Characters of the name in a loop's subject, as stock's.
const LOOP: usize = 22;

/// Visits each subject.
pub(super) fn each(settings: &Settings, account: AccountId, mut visit: impl FnMut(&[u8])) {
    match settings.accounts.system() {
        None => {}
        Some(system) if system != account => OF_TENANTS.iter().for_each(|it| visit(it)),
        Some(_) => {
            OF_SERVERS.iter().for_each(|it| visit(it));
            let node = letters::<NODE>(&[settings.info.server_name.as_bytes()]);
            let node = String::from_utf8_lossy(&node);
            visit(format!("$SYS.LATENCY.M2.{node}").as_bytes());
            visit(format!("$SYS._INBOX.{node}.*").as_bytes());
            visit(format!("$SYS._INBOX_.{}", settings.info.server_id).as_bytes());
        }
    }
}

/// The subject that says that a link leads back here: one for each account of each server
/// (TOPO-32).
pub(super) fn loop_subject(server_id: &str, account: &str) -> Vec<u8> {
    let name = letters::<LOOP>(&[server_id.as_bytes(), &[0], account.as_bytes()]);
    [LOOP_DETECTION, &name].concat()
}

fn letters<const LEN: usize>(of: &[&[u8]]) -> [u8; LEN] {
    use sha2::{Digest, Sha256};
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut hash = Sha256::new();
    of.iter().for_each(|part| hash.update(part));
    let digest = hash.finalize();
    std::array::from_fn(|at| {
        let byte = digest.get(at).copied().unwrap_or_default();
        ALPHABET[usize::from(byte) % ALPHABET.len()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topo_007_names_of_nodes_as_stock_makes_them() {
        assert_eq!(&letters::<NODE>(&[b"wdhub"]), b"rg5Wib9K");
    }

    #[test]
    fn topo_032_each_account_of_each_server_has_its_own() {
        let subject = loop_subject("N", "A");
        assert_eq!(subject.len(), LOOP_DETECTION.len() + LOOP);
        assert_ne!(subject, loop_subject("N", "B"));
        assert_ne!(subject, loop_subject("M", "A"));
    }
}
