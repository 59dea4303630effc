//! What streams may have where the configuration names no limit (JS-246).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::shard::jetstream::settings::Room;

/// Bytes for streams where a file system does not say what it has, as in stock.
const STORAGE_UNKNOWN: u64 = 1 << 40;
/// The same for memory, as in stock.
const MEMORY_UNKNOWN: u64 = 256 << 20;

/// Three quarters of the machine's memory, or of the process's budget `memory_limit` where that is
/// less; and three quarters of what the disk below `root` has for streams. What they have there
/// already belongs to that: else a server full to a half would take nothing more after a restart, as
/// stock does not.
pub(in crate::server) fn find(root: &Path, memory_limit: Option<u64>) -> Room {
    let machine = rustix::system::sysinfo();
    let memory = machine.totalram as u64 * u64::from(machine.mem_unit);
    let memory = memory_limit.map_or(memory, |it| it.min(memory));
    let free = existing(root).and_then(|it| rustix::fs::statfs(it).ok());
    let free = free.map(|it| it.f_bavail.saturating_mul(it.f_bsize as u64));
    Room {
        memory: match memory {
            0 => MEMORY_UNKNOWN,
            found => found / 4 * 3,
        },
        storage: free.map_or(STORAGE_UNKNOWN, |it| {
            it.saturating_add(occupied(root)) / 4 * 3
        }),
    }
}

/// The part of a path that is there: what is made below it is on the same file system.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|it| it.exists())
}

/// Bytes that files below a folder have on their disk; links are not followed.
fn occupied(folder: &Path) -> u64 {
    let mut bytes = 0_u64;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        bytes += match entry.metadata() {
            Ok(it) if it.is_dir() => occupied(&entry.path()),
            Ok(it) => it.blocks() * 512,
            // It has just gone.
            Err(_) => 0,
        };
    }
    bytes
}

/// A number of bytes as a line of the log has it.
pub(in crate::server) fn shown(bytes: i64) -> String {
    let mut rest = bytes as f64;
    if rest < 1024.0 {
        return format!("{bytes} B");
    }
    for unit in ["KB", "MB", "GB", "TB", "PB"] {
        rest /= 1024.0;
        if rest < 1024.0 {
            return format!("{rest:.2} {unit}");
        }
    }
    format!("{:.2} EB", rest / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_the_log() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KB"),
            (18_957_050_880, "17.66 GB"),
            (i64::MAX, "8.00 EB"),
        ] {
            assert_eq!(shown(bytes), text);
        }
    }

    #[test]
    fn js_246_what_there_is_without_a_limit() {
        let dir = std::env::temp_dir().join(format!("ramjet-room-{}", std::process::id()));
        let root = dir.join("jetstream");
        let before = find(&root, None);
        assert!(before.memory > 0 && before.storage > 0);
        assert_eq!(find(&root, Some(1000)).memory, 750);
        assert_eq!(occupied(&root), 0);
        fs::create_dir_all(root.join("A/streams/ONE")).expect("a folder");
        fs::write(root.join("A/streams/ONE/1"), vec![1; 100_000]).expect("a file");
        assert!(occupied(&root) >= 100_000);
        fs::remove_dir_all(&dir).expect("removed");
    }
}
