//! Requests as stock's language reads them: keys match without case, `null` changes nothing, the
//! last of several equal keys wins, several values one after the other are laid over each other;
//! and what is wrong is said in the same words (JS-3). Types bring their names in stock with them,
//! as the names serde knows them by.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};

use super::syntax::{Kind, SyntaxError, Value, next_value, only_value};
use crate::protocol::error_text::quote;
use crate::protocol::json::fold;

/// Why a request cannot be read, in stock's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(String);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self(what.to_string())
    }
}

impl From<SyntaxError> for DecodeError {
    fn from(error: SyntaxError) -> Self {
        Self(match error.offset {
            Some(offset) => format!("{} at offset {offset}", error.text),
            None => error.text,
        })
    }
}

/// Reads a request's body; an empty one is the type's default. Unknown fields are errors if it is
/// `strict`, else skipped, and then only one value is taken.
///
/// # Errors
/// [`DecodeError`]: the text behind `invalid JSON: `.
pub fn decode<T: DeserializeOwned + Default>(body: &[u8], strict: bool) -> Result<T, DecodeError> {
    let rules = Rules {
        strict,
        root: None,
        set_aside: None,
    };
    each_value(body, strict, |value| Reader::root(value, &rules).read())
}

/// Reads a body that is a configuration with one boolean field more, as stock's requests to create
/// and update are; gives both. `name` is what stock calls it.
///
/// # Errors
/// As [`decode`].
pub fn decode_with_flag<T: DeserializeOwned + Default>(
    body: &[u8],
    strict: bool,
    name: &'static str,
    flag: &'static str,
) -> Result<(T, bool), DecodeError> {
    let rules = Rules {
        strict,
        root: Some(name),
        set_aside: Some(flag),
    };
    each_value(body, strict, |value| {
        let reader = Reader::root(value, &rules);
        let all = reader.read()?;
        let mut set = false;
        if let Kind::Object(fields) = &value.kind {
            for (_, value) in fields.iter().filter(|(key, _)| fold(key) == flag) {
                set = reader.field(name, flag, value).read()?;
            }
        }
        Ok((all, set))
    })
}

/// Lays the values of `body` over each other and reads them; what comes before a broken one is
/// judged first.
fn each_value<T: Default>(
    body: &[u8],
    strict: bool,
    read: impl Fn(&Value<'_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    if !strict && !body.trim_ascii().is_empty() {
        return read(&only_value(body)?);
    }
    let mut at = 0;
    let mut merged: Option<Value<'_>> = None;
    loop {
        let next = next_value(body, &mut at);
        let before = match (&next, &merged) {
            (Ok(Some(_)), _) | (_, None) => T::default(),
            (Ok(None) | Err(_), Some(merged)) => read(merged)?,
        };
        let Some(mut value) = next? else {
            return Ok(before);
        };
        if let Some(Value { kind, .. }) = &mut merged
            && let (Kind::Object(fields), Kind::Object(more)) = (kind, &mut value.kind)
        {
            fields.append(more);
        } else {
            merged = Some(value);
        }
    }
}

struct Rules {
    strict: bool,
    /// What the outermost type is called, if not as serde knows it.
    root: Option<&'static str>,
    /// A field of the outermost value that is somebody else's.
    set_aside: Option<&'static str>,
}

/// Where a value stands.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    /// Of the type there, which stands where the first says.
    Field(&'p Path<'p>, &'static str, &'p str),
    Element(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, of, name) => {
                write!(f, "{}.{name}", of.trim_start_matches("server."))
            }
            Self::Field(parent, _, name) => write!(f, "{parent}.{name}"),
            Self::Element(parent, at) => write!(f, "{parent}.{at}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Reader<'p, 'a> {
    value: &'p Value<'a>,
    rules: &'p Rules,
    path: &'p Path<'p>,
}

