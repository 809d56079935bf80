//! What commands show: values with an order.
//!
//! JSON that Docker prints has the order of its structures, and so has ours; nothing here is a map that sorts.

use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

/// A value to show.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// A list that nobody made: `null` in JSON, empty for templates.
    NoList,
    /// A dictionary that nobody made, likewise.
    NoDictionary,
    /// `true`, `false`
    Bool(bool),
    /// A number.
    Int(i64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Value>),
    /// Members that are known, by which templates may ask; the first is what such an object is called.
    Object(&'static str, Vec<(&'static str, Value)>),
    /// Members that people have named: labels, ports.
    Dictionary(Vec<(String, Value)>),
    /// A member that templates may ask for and JSON does not show: what Go leaves out where it is empty, or has twice.
    Aside(Box<Value>),
}

impl Value {
    /// The member of an object or a dictionary.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Object(_, members) => {
                members.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
            }
            Value::Dictionary(members) => {
                members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The same object with another value of a member that it has.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Value {
        if let Value::Object(_, members) = &mut self
            && let Some((_, known)) = members.iter_mut().find(|(known, _)| *known == name)
        {
            *known = value.into();
        }
        self
    }

    /// JSON on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Text and numbers only: nothing in it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// JSON on many lines, four spaces deep, as `docker inspect` has it.
    #[must_use]
    pub fn to_pretty_json(&self) -> String {
        let mut bytes = Vec::new();
        let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let written = self.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, indent));
        written.ok().and_then(|()| String::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null | Value::NoList | Value::NoDictionary => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i64(*value),
            Value::Text(value) => serializer.serialize_str(value),
            Value::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Value::Object(_, members) => {
                let shown = || members.iter().filter(|(_, value)| !matches!(value, Value::Aside(_)));
                let mut map = serializer.serialize_map(Some(shown().count()))?;
                shown().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
            Value::Dictionary(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                members.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
            Value::Aside(value) => value.serialize(serializer),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<i32> for Value {
    fn from(value: i32) -> Value {
        Value::Int(value.into())
    }
}

/// Sizes: what is larger than any disk is shown as the largest number there is.
impl From<u64> for Value {
    fn from(value: u64) -> Value {
        Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(values: Vec<T>) -> Value {
        Value::List(values.into_iter().map(Into::into).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_order_of_the_members() {
        let value = Value::Object(
            "image",
            vec![
                ("Id", "x".into()),
                ("Config", Value::Object("config", vec![("Cmd", vec!["sh"].into()), ("A", Value::Null)])),
                ("Labels", Value::Dictionary(vec![])),
            ],
        );
        assert_eq!(value.to_json(), r#"{"Id":"x","Config":{"Cmd":["sh"],"A":null},"Labels":{}}"#);
        let pretty = "{\n    \"Id\": \"x\",\n    \"Config\": {\n        \"Cmd\": [\n            \"sh\"\n        ],\n        \
            \"A\": null\n    },\n    \"Labels\": {}\n}";
        assert_eq!(value.to_pretty_json(), pretty);
        assert_eq!(value.get("Config").and_then(|config| config.get("A")), Some(&Value::Null));
        assert_eq!(value.get("B"), None);
        let aside = Value::Object("x", vec![("A", Value::Aside(Box::new(1.into()))), ("B", 2.into())]);
        assert_eq!(aside.to_json(), r#"{"B":2}"#);
    }
}
