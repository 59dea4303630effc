//! From which pages a browser may connect (WS-5).

/// What an `Origin` header is held against.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Origins {
    /// It must name the host the request was sent to.
    pub same: bool,
    /// It must be one of these, if there are any.
    pub allowed: Vec<Origin>,
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: String,
    host: String,
    port: String,
}

/// Why an origin is refused. The texts are stock's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Another host.
    #[error("not same origin")]
    NotSame,
    /// Not in the list.
    #[error("not in the allowed list")]
    NotAllowed,
    /// No URL.
    #[error("parse {0:?}: invalid URI for request")]
    Invalid(String),
    /// A host without a meaning.
    #[error("address {0}: invalid host")]
    Host(String),
}

impl Origin {
    /// Reads `scheme://host[:port]`.
    ///
    /// # Errors
    /// [`OriginError::Invalid`] or [`OriginError::Host`].
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let invalid = || OriginError::Invalid(text.to_owned());
        if text.bytes().any(|it| it <= b' ' || it == 0x7f) {
            return Err(invalid());
        }
        // Absolute, as a request line would have it; a path alone has no host, which is no origin.
        if text.starts_with('/') {
            return Ok(Self::empty());
        }
        let (scheme, rest) = text.split_once(':').ok_or_else(invalid)?;
        let first_is_letter = scheme.starts_with(|it: char| it.is_ascii_alphabetic());
        let is_scheme = |it: u8| it.is_ascii_alphanumeric() || b"+-.".contains(&it);
        if !first_is_letter || !scheme.bytes().all(is_scheme) {
            return Err(invalid());
        }
        let scheme = scheme.to_ascii_lowercase();
        let Some(rest) = rest.strip_prefix("//") else {
            return Ok(Self {
                scheme,
                ..Self::empty()
            });
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let authority = &rest[..end];
        let host = authority.rsplit_once('@').map_or(authority, |(_, it)| it);
        let (host, port) = host_and_port(host, scheme == "https")?;
        Ok(Self { scheme, host, port })
    }

    /// Has it a host?
    pub fn has_host(&self) -> bool {
        !self.host.is_empty()
    }

    /// `http` or `https`?
    pub fn is_http(&self) -> bool {
        matches!(self.scheme.as_str(), "http" | "https")
    }

    fn empty() -> Self {
        Self {
            scheme: String::new(),
            host: String::new(),
            port: "80".into(),
        }
    }
}

/// Host in lower case and port, the scheme's if there is none.
fn host_and_port(text: &str, tls: bool) -> Result<(String, String), OriginError> {
    let default = if tls { "443" } else { "80" };
    let wrong = || OriginError::Host(text.to_owned());
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, port),
            // Without a port the brackets stay, as in stock.
            None if rest.is_empty() => (text, default),
            None => return Err(wrong()),
        }
    } else {
        match text.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err(wrong()),
            Some((host, port)) => (host, port),
            None => (text, default),
        }
    };
    Ok((host.to_ascii_lowercase(), port.to_owned()))
}

impl Origins {
    /// Is a page of `origin` welcome on a server reached as `host`?
    ///
    /// # Errors
    /// [`OriginError`] says why not.
    pub fn check(&self, origin: Option<&str>, host: &str, tls: bool) -> Result<(), OriginError> {
        let Some(origin) = origin.filter(|it| !it.is_empty()) else {
            return Ok(()); // not a browser: it could claim anything
        };
        if !self.same && self.allowed.is_empty() {
            return Ok(());
        }
        let origin = Origin::parse(origin)?;
        if self.same {
            let (host, port) = host_and_port(host, tls)?;
            let scheme = if tls { "https" } else { "http" };
            if origin.host != host || origin.port != port || origin.scheme != scheme {
                return Err(OriginError::NotSame);
            }
        }
        if !self.allowed.is_empty() && !self.allowed.contains(&origin) {
            return Err(OriginError::NotAllowed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &[&str], origin: &str) -> Result<(), OriginError> {
        let origins = Origins {
            same: false,
            allowed: list
                .iter()
                .map(|it| Origin::parse(it).expect("an origin"))
                .collect(),
        };
        origins.check(Some(origin), "h", false)
    }

    fn same(origin: &str, host: &str, tls: bool) -> Result<(), OriginError> {
        let origins = Origins {
            same: true,
            allowed: Vec::new(),
        };
        origins.check(Some(origin), host, tls)
    }

    #[test]
    fn lists_want_scheme_host_and_port() {
        let list = ["http://ok.test", "https://ok.test:8443", "http://[::1]:1"];
        for good in [
            "http://ok.test",
            "http://OK.test:80",
            "https://ok.test:8443/x",
            "http://[::1]:1",
        ] {
            assert_eq!(allowed(&list, good), Ok(()), "{good}");
        }
        for bad in [
            "https://ok.test",
            "http://ok.test:81",
            "http://x.ok.test",
            "http://ok.test.evil",
            "null:",
            "/",
        ] {
            assert_eq!(allowed(&list, bad), Err(OriginError::NotAllowed), "{bad}");
        }
        assert!(matches!(
            allowed(&list, "null"),
            Err(OriginError::Invalid(_))
        ));
        assert_eq!(allowed(&[], "null"), Ok(()), "nobody asks");
    }

    #[test]
    fn same_origin_compares_with_the_host_header() {
        assert_eq!(same("http://a:8080", "A:8080", false), Ok(()));
        assert_eq!(same("http://a", "a:80", false), Ok(()));
        assert_eq!(same("https://a", "a", true), Ok(()));
        for (origin, host, tls) in [
            ("http://a", "a", true),
            ("https://a", "a", false),
            ("http://a:1", "a:2", false),
            ("http://b", "a", false),
        ] {
            assert_eq!(same(origin, host, tls), Err(OriginError::NotSame));
        }
    }
}
