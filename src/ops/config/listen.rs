//! `listen`: a port, or `host:port` (CFG-18).

use super::error::ProblemKind;
use super::report::type_in;
use super::value::{Node, Value};

/// Host, empty for a port alone, and port as written.
///
/// # Errors
/// Neither of the two forms, with stock's text.
pub fn parse(value: &Value) -> Result<(String, i64), ProblemKind> {
    match &value.node {
        Node::Integer(port) => Ok((String::new(), *port)),
        Node::String(_) => {
            let text = value.text()?;
            let Some((host, port)) = split(text) else {
                return Err(ProblemKind::Value {
                    before: "could not parse address string ",
                    value: text.to_owned(),
                    after: "",
                });
            };
            let number = port.parse().map_err(|_| ProblemKind::Value {
                before: "could not parse port ",
                value: port.to_owned(),
                after: "",
            })?;
            Ok((host.to_owned(), number))
        }
        _ => Err(type_in("expected port or host:port, got ", value)),
    }
}

/// Host and port of `host:port`; IPv6 addresses stand in brackets, which are taken off.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    match host.strip_prefix('[') {
        Some(inside) => {
            let inside = inside.strip_suffix(']')?;
            (!inside.contains(['[', ']'])).then_some((inside, port))
        }
        None => (!host.contains([':', '[', ']'])).then_some((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CFG-18.
    #[test]
    fn addresses() {
        assert_eq!(split("0.0.0.0:4222"), Some(("0.0.0.0", "4222")));
        assert_eq!(split(":-1"), Some(("", "-1")));
        assert_eq!(split("[::1]:4222"), Some(("::1", "4222")));
        assert_eq!(split("::1:4222"), None);
        assert_eq!(split("[::1]"), None);
        assert_eq!(split("host"), None);
    }
}
