//! The tree of values a file gives, each with the place it came from.

use std::collections::HashMap;

use super::error::{Origin, ProblemKind};

/// A value and where it stands: in a map the place of its key, in an array its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// What it is.
    pub node: Node,
    /// Where it stands.
    pub origin: Origin,
    /// A variable names it, so its key need not be one of ours (CFG-14).
    pub is_variable: bool,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Any bytes, escapes resolved.
    String(Vec<u8>),
    /// With the suffix applied.
    Integer(i64),
    /// Always finite.
    Float(f64),
    /// `true`, `yes`, `on` and their opposites.
    Bool(bool),
    /// A valid `2006-01-02T15:04:05Z`, as written.
    Datetime(String),
    /// In the file's order.
    Array(Vec<Value>),
    /// Keys are case-sensitive here: options fold case, variables do not.
    Map(Map),
}

/// Entries in the file's order; a repeated key takes the later value at its first place (CFG-16).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Map {
    entries: Vec<(Vec<u8>, Value)>,
    index: HashMap<Vec<u8>, usize>,
}

impl Map {
    /// Adds an entry, or replaces the one of the same key.
    pub fn insert(&mut self, key: Vec<u8>, value: Value) {
        if let Some((_, old)) = self
            .index
            .get(&key)
            .and_then(|at| self.entries.get_mut(*at))
        {
            *old = value;
        } else {
            self.index.insert(key.clone(), self.entries.len());
            self.entries.push((key, value));
        }
    }

    /// The value of a key, to be marked as a variable.
    pub fn find_mut(&mut self, key: &[u8]) -> Option<&mut Value> {
        let at = *self.index.get(key)?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// The value of a key, spelled so.
    pub fn find(&self, key: &str) -> Option<&Value> {
        let at = *self.index.get(key.as_bytes())?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// Keys and values in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_slice(), value))
    }

    /// Takes the map apart, in the file's order.
    pub fn into_entries(self) -> Vec<(Vec<u8>, Value)> {
        self.entries
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl Node {
    /// The type's name as stock's errors show it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Integer(_) => "int64",
            Self::Float(_) => "float64",
            Self::Bool(_) => "bool",
            Self::Datetime(_) => "time.Time",
            Self::Array(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
        }
    }

    /// The value as stock's errors show it; what contains others is only hinted at.
    pub fn shown(&self) -> String {
        match self {
            Self::String(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::Datetime(text) => text.clone(),
            Self::Array(values) if values.is_empty() => "[]".to_owned(),
            Self::Array(_) => "[...]".to_owned(),
            Self::Map(map) if map.is_empty() => "map[]".to_owned(),
            Self::Map(_) => "map[...]".to_owned(),
        }
    }
}

impl Value {
    fn wrong(&self, wanted: &'static str) -> ProblemKind {
        ProblemKind::Type {
            found: self.node.type_name(),
            wanted,
        }
    }

    /// The value as text.
    ///
    /// # Errors
    /// Another type, or bytes that are not UTF-8.
    pub fn text(&self) -> Result<&str, ProblemKind> {
        match &self.node {
            Node::String(bytes) => str::from_utf8(bytes).map_err(|_| ProblemKind::NotUtf8),
            _ => Err(self.wrong("string")),
        }
    }

    /// The value as an integer.
    ///
    /// # Errors
    /// Another type.
    pub fn integer(&self) -> Result<i64, ProblemKind> {
        match self.node {
            Node::Integer(number) => Ok(number),
            _ => Err(self.wrong("int64")),
        }
    }

    /// The value as a truth value.
    ///
    /// # Errors
    /// Another type.
    pub fn boolean(&self) -> Result<bool, ProblemKind> {
        match self.node {
            Node::Bool(flag) => Ok(flag),
            _ => Err(self.wrong("bool")),
        }
    }

    /// The value as a map.
    ///
    /// # Errors
    /// Another type.
    pub fn map(&self) -> Result<&Map, ProblemKind> {
        match &self.node {
            Node::Map(map) => Ok(map),
            _ => Err(self.wrong("map[string]interface {}")),
        }
    }

    /// The value as an array.
    ///
    /// # Errors
    /// Another type.
    pub fn array(&self) -> Result<&[Value], ProblemKind> {
        match &self.node {
            Node::Array(values) => Ok(values),
            _ => Err(self.wrong("[]interface {}")),
        }
    }
}
