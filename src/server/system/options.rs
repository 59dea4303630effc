//! Bodies of requests: JSON, judged field by field, turned into the parameters the same question
//! has over HTTP (MON-42, MON-47..50).

use serde_json::{Map, Value};

use crate::ops::http::answers::Endpoint;
use crate::ops::http::query::Parameters;

/// What a field may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Bool,
    Int,
    Uint,
    Texts,
    /// 0 open, 1 closed, 2 both.
    State,
}

/// A field: its name, the parameter it becomes, what it holds.
type Field = (&'static str, &'static str, Kind);

/// A question that can be asked of a server.
pub(super) struct Question {
    /// Last token of its subject.
    pub name: &'static str,
    /// Go's name of its options, for errors.
    options: &'static str,
    /// Who answers.
    pub endpoint: Endpoint,
    fields: &'static [Field],
}

/// Which servers are meant, in every request.
const FILTERS: [Field; 6] = [
    ("server_name", "", Kind::Text),
    ("cluster", "", Kind::Text),
    ("host", "", Kind::Text),
    ("exact_match", "", Kind::Bool),
    ("tags", "", Kind::Texts),
    ("domain", "", Kind::Text),
];

/// Questions that are answered as over HTTP.
pub(super) const QUESTIONS: [Question; 12] = [
    Question {
        name: "VARZ",
        options: "VarzEventOptions",
        endpoint: Endpoint::Varz,
        fields: &[],
    },
    Question {
        name: "SUBSZ",
        options: "SubszEventOptions",
        endpoint: Endpoint::Subsz,
        fields: &[
            ("offset", "offset", Kind::Int),
            ("limit", "limit", Kind::Int),
            ("subscriptions", "subs", Kind::Bool),
            ("account", "acc", Kind::Text),
            ("test", "test", Kind::Text),
        ],
    },
    Question {
        name: "CONNZ",
        options: "ConnzEventOptions",
        endpoint: Endpoint::Connz,
        fields: &[
            ("sort", "sort", Kind::Text),
            ("auth", "auth", Kind::Bool),
            ("subscriptions", "subs", Kind::Bool),
            ("subscriptions_detail", DETAIL, Kind::Bool),
            ("offset", "offset", Kind::Int),
            ("limit", "limit", Kind::Int),
            ("cid", "cid", Kind::Uint),
            ("mqtt_client", "mqtt_client", Kind::Text),
            ("state", "state", Kind::State),
            ("user", "user", Kind::Text),
            ("acc", "acc", Kind::Text),
            ("filter_subject", "filter_subject", Kind::Text),
        ],
    },
    Question {
        name: "ROUTEZ",
        options: "RoutezEventOptions",
        endpoint: Endpoint::Routez,
        fields: &[
            ("subscriptions", "subs", Kind::Bool),
            ("subscriptions_detail", DETAIL, Kind::Bool),
        ],
    },
    Question {
        name: "GATEWAYZ",
        options: "GatewayzEventOptions",
        endpoint: Endpoint::Gatewayz,
        fields: &[
            ("name", "gw_name", Kind::Text),
            ("accounts", "accs", Kind::Bool),
            ("account_name", "acc_name", Kind::Text),
            ("subscriptions", "subs", Kind::Bool),
            ("subscriptions_detail", DETAIL, Kind::Bool),
        ],
    },
    Question {
        name: "LEAFZ",
        options: "LeafzEventOptions",
        endpoint: Endpoint::Leafz,
        fields: &[
            ("subscriptions", "subs", Kind::Bool),
            ("account", "acc", Kind::Text),
        ],
    },
    Question {
        name: "ACCOUNTZ",
        options: "AccountzEventOptions",
        endpoint: Endpoint::Accountz,
        fields: &[("account", "acc", Kind::Text)],
    },
    Question {
        name: "JSZ",
        options: "JszEventOptions",
        endpoint: Endpoint::Jsz,
        fields: &[
            ("account", "acc", Kind::Text),
            ("accounts", "accounts", Kind::Bool),
            ("streams", "streams", Kind::Bool),
            ("consumer", "consumers", Kind::Bool),
            ("direct_consumer", "direct-consumers", Kind::Bool),
            ("config", "config", Kind::Bool),
            ("leader_only", "leader-only", Kind::Bool),
            ("offset", "offset", Kind::Int),
            ("limit", "limit", Kind::Int),
            ("raft", "raft", Kind::Bool),
            ("stream_leader_only", "stream-leader-only", Kind::Bool),
        ],
    },
    Question {
        name: "HEALTHZ",
        options: "HealthzEventOptions",
        endpoint: Endpoint::Healthz,
        fields: &[
            ("js-enabled", "js-enabled", Kind::Bool),
            ("js-enabled-only", "js-enabled-only", Kind::Bool),
            ("js-server-only", "js-server-only", Kind::Bool),
            ("js-meta-only", "js-meta-only", Kind::Bool),
            ("account", "account", Kind::Text),
            ("stream", "stream", Kind::Text),
            ("consumer", "consumer", Kind::Text),
            ("details", "details", Kind::Bool),
        ],
    },
    Question {
        name: "EXPVARZ",
        options: "ExpvarzEventOptions",
        endpoint: Endpoint::Expvarz,
        fields: &[],
    },
    Question {
        name: "IPQUEUESZ",
        options: "IpqueueszEventOptions",
        endpoint: Endpoint::Ipqueuesz,
        fields: &[("all", "all", Kind::Bool), ("filter", "queues", Kind::Text)],
    },
    Question {
        name: "RAFTZ",
        options: "RaftzEventOptions",
        endpoint: Endpoint::Raftz,
        fields: &[
            ("account", "acc", Kind::Text),
            ("group", "group", Kind::Text),
        ],
    },
];

