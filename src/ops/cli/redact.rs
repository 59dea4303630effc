//! Command lines fit to be shown.

/// Arguments fit to be shown: values of `--user`, `--pass`, `--auth` and the credentials in URLs
/// of `--routes` and `--cluster` are replaced by `[REDACTED]` (CFG-84).
pub fn redacted(arguments: &[String]) -> Vec<String> {
    let mut shown = Vec::with_capacity(arguments.len());
    let mut secret: Option<fn(&str) -> String> = None;
    for argument in arguments {
        if let Some(redact) = secret.take() {
            shown.push(redact(argument));
            continue;
        }
        let body = argument.trim_start_matches('-');
        let dashes = argument.len() - body.len();
        let (name, value) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (body, None),
        };
        let redact: fn(&str) -> String = match name {
            "user" | "pass" | "auth" => |_| "[REDACTED]".to_owned(),
            "routes" | "cluster" | "cluster_listen" => redacted_urls,
            _ => |value| value.to_owned(),
        };
        match value {
            Some(value) if (1..=2).contains(&dashes) => {
                shown.push(format!("{}{name}={}", &argument[..dashes], redact(value)));
            }
            None if (1..=2).contains(&dashes) => {
                shown.push(argument.clone());
                secret = Some(redact);
            }
            _ => shown.push(argument.clone()),
        }
    }
    shown
}

fn redacted_urls(list: &str) -> String {
    let redact = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (_, host) = authority.rsplit_once('@')?;
        Some(format!("{scheme}://[REDACTED]@{host}{path}"))
    };
    let urls = list.split(',');
    let urls: Vec<String> = urls
        .map(|url| redact(url).unwrap_or_else(|| url.to_owned()))
        .collect();
    urls.join(",")
}
