//! What a scenario needs of its server: a configuration, certificates, a listener.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rcgen::{CertificateParams, KeyPair};
use serde::Serialize;
use tempfile::TempDir;

use crate::dial::Wire;
use crate::error::{BenchError, io_error};

/// The same text for every server.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// How clients come.
    pub wire: Wire,
    /// With TLS, clients without it are let in as well.
    pub plain_too: bool,
    /// With streams, kept in the folder of this run.
    pub streams: Option<Flush>,
    /// The server is a leaf of a hub, which is of the same make and set up alike.
    pub hub: bool,
    /// Accounts, users, permissions.
    pub config: String,
}

/// When a server that keeps streams writes them through to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// As it does by itself: the stock server every two minutes, Ramjet before it acknowledges.
    Default,
    /// Before it acknowledges.
    Always,
    /// Every two minutes.
    Lazy,
}

/// Which of the servers of a run it is.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// The only one.
    Alone,
    /// Leaves come to it.
    Hub,
    /// It comes to the hub's door for leaves.
    Leaf(SocketAddr),
}

impl Side {
    fn domain(self) -> &'static str {
        match self {
            Self::Alone => "",
            Self::Hub => ", domain: hub",
            Self::Leaf(_) => ", domain: leaf",
        }
    }
}

/// Files of one running server, gone when dropped.
pub struct Prepared {
    _folder: TempDir,
    config: PathBuf,
}

impl Setup {
    /// Without TLS or WebSocket.
    pub fn of(config: String) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// Writes the files.
    ///
    /// # Errors
    /// [`BenchError::Io`].
    pub fn prepare(&self, side: Side, door: SocketAddr) -> Result<Prepared, BenchError> {
        let folder = tempfile::tempdir().map_err(io_error("make a folder"))?;
        let mut text = self.config.clone();
        match &self.wire {
            Wire::Plain => {}
            Wire::Tls(_) => {
                text.push_str(&tls_block(folder.path())?);
                if self.plain_too {
                    text.push_str("allow_non_tls: true\n");
                }
            }
            Wire::WebSocket { .. } => text.push_str(&format!(
                "websocket {{ host: \"{}\", port: {}, no_tls: true }}\n",
                door.ip(),
                door.port()
            )),
            Wire::Leaf => text.push_str(&listen_for_leaves(door)),
        }
        match side {
            Side::Alone => {}
            Side::Hub => text.push_str(&listen_for_leaves(door)),
            Side::Leaf(hub) => text.push_str(&format!(
                "leafnodes {{ remotes: [{{url: \"nats-leaf://{hub}\"}}] }}\n"
            )),
        }
        if let Some(flush) = self.streams {
            let folder = folder.path().display();
            let flush = match flush {
                Flush::Default => "",
                Flush::Always => ", sync_interval: always",
                Flush::Lazy => ", sync_interval: \"2m\"",
            };
            let domain = side.domain();
            text.push_str(&format!(
                "jetstream {{ store_dir: \"{folder}\"{flush}{domain} }}\n"
            ));
        }
        let config = folder.path().join("server.conf");
        fs::write(&config, text).map_err(io_error("write a configuration"))?;
        Ok(Prepared {
            _folder: folder,
            config,
        })
    }
}

impl Prepared {
    /// The configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }
}

fn listen_for_leaves(door: SocketAddr) -> String {
    format!("leafnodes {{ listen: \"{door}\" }}\n")
}

/// A certificate with a P-256 key of its own.
fn tls_block(folder: &Path) -> Result<String, BenchError> {
    let broken = |error: rcgen::Error| io_error("make a certificate")(std::io::Error::other(error));
    let key = KeyPair::generate().map_err(broken)?;
    let certificate = CertificateParams::new(["localhost".to_owned()])
        .and_then(|params| params.self_signed(&key))
        .map_err(broken)?;
    let (certificate_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    fs::write(&certificate_file, certificate.pem()).map_err(io_error("write a certificate"))?;
    fs::write(&key_file, key.serialize_pem()).map_err(io_error("write a key"))?;
    Ok(format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", timeout: 20 }}\n",
        certificate_file.display(),
        key_file.display()
    ))
}
