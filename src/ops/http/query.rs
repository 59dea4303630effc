//! Typed parameters of a request; what does not fit is answered in stock's words (MON-5).

use std::collections::HashMap;

/// A refusal: 400 and its text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadRequest(pub String);

/// Parameters by name; of several with one name the first counts.
pub(super) struct Parameters(HashMap<String, String>);

impl Parameters {
    /// Reads the part of a URL after `?`.
    pub(super) fn parse(query: &str) -> Self {
        let mut all = HashMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            all.entry(unescape(key)).or_insert_with(|| unescape(value));
        }
        Self(all)
    }

    /// A text; empty if absent.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A truth value; false if absent.
    pub(super) fn bool(&self, name: &str) -> Result<bool, BadRequest> {
        match self.text(name) {
            "" | "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
            "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
            other => Err(BadRequest(format!(
                "Error decoding boolean for '{name}': strconv.ParseBool: parsing {other:?}: invalid syntax"
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
        text.parse().map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let reason = match error.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            BadRequest(format!(
                "Error decoding {kind} for '{name}': strconv.{function}: parsing {text:?}: {reason}"
            ))
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
const LIMIT: i64 = 1024;

impl Page {
    /// Reads both; what makes no sense is the default.
    pub(super) fn of(parameters: &Parameters) -> Result<Self, BadRequest> {
        let offset = parameters.int("offset")?.max(0);
        let limit = parameters.int("limit")?;
        Ok(Self {
            offset,
            limit: if limit > 0 { limit } else { LIMIT },
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

/// Undoes the escapes of a URL; a broken escape stands for itself.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let hex = |byte: Option<&u8>| byte.and_then(|&byte| char::from(byte).to_digit(16));
        match (first, hex(after.first()), hex(after.get(1))) {
            (b'+', ..) => bytes.push(b' '),
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                rest = &after[2..];
            }
            _ => bytes.push(first),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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
    fn t43_pages_at_the_edges_of_numbers_are_empty_not_fatal() {
        let query = format!("limit={0}&offset={0}", i64::MAX);
        let page = Page::of(&Parameters::parse(&query)).expect("numbers");
        assert_eq!(page.cut(vec![1, 2, 3]), Vec::<i32>::new());
        let query = format!("limit={0}&offset={0}", i64::MIN);
        let page = Page::of(&Parameters::parse(&query)).expect("numbers");
        assert_eq!(page.cut(vec![1, 2, 3]), [1, 2, 3]);
    }
}
