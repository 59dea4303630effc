//! What the reading of a tree gathers beside the options: errors, warnings, keys without effect.

use super::error::{Origin, Problem, ProblemKind};
use super::value::{Map, Node, Value};
use crate::time::duration;

/// Gathers everything that is to be said about a file; nothing stops at the first problem.
#[derive(Debug, Default)]
pub struct Report {
    /// What stops the start.
    pub errors: Vec<Problem>,
    /// What is said and does not stop it.
    pub warnings: Vec<Problem>,
    /// Keys accepted that do nothing in this version, each once.
    pub inactive: Vec<String>,
}

impl Report {
    /// Notes an error at a value.
    pub fn error(&mut self, at: &Value, kind: ProblemKind) {
        self.error_at(&at.origin, kind);
    }

    /// Notes an error at a place.
    pub fn error_at(&mut self, origin: &Origin, kind: ProblemKind) {
        self.errors.push(Problem {
            origin: Some(origin.clone()),
            kind,
        });
    }

    /// Notes an error that stock gives no place.
    pub fn error_anywhere(&mut self, kind: ProblemKind) {
        self.errors.push(Problem { origin: None, kind });
    }

    /// Notes a warning at a value.
    pub fn warning(&mut self, at: &Value, kind: ProblemKind) {
        self.warnings.push(Problem {
            origin: Some(at.origin.clone()),
            kind,
        });
    }

    /// Notes a key that does nothing yet.
    pub fn inactive(&mut self, key: &str) {
        if !self.inactive.iter().any(|it| it == key) {
            self.inactive.push(key.to_owned());
        }
    }

    /// The value of a result, or the error noted at `at`.
    pub fn keep<T>(&mut self, at: &Value, result: Result<T, ProblemKind>) -> Option<T> {
        result.map_err(|kind| self.error(at, kind)).ok()
    }

    /// A key that is not one of this block: an error unless a variable made it (CFG-14).
    pub fn unknown_field(&mut self, key: &[u8], value: &Value) {
        if !value.is_variable {
            let key = String::from_utf8_lossy(key).into_owned();
            self.error(value, ProblemKind::UnknownField(key));
        }
    }

    /// The same in the words of a block that has its own.
    pub fn unknown_field_in(
        &mut self,
        (before, after): (&'static str, &'static str),
        key: &[u8],
        value: &Value,
    ) {
        if !value.is_variable {
            let key = String::from_utf8_lossy(key).into_owned();
            self.error(value, ProblemKind::UnknownFieldIn { before, key, after });
        }
    }

    /// Nanoseconds of a duration string, or of an integer of seconds with a warning (CFG-11).
    pub fn duration(&mut self, field: &str, value: &Value) -> Option<i64> {
        if let Node::String(_) = value.node {
            let nanos = strict_duration(value, &format!("error parsing {field}: "));
            return self.keep(value, nanos);
        }
        self.warning(
            value,
            ProblemKind::InvalidUse {
                field: field.to_owned(),
                reason: format!("{field} should be converted to a duration"),
            },
        );
        let seconds = self.keep(value, value.integer())?;
        Some(seconds.saturating_mul(1_000_000_000))
    }

    /// Seconds as integer, float or duration string (AUTH-7); more than a minute is a warning,
    /// because a bare `1m` is a million.
    pub fn timeout(&mut self, key: &[u8], block: &'static str, value: &Value) -> Option<f64> {
        let seconds = match &value.node {
            Node::Integer(number) => *number as f64,
            Node::Float(number) => *number,
            Node::String(_) => {
                let context = format!("error parsing {block} config, 'timeout' ");
                let nanos = strict_duration(value, &context);
                self.keep(value, nanos)? as f64 / 1e9
            }
            _ => {
                let text = match block {
                    "tls" => "error parsing tls config, 'timeout' wrong type",
                    "leafnode authorization" => {
                        "error parsing leafnode authorization config, 'timeout' wrong type"
                    }
                    _ => "error parsing authorization config, 'timeout' wrong type",
                };
                self.error(value, ProblemKind::Stock(text));
                return None;
            }
        };
        if seconds > 60.0 && block != "tls" {
            self.warning(
                value,
                ProblemKind::InvalidUse {
                    field: String::from_utf8_lossy(key).into_owned(),
                    reason: format!(
                        "timeout of {} ({seconds:.6} seconds) is high, consider keeping it under \
                         60 seconds. possibly caused by unquoted duration; use '1m' instead of \
                         1m, for example",
                        value.node.shown()
                    ),
                },
            );
        }
        Some(seconds)
    }

    /// A string, or an array whose strings are taken and whose other entries are errors.
    pub fn texts(&mut self, what: TextsError, value: &Value) -> Option<Vec<String>> {
        match &value.node {
            Node::String(_) => Some(vec![self.keep(value, value.text())?.to_owned()]),
            Node::Array(values) => {
                let mut texts = Vec::with_capacity(values.len());
                for entry in values {
                    if let Node::String(_) = entry.node {
                        texts.extend(self.keep(entry, entry.text()).map(str::to_owned));
                    } else {
                        self.error(entry, type_in(what.in_array, entry));
                    }
                }
                Some(texts)
            }
            _ => {
                self.error(value, type_in(what.alone, value));
                None
            }
        }
    }

    /// A map, or an error in the words of the block.
    pub fn map<'v>(&mut self, wrong_type: &'static str, value: &'v Value) -> Option<&'v Map> {
        match &value.node {
            Node::Map(map) => Some(map),
            _ => {
                self.error(value, type_in(wrong_type, value));
                None
            }
        }
    }
}

/// Texts for values that are not strings; the type is added.
#[derive(Clone, Copy)]
pub struct TextsError {
    /// For an entry of an array.
    pub in_array: &'static str,
    /// For the value itself.
    pub alone: &'static str,
}

/// `text` and the name of the type that stands there.
pub fn type_in(text: &'static str, value: &Value) -> ProblemKind {
    ProblemKind::TypeIn {
        text,
        found: value.node.type_name().to_owned(),
    }
}

/// Nanoseconds of a duration string.
///
/// # Errors
/// Another type, or no duration, with `context` before the text.
pub fn strict_duration(value: &Value, context: &str) -> Result<i64, ProblemKind> {
    duration::parse(value.text()?).map_err(|error| ProblemKind::Duration {
        context: context.to_owned(),
        error,
    })
}
