//! Tokens of accounts from an account server, over HTTP (AUTH-71).

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::limits;
use crate::options::TlsOptions;

/// Time one fetch may take, as stock has it.
const TIMEOUT: Duration = Duration::from_millis(1900);

/// Why an account server cannot be used, or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum AccountServerError {
    /// A file of `resolver_tls`.
    #[error("error in resolver_tls: {file}: {why}")]
    Tls {
        /// Which one.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// No answer, or another than 200. The URL is shown without its password.
    #[error("could not fetch <{url:?}>: {why}")]
    Fetch {
        /// What was asked for.
        url: String,
        /// What came of it.
        why: String,
    },
}

/// An account server.
pub(in crate::server) struct AccountServer {
    /// With the slash that keys are appended to.
    url: String,
    agent: Agent,
}

impl AccountServer {
    /// The server at `url`. Blocks while it reads the files of `tls`.
    pub fn new(url: &str, tls: Option<&TlsOptions>) -> Result<Self, AccountServerError> {
        let slash = if url.ends_with('/') { "" } else { "/" };
        let mut config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .proxy(None)
            .user_agent("ramjet");
        if tls.is_some() || url.starts_with("https://") {
            config = config.tls_config(tls_config(tls)?);
        }
        Ok(Self {
            url: format!("{url}{slash}"),
            agent: config.build().into(),
        })
    }

    /// Is anybody there? Blocks.
    pub fn check(&self) -> Result<(), AccountServerError> {
        self.fetch("").map(|_| ())
    }

    /// The token of the account `key`. Blocks, for [`TIMEOUT`] at most.
    pub fn fetch(&self, key: &str) -> Result<String, AccountServerError> {
        let url = format!("{}{key}", self.url);
        let failed = |why: String| AccountServerError::Fetch {
            url: without_password(&url),
            why,
        };
        let mut answer = self
            .agent
            .get(&url)
            .call()
            .map_err(|error| failed(error.to_string()))?;
        if answer.status() != 200 {
            return Err(failed(answer.status().to_string()));
        }
        let body = answer.body_mut().with_config();
        let text = body.limit(limits::TOKEN_FILE_MAX).read_to_string();
        text.map_err(|error| failed(error.to_string()))
    }
}

fn tls_config(options: Option<&TlsOptions>) -> Result<TlsConfig, AccountServerError> {
    let roots = match options.and_then(|it| it.ca_file.as_deref()) {
        Some(file) => certificates(file)?,
        None => {
            let system = rustls_native_certs::load_native_certs().certs;
            let system = system.iter().map(|it| Certificate::from_der(it).to_owned());
            system.collect()
        }
    };
    let own = options.and_then(|it| it.certificates.first());
    let own = own.map(|pair| -> Result<_, AccountServerError> {
        let chain = certificates(&pair.certificate)?;
        let key = PrivateKey::from_pem(&read(&pair.key)?)
            .map_err(|error| tls_error(&pair.key, error.to_string()))?;
        Ok(ClientCert::new_with_certs(&chain, key))
    });
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .client_cert(own.transpose()?)
        .disable_verification(options.is_some_and(|it| it.insecure))
        .unversioned_rustls_crypto_provider(Arc::new(aws_lc_rs::default_provider()))
        .build())
}

fn certificates(file: &Path) -> Result<Vec<Certificate<'static>>, AccountServerError> {
    let text = read(file)?;
    let items = ureq::tls::parse_pem(&text);
    let all: Vec<_> = items
        .filter_map(|it| match it {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    match all.is_empty() {
        true => Err(tls_error(file, "holds no certificate".into())),
        false => Ok(all),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, AccountServerError> {
    fs::read(file).map_err(|error| tls_error(file, error.to_string()))
}

fn tls_error(file: &Path, why: String) -> AccountServerError {
    let file = file.display().to_string();
    AccountServerError::Tls { file, why }
}

/// `http://user:secret@host` as Go shows it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((who, host)) => match who.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:xxxxx@{host}{path}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("http://h:1/jwt/v1/", "http://h:1/jwt/v1/"),
            ("http://u@h/", "http://u@h/"),
            ("https://u:s@h:1/x/", "https://u:xxxxx@h:1/x/"),
            ("http://u:s:@@h", "http://u:xxxxx@h"),
            ("http://h/a:b@c", "http://h/a:b@c"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
