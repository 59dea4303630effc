//! Claims that are maps must be maps: a derived decoder would take the fields of one from a list
//! too, in their order.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

type Raw = Map<String, Value>;

fn read<T: DeserializeOwned, E: Error>(raw: Raw) -> Result<T, E> {
    serde_json::from_value(Value::Object(raw)).map_err(E::custom)
}

/// A map.
pub fn map<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<T, D::Error> {
    read(Raw::deserialize(from)?)
}

/// A map that need not be there.
pub fn some_map<'de, D, T>(from: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    map(from).map(Some)
}

/// A list of maps.
pub fn maps<'de, D: Deserializer<'de>, T: DeserializeOwned>(from: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::<Raw>::deserialize(from)?;
    all.into_iter().map(read).collect()
}

/// A map of lists of maps.
pub fn map_of_maps<'de, D, T>(from: D) -> Result<BTreeMap<String, Vec<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned,
{
    let all = BTreeMap::<String, Vec<Raw>>::deserialize(from)?;
    let each = all.into_iter().map(|(key, list)| {
        let list = list.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok((key, list))
    });
    each.collect()
}