/// A value with the step that leads to it.
struct Below<'p, 'a> {
    value: &'p Value<'a>,
    rules: &'p Rules,
    path: Path<'p>,
}

impl Below<'_, '_> {
    fn read<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.reader().read()
    }
}

impl<'a> Below<'_, 'a> {
    fn reader(&self) -> Reader<'_, 'a> {
        Reader {
            value: self.value,
            rules: self.rules,
            path: &self.path,
        }
    }
}

impl<'p, 'a> Reader<'p, 'a> {
    fn root(value: &'p Value<'a>, rules: &'p Rules) -> Self {
        let path = &Path::Root;
        Self { value, rules, path }
    }

    fn read<T: DeserializeOwned>(self) -> Result<T, DecodeError> {
        T::deserialize(self)
    }

    fn field(self, of: &'static str, name: &'p str, value: &'p Value<'a>) -> Below<'p, 'a> {
        Below {
            value,
            rules: self.rules,
            path: Path::Field(self.path, of, name),
        }
    }

    fn is_null(self) -> bool {
        self.value.kind == Kind::Null
    }

    /// It is not of the type asked for.
    fn wrong(self, wanted: &str) -> DecodeError {
        let mut text = String::from("json: cannot unmarshal ");
        text.push_str(match self.value.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "bool",
            Kind::Number(_) => "number",
            Kind::String(_) => "string",
            Kind::Array(_) => "array",
            Kind::Object(_) => "object",
        });
        if let Kind::Number(number) = self.value.kind
            && (wanted.starts_with("int")
                || wanted.starts_with("uint")
                || wanted == "time.Duration")
        {
            let _ = write!(text, " {number}");
        }
        let _ = match self.path {
            Path::Root => write!(text, " into Go value of type {wanted}"),
            Path::Field(..) => write!(text, " into Go struct field {} of type {wanted}", self.path),
            Path::Element(..) => write!(text, " into {} of type {wanted}", self.path),
        };
        DecodeError(text)
    }

    /// Stock's type of a signed number here.
    fn signed_type(self) -> &'static str {
        let Path::Field(_, of, name) = *self.path else {
            return "int";
        };
        match (of, name) {
            (
                "server.StreamConfig" | "server.StreamConfigRequest",
                "max_msgs" | "max_bytes" | "max_msgs_per_subject",
            )
            | (_, "min_pending" | "min_ack_pending") => "int64",
            _ => "int",
        }
    }

    fn integer<N: std::str::FromStr + Default>(self, wanted: &str) -> Result<N, DecodeError> {
        match self.value.kind {
            Kind::Null => Ok(N::default()),
            Kind::Number(text) => text.parse().map_err(|_| self.wrong(wanted)),
            _ => Err(self.wrong(wanted)),
        }
    }

    /// A word of an enumeration. Stock compares the JSON as it is written.
    fn word(self, name: &'static str) -> Result<String, DecodeError> {
        match (name, &self.value.kind) {
            ("Compression", Kind::String(word)) => Ok(word.to_string()),
            ("Compression", Kind::Null) => Ok("null".to_owned()),
            ("Compression", _) => {
                let path = &Path::Root;
                Err(Self { path, ..self }.wrong("string"))
            }
            (_, Kind::String(word)) if self.value.raw.len() == word.len() + 2 => Ok(match name {
                "Discard" => word.to_ascii_lowercase(),
                _ => word.to_string(),
            }),
            _ => Err(self.unknown_word(name)),
        }
    }

    fn unknown_word(self, name: &'static str) -> DecodeError {
        let raw = String::from_utf8_lossy(self.value.raw);
        DecodeError(match name {
            "Compression" => "unknown compression algorithm".to_owned(),
            "ConsumerAction" => format!("unknown consumer action: {raw}"),
            "PriorityPolicy" => format!("unknown priority policy: {raw}"),
            _ => {
                let mut text = Vec::from("can not unmarshal ");
                quote(&mut text, self.value.raw);
                String::from_utf8_lossy(&text).into_owned()
            }
        })
    }
}

