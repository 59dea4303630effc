//! The file that lists the bound ports for harnesses that start on port -1 (CFG-90, PROC-5).

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::options::Options;

/// URLs under which this process is reached, by kind; empty kinds are left out of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// Clients: `nats://` or `tls://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nats: Vec<String>,
    /// Monitoring: `http://` or `https://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub monitoring: Vec<String>,
    /// Routes: `nats://` or `tls://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cluster: Vec<String>,
    /// Profiler: `http://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub profile: Vec<String>,
    /// WebSocket clients: `ws://` or `wss://`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub websocket: Vec<String>,
}

/// One URL for `bound`; for the unspecified address, one for each of `interfaces` (loopback
/// included: harnesses take the first).
pub fn urls(scheme: &str, bound: SocketAddr, interfaces: &[IpAddr]) -> Vec<String> {
    let url = |ip| format!("{scheme}://{}", SocketAddr::new(ip, bound.port()));
    if bound.ip().is_unspecified() {
        interfaces.iter().copied().map(url).collect()
    } else {
        vec![url(bound.ip())]
    }
}

/// The ports file cannot be written. The server runs without it: this is an error line, not the
/// end.
#[derive(Debug, thiserror::Error)]
#[error(
    "Error writing ports file ({}): {cause}; \
     create its folder, allow this user to write there, or change ports_file_dir",
    path.display()
)]
pub struct PortsFileError {
    /// The file.
    pub path: PathBuf,
    /// The system's answer.
    pub cause: io::Error,
}

/// A written ports file; removed when this is dropped.
#[derive(Debug)]
pub struct PortsFile {
    path: PathBuf,
}

impl PortsFile {
    /// Writes `<folder>/<process name>_<pid>.ports`, at once in full: readers poll for it.
    ///
    /// # Errors
    /// [`PortsFileError`].
    pub fn write(folder: &Path, ports: &Ports) -> Result<Self, PortsFileError> {
        let name = format!("{}_{}.ports", super::process_name(), std::process::id());
        let path = folder.join(&name);
        // A dot in front: harnesses that glob for `*.ports` must not see it half written.
        let draft = folder.join(format!(".{name}.new"));
        let written = serde_json::to_vec(ports)
            .map_err(io::Error::from)
            .and_then(|json| fs::write(&draft, json))
            .and_then(|()| fs::rename(&draft, &path));
        match written {
            Ok(()) => Ok(Self { path }),
            Err(cause) => {
                let _ = fs::remove_file(&draft);
                Err(PortsFileError { path, cause })
            }
        }
    }

    /// Writes the file into the folder the options name, if any; what goes wrong is logged.
    pub fn write_logged(options: &Options, ports: &Ports) -> Option<Self> {
        let written = Self::write(options.ports_file_dir.as_deref()?, ports);
        written.inspect_err(|error| log::error!("{error}")).ok()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PortsFile {
    fn drop(&mut self) {
        if let Err(cause) = fs::remove_file(&self.path) {
            log::error!(
                "Error cleaning up ports file {}: {cause}",
                self.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_90_written_in_full_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports {
            nats: urls("nats", "127.0.0.1:4222".parse().unwrap(), &[]),
            websocket: urls("ws", "[::1]:80".parse().unwrap(), &[]),
            ..Ports::default()
        };
        let file = PortsFile::write(folder.path(), &ports).unwrap();
        let name = format!(
            "{}_{}.ports",
            crate::ops::process_name(),
            std::process::id()
        );
        assert_eq!(file.path(), folder.path().join(name));
        assert_eq!(
            fs::read_to_string(file.path()).unwrap(),
            r#"{"nats":["nats://127.0.0.1:4222"],"websocket":["ws://[::1]:80"]}"#
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn cfg_90_every_interface_of_the_unspecified_address() {
        let interfaces = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(
            urls("nats", "0.0.0.0:4222".parse().unwrap(), &interfaces),
            ["nats://127.0.0.1:4222", "nats://[::1]:4222"]
        );
    }

    #[test]
    fn error_names_file_and_cure() {
        let error = PortsFile::write(Path::new("/nonexistent"), &Ports::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("Error writing ports file (/nonexistent/"),
            "{text}"
        );
        assert!(text.contains("ports_file_dir"), "{text}");
    }
}
