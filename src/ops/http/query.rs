//! Typed parameters of a request; what does not fit is answered in stock's words (MON-5).

use std::collections::HashMap;

/// A refusal: 400 and its text.
#[derive(Debug, PartialEq, Eq)]
pub struct BadRequest(
    /// What is wrong, in stock's words.
    pub String,
);

/// Parameters by name; of several with one name the first counts.
pub struct Parameters(HashMap<String, String>);

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl Parameters {
    /// Reads the part of a URL after `?`. A pair with a broken escape or a semicolon is passed
    /// over, as in stock.
    pub(super) fn parse(query: &str) -> Self {
        let mut all = HashMap::new();
        for pair in query.split('&') {
            if pair.is_empty() || pair.contains(';') {
                continue;
            }
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if let (Some(key), Some(value)) = (unescape(key), unescape(value)) {
                all.entry(key).or_insert(value);
            }
        }
        Self(all)
    }

    /// A text; empty if absent.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A truth value; false if absent.
    pub(super) fn bool(&self, name: &str) -> Result<bool, BadRequest> {
        match self.text(name) {
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            other => Err(BadRequest(format!(
                "Error decoding boolean for '{name}': strconv.ParseBool: parsing {}: invalid syntax",
                quoted(other)
            ))),
        }
    }

    /// A signed number; 0 if absent.
    pub(super) fn int(&self, name: &str) -> Result<i64, BadRequest> {
        self.number(name, "int", "Atoi")
    }

    /// A number; 0 if absent.
    pub(super) fn uint(&self, name: &str) -> Result<u64, BadRequest> {
        self.number(name, "uint64", "ParseUint")
    }

    fn number<N: std::str::FromStr<Err = std::num::ParseIntError> + Default>(
        &self,
        name: &str,
        kind: &str,
        function: &str,
    ) -> Result<N, BadRequest> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(N::default());
        }
        let refused = |reason: &str| {
            BadRequest(format!(
                "Error decoding {kind} for '{name}': strconv.{function}: parsing {}: {reason}",
                quoted(text)
            ))
        };
        // Rust takes a plus sign where Go's unsigned numbers have none.
        if function == "ParseUint" && text.starts_with('+') {
            return Err(refused("invalid syntax"));
        }
        text.parse().map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            refused(match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            })
        })
    }
}

/// `offset` and `limit`: from where, and how many at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub offset: i64,
    pub limit: i64,
}

/// Rows of one answer unless the request says otherwise.
pub(super) const ROWS: i64 = 1024;

impl Page {
    /// Reads both; what makes no sense is the default.
    pub(super) fn of(parameters: &Parameters) -> Result<Self, BadRequest> {
        let offset = parameters.int("offset")?.max(0);
        let limit = parameters.int("limit")?;
        Ok(Self {
            offset,
            limit: if limit > 0 { limit } else { ROWS },
        })
    }

    /// The rows on this page.
    pub(super) fn cut<T>(self, rows: Vec<T>) -> Vec<T> {
        let size = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        rows.into_iter()
            .skip(size(self.offset))
            .take(size(self.limit))
            .collect()
    }
}

/// Undoes the escapes of a URL; `None` if one is broken.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A text in quotes, escaped as Go's `strconv` shows what it could not read.
fn quoted(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::from('"');
    for character in text.chars() {
        // Writing into memory does not fail.
        let _ = match character {
            '"' | '\\' => write!(out, "\\{character}"),
            '\n' => write!(out, "\\n"),
            '\r' => write!(out, "\\r"),
            '\t' => write!(out, "\\t"),
            '\u{7}' => write!(out, "\\a"),
            '\u{8}' => write!(out, "\\b"),
            '\u{b}' => write!(out, "\\v"),
            '\u{c}' => write!(out, "\\f"),
            _ if character.is_ascii_control() => write!(out, "\\x{:02x}", u32::from(character)),
            _ if character.is_control() => write!(out, "\\u{:04x}", u32::from(character)),
            _ => write!(out, "{character}"),
        };
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mon_005_bad_values_are_refused_in_stocks_words() {
        let parameters =
            Parameters::parse("limit=x&auth=zz&cid=-1&acc=%24G&big=99999999999999999999");
        assert_eq!(
            parameters.int("limit"),
            Err(BadRequest(
                "Error decoding int for 'limit': strconv.Atoi: parsing \"x\": invalid syntax"
                    .into()
            ))
        );
        assert!(parameters.bool("auth").is_err() && parameters.uint("cid").is_err());
        assert!(
            parameters
                .int("big")
                .is_err_and(|error| error.0.ends_with("value out of range"))
        );
        assert_eq!(parameters.text("acc"), "$G");
        assert_eq!(parameters.int("offset"), Ok(0));
    }

    #[test]
    fn mon_005_pairs_are_read_as_stock_reads_them() {
        let refusal = |query: &str| match Parameters::parse(query).int("limit") {
            Err(BadRequest(text)) => text.rsplit_once("parsing ").map(|(_, end)| end.to_owned()),
            Ok(number) => Some(number.to_string()),
        };
        for (query, expected) in [
            ("limit=+5", "\" 5\": invalid syntax"),
            ("limit=%2B5", "5"),
            (
                "limit=%01%22%7f%c3%bc",
                "\"\\x01\\\"\\x7f\u{fc}\": invalid syntax",
            ),
            ("limit=%zz", "0"),
            ("limit=7&limit=x", "7"),
            ("limit=a;b", "0"),
            ("limit=%4", "0"),
            ("limit", "0"),
            ("&&limit=-3&", "-3"),
        ] {
            assert_eq!(refusal(query).as_deref(), Some(expected), "{query}");
        }
        assert!(Parameters::parse("cid=%2B5").uint("cid").is_err());
    }

    #[test]
    fn t43_pages_at_the_edges_of_numbers_are_empty_not_fatal() {
        let query = format!("limit={0}&offset={0}", i64::MAX);
        let page = Page::of(&Parameters::parse(&query)).expect("numbers");
        assert_eq!(page.cut(vec![1, 2, 3]), Vec::<i32>::new());
        let query = format!("limit={0}&offset={0}", i64::MIN);
        let page = Page::of(&Parameters::parse(&query)).expect("numbers");
        assert_eq!(page.cut(vec![1, 2, 3]), [1, 2, 3]);
    }
}