impl<'de> Deserializer<'de> for Reader<'_, '_> {
    type Error = DecodeError;

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.value.kind {
            Kind::Bool(value) => visitor.visit_bool(value),
            Kind::Null => visitor.visit_bool(false),
            _ => Err(self.wrong("bool")),
        }
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i32(self.integer("int32")?)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_i64(self.integer(self.signed_type())?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u64(self.integer("uint64")?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.value.kind {
            Kind::String(text) => visitor.visit_str(text),
            Kind::Null => visitor.visit_str(""),
            _ => Err(self.wrong("string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match (name, &self.value.kind) {
            ("time.Duration", _) => {
                let nanos: i64 = self.integer(name)?;
                visitor.visit_newtype_struct(nanos.into_deserializer())
            }
            ("time.Time", Kind::Null) => visitor.visit_unit(),
            ("time.Time", Kind::String(text)) => visitor.visit_str(text),
            _ => Err(self.wrong(name)),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let elements = match &self.value.kind {
            Kind::Array(elements) => elements.as_slice(),
            Kind::Null => &[],
            _ => {
                let Path::Field(_, _, name) = *self.path else {
                    return Err(self.wrong("[]string"));
                };
                return Err(self.wrong(match name {
                    "sources" => "[]*server.StreamSource",
                    "subject_transforms" => "[]server.SubjectTransformConfig",
                    "backoff" => "[]time.Duration",
                    "deleted" | "msgs" => "[]uint64",
                    _ => "[]string",
                }));
            }
        };
        visitor.visit_seq(Elements {
            of: self,
            rest: elements.iter().enumerate(),
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        const MAP: &str = "map[string]string";
        let fields = match &self.value.kind {
            Kind::Object(fields) => fields.as_slice(),
            Kind::Null => &[],
            _ => return Err(self.wrong(MAP)),
        };
        let rest: Vec<_> = fields.iter().map(|(key, value)| (&**key, value)).collect();
        visitor.visit_map(Fields {
            of: self,
            kind: MAP,
            rest: rest.into_iter(),
            value: None,
            end: None,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let name = match (self.path, self.rules.root) {
            (Path::Root, Some(root)) => root,
            _ => name,
        };
        let fields = match &self.value.kind {
            Kind::Object(fields) => fields.as_slice(),
            Kind::Null => &[],
            _ => return Err(self.wrong(name)),
        };
        visitor.visit_map(Fields::known(self, name, known, fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let word = self.word(name)?;
        let word: StrDeserializer<'_, DecodeError> = word.as_str().into_deserializer();
        visitor
            .visit_enum(word)
            .map_err(|_| self.unknown_word(name))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u32 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct identifier ignored_any
    }
}

struct Elements<'p, 'a> {
    of: Reader<'p, 'a>,
    rest: std::iter::Enumerate<std::slice::Iter<'p, Value<'a>>>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((at, value)) = self.rest.next() else {
            return Ok(None);
        };
        let below = Below {
            value,
            rules: self.of.rules,
            path: Path::Element(self.of.path, at),
        };
        seed.deserialize(below.reader()).map(Some)
    }
}

struct Fields<'p, 'a> {
    of: Reader<'p, 'a>,
    /// The type they are of.
    kind: &'static str,
    rest: std::vec::IntoIter<(&'p str, &'p Value<'a>)>,
    value: Option<(&'p str, &'p Value<'a>)>,
    /// What is wrong behind them.
    end: Option<DecodeError>,
}

impl<'p, 'a> Fields<'p, 'a> {
    /// Those a type has, in the order of the text, up to one that it has not.
    fn known(
        of: Reader<'p, 'a>,
        kind: &'static str,
        known: &'static [&'static str],
        fields: &'p [(Cow<'a, str>, Value<'a>)],
    ) -> Self {
        let set_aside = match of.path {
            Path::Root => of.rules.set_aside,
            _ => None,
        };
        let mut found: Vec<(&'p str, &'p Value<'a>)> = Vec::new();
        let mut end = None;
        for (key, value) in fields {
            let exact = known.iter().find(|&name| name == key);
            let folded = || fold(key);
            let name = exact.copied().or_else(|| {
                let key = folded();
                known.iter().find(|&&name| name == key).copied()
            });
            if let Some(name) = name {
                // The last of several wins; a type has few fields, so this is soon found.
                found.retain(|(earlier, _)| *earlier != name);
                found.push((name, value));
            } else if of.rules.strict && set_aside.is_none_or(|name| name != folded()) {
                let mut text = Vec::from("json: unknown field ");
                quote(&mut text, key.as_bytes());
                end = Some(DecodeError(String::from_utf8_lossy(&text).into_owned()));
                break;
            }
        }
        Self {
            of,
            kind,
            rest: found.into_iter(),
            value: None,
            end,
        }
    }
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        let Some((name, value)) = self.rest.next() else {
            return self.end.take().map_or(Ok(None), Err);
        };
        self.value = Some((name, value));
        let name: StrDeserializer<'_, DecodeError> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        let Some((name, value)) = self.value.take() else {
            return Err(de::Error::custom("a value without a key"));
        };
        seed.deserialize(self.of.field(self.kind, name, value).reader())
    }
}

/// Does the body hold an object or array, so that an optional body counts as given? (JS-4)
pub fn is_json(body: &[u8]) -> bool {
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Does the body ask for nothing: no bytes, or an empty object? (JS-4)
pub fn is_empty(body: &[u8]) -> bool {
    let mut at = 0;
    body.is_empty()
        || matches!(
            (next_value(body, &mut at), next_value(body, &mut at)),
            (Ok(Some(Value { kind: Kind::Object(fields), .. })), Ok(None)) if fields.is_empty()
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jetstream::api::request::{
        ConsumerCreateRequest, ConsumersRequest, MessageDeleteRequest, MessageGetRequest,
        NextRequest, PauseRequest, StreamConfigRequest, StreamInfoRequest, StreamListRequest,
        StreamNamesRequest, StreamPurgeRequest, UnpinRequest,
    };
    use crate::jetstream::api::subjects::{ApiSubject, Endpoint};
    use crate::jetstream::consumer::config::DeliverPolicy;
    use crate::jetstream::stream::config::{Discard, PersistMode, StreamConfig};

    fn stream(body: &str) -> Result<StreamConfig, String> {
        StreamConfigRequest::decode(body.as_bytes(), true)
            .map(|request| request.config)
            .map_err(|error| error.to_string())
    }

    /// JS-3: bodies, and what 2.15.1 had against them.
    #[test]
    fn what_is_wrong_is_said_as_stock_says_it() {
        fn error<T: DeserializeOwned + Default>(body: &str) -> Option<String> {
            decode::<T>(body.as_bytes(), true)
                .err()
                .map(|it| it.to_string())
        }
        let golden = include_str!("../../../tests/fixtures/jetstream/bodies.json");
        let golden: Vec<(String, String, String)> = serde_json::from_str(golden).expect("JSON");
        assert!(golden.len() > 100);
        for (subject, body, expected) in &golden {
            let subject = format!("$JS.API.{subject}");
            let endpoint = ApiSubject::parse(subject.as_bytes())
                .expect("an endpoint")
                .endpoint;
            let got = match endpoint {
                Endpoint::StreamCreate => stream(body).err(),
                Endpoint::ConsumerCreate => error::<ConsumerCreateRequest>(body),
                Endpoint::StreamInfo => error::<StreamInfoRequest>(body),
                Endpoint::StreamNames => error::<StreamNamesRequest>(body),
                Endpoint::StreamList => error::<StreamListRequest>(body),
                Endpoint::ConsumerNames => error::<ConsumersRequest>(body),
                Endpoint::MessageGet => error::<MessageGetRequest>(body),
                Endpoint::MessageDelete => error::<MessageDeleteRequest>(body),
                Endpoint::StreamPurge => error::<StreamPurgeRequest>(body),
                Endpoint::ConsumerPause => error::<PauseRequest>(body),
                Endpoint::ConsumerUnpin => error::<UnpinRequest>(body),
                other => panic!("{other:?}"),
            };
            let got = got.map(|text| format!("invalid JSON: {text}"));
            assert_eq!(got.as_ref(), Some(expected), "{body}");
        }
    }

    #[test]
    fn what_stock_lets_pass_is_read() {
        let config = stream(
            r#"{"NAME":"A","Num_Replicas":7,"discard":"NEW","max_msgs":null,"mirror":null}"#,
        );
        let config = config.expect("a config");
        assert_eq!((config.name.as_str(), config.num_replicas), ("A", 7));
        assert_eq!((config.discard, config.mirror), (Discard::New, None));
        assert_eq!(
            stream(r#"{"name":"A","name":"B"}"#).expect("a config").name,
            "B"
        );
        assert_eq!(
            stream(r#"{"name":"A"}{"name":"B"}"#)
                .expect("a config")
                .name,
            "B"
        );
        let config = stream(
            r#"{"persist_mode":"","subjects":[null],"sources":[null],"metadata":{"a":null}}"#,
        );
        let config = config.expect("a config");
        assert_eq!(config.persist_mode, PersistMode::Default);
        assert_eq!(
            (config.subjects, config.sources.len()),
            (vec![String::new()], 1)
        );
        assert_eq!(config.metadata.get("a"), Some(&String::new()));
        for nothing in ["", "null", "{}", " \n"] {
            assert_eq!(
                stream(&nothing.replace("\\n", "\n")),
                Ok(StreamConfig::default())
            );
        }
        let body = br#"{"config":{"deliver_policy":"undefined","filter_subject":"a"}}"#;
        let request: ConsumerCreateRequest = decode(body, true).expect("a request");
        assert_eq!(request.config.deliver_policy, DeliverPolicy::All);
        assert!(
            StreamConfigRequest::decode(br#"{"Pedantic":true}"#, true)
                .expect("a request")
                .pedantic
        );
    }

    #[test]
    fn who_is_not_strict_skips_what_is_unknown() {
        let request =
            StreamConfigRequest::decode(br#"{"name":"A","foo":[{"x":1}],"pedantic":true}"#, false);
        let request = request.expect("a request");
        assert_eq!(
            (request.config.name.as_str(), request.pedantic),
            ("A", true)
        );
        for (body, expected) in [
            (r#"{"name":"A""#, "unexpected end of JSON input"),
            (
                r#"{"name":"A"} x"#,
                "invalid character 'x' after top-level value",
            ),
        ] {
            let error = StreamConfigRequest::decode(body.as_bytes(), false).expect_err(body);
            assert_eq!(error.to_string(), expected);
        }
        let pull = |body: &[u8]| NextRequest::decode(body).map(|request| request.batch);
        assert_eq!((pull(b""), pull(b" 7 "), pull(b"x")), (Ok(1), Ok(7), Ok(1)));
        assert_eq!(pull(br#"{"batch":3,"foo":1}"#), Ok(3));
        assert!(pull(b"{").is_err());
    }

    #[test]
    fn bodies_are_json_or_empty_or_neither() {
        assert!(
            is_json(b" {") && is_json(b"[") && !is_json(b"x") && !is_json(b"") && !is_json(b"\"\"")
        );
        for empty in ["", "{}", " { } "] {
            assert!(is_empty(empty.as_bytes()), "{empty}");
        }
        for full in [" ", "{\"a\":1}", "[]", "x", "{} x", "null"] {
            assert!(!is_empty(full.as_bytes()), "{full}");
        }
    }
}