/// A truth value that makes `subs` say `detail`.
const DETAIL: &str = "subs=detail";

/// The question with that last token.
pub(super) fn question(name: &str) -> Option<&'static Question> {
    QUESTIONS.iter().find(|it| it.name == name)
}

/// A request's body, its fields of the right kinds.
#[derive(Debug, Default)]
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// Reads a body that may name the servers meant and `fields`. Without one nothing is asked
    /// for in particular.
    ///
    /// # Errors
    /// It is no JSON, or a field holds what it may not: why, in Go's words as far as they go.
    pub(super) fn read(bytes: &[u8], options: &str, fields: &[Field]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let object = match value {
            Value::Object(object) => object,
            Value::Null => return Ok(Self::default()),
            other => {
                let found = kind_of(&other);
                return Err(format!(
                    "json: cannot unmarshal {found} into Go value of type server.{options}"
                ));
            }
        };
        let mut known = Map::new();
        for (key, value) in object {
            let all = FILTERS.iter().chain(fields);
            // Go's decoder knows a name in either case.
            let field = all.into_iter().find(|it| it.0.eq_ignore_ascii_case(&key));
            let Some(&(name, _, kind)) = field else {
                continue;
            };
            if value.is_null() {
                continue;
            }
            if !kind.holds(&value) {
                let found = kind_of(&value);
                let wanted = kind.go_type();
                return Err(format!(
                    "json: cannot unmarshal {found} into Go struct field {options}.{name} of type {wanted}"
                ));
            }
            known.insert(name.to_owned(), value);
        }
        Ok(Self(known))
    }

    /// Reads the body of a question.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(super) fn of(question: &Question, bytes: &[u8]) -> Result<Self, String> {
        Self::read(bytes, question.options, question.fields)
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    pub(super) fn int(&self, name: &str) -> i64 {
        self.0.get(name).and_then(Value::as_i64).unwrap_or(0)
    }

    pub(super) fn uint(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A list of texts; `None` if absent.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let list = self.0.get(name)?.as_array()?.iter();
        Some(
            list.filter_map(|it| Some(it.as_str()?.to_owned()))
                .collect(),
        )
    }

    /// The same as parameters of a URL.
    pub(super) fn parameters(&self, question: &Question) -> Vec<(String, String)> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for &(name, parameter, kind) in question.fields {
            let Some(value) = self.0.get(name) else {
                continue;
            };
            let (parameter, text) = match (kind, value) {
                (Kind::Bool, Value::Bool(true)) if parameter == DETAIL => {
                    pairs.retain(|(name, _)| name != "subs");
                    ("subs", "detail".to_owned())
                }
                (Kind::Bool, _) if parameter == DETAIL => continue,
                (Kind::State, value) => (
                    parameter,
                    match value.as_i64() {
                        Some(0) => "open".to_owned(),
                        Some(1) => "closed".to_owned(),
                        Some(2) => "all".to_owned(),
                        _ => value.to_string(),
                    },
                ),
                (_, Value::String(text)) => (parameter, text.clone()),
                (_, other) => (parameter, other.to_string()),
            };
            pairs.push((parameter.to_owned(), text));
        }
        pairs
    }
}

/// Parameters of a question with some of them fixed.
pub(super) fn parameters(question: &Question, body: &Body, fixed: &[(&str, &str)]) -> Parameters {
    let given = body.parameters(question).into_iter();
    let fixed = fixed.iter();
    given
        .chain(fixed.map(|&(name, value)| (name.to_owned(), value.to_owned())))
        .collect()
}

impl Kind {
    fn holds(self, value: &Value) -> bool {
        match self {
            Self::Text => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::Int | Self::State => value.is_i64(),
            Self::Uint => value.is_u64(),
            Self::Texts => value
                .as_array()
                .is_some_and(|all| all.iter().all(Value::is_string)),
        }
    }

    const fn go_type(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint64",
            Self::Texts => "[]string",
            Self::State => "server.ConnState",
        }
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "bool".into(),
        Value::Number(number) if number.is_f64() => format!("number {number}"),
        Value::Number(number) => format!("number {number}"),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(name: &str, body: &str) -> Result<Vec<(String, String)>, String> {
        let question = question(name).expect("known");
        Body::of(question, body.as_bytes()).map(|it| it.parameters(question))
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn mon_047_a_body_becomes_the_parameters_of_the_url() {
        let body = r#"{"Sort":"bytes_to","auth":true,"subscriptions":true,"subscriptions_detail":true,
                       "limit":2,"state":1,"cid":7,"unknown":{},"user":null}"#;
        assert_eq!(
            pairs("CONNZ", body),
            Ok(vec![
                pair("sort", "bytes_to"),
                pair("auth", "true"),
                pair("subs", "detail"),
                pair("limit", "2"),
                pair("cid", "7"),
                pair("state", "closed"),
            ])
        );
        assert_eq!(pairs("CONNZ", ""), Ok(vec![]));
        assert_eq!(
            pairs("JSZ", r#"{"consumer":true,"leader_only":false}"#),
            Ok(vec![
                pair("consumers", "true"),
                pair("leader-only", "false")
            ])
        );
    }

    #[test]
    fn mon_041_what_does_not_fit_is_refused() {
        let wrong = "json: cannot unmarshal string into Go struct field ConnzEventOptions.limit of type int";
        assert_eq!(pairs("CONNZ", r#"{"limit":"x"}"#), Err(wrong.into()));
        for body in [
            "{bad",
            "[]",
            "7",
            r#"{"cid":-1}"#,
            r#"{"tags":[1]}"#,
            r#"{"auth":1}"#,
        ] {
            assert!(pairs("CONNZ", body).is_err(), "{body}");
        }
    }
}
