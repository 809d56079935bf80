//! YAML as JSON's values. Pure.

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Values in a document: aliases could make it grow without end.
const VALUES_MAX: usize = 1 << 20;
/// Values in one another.
const DEPTH_MAX: usize = 64;

/// The one document in these bytes.
///
/// # Errors
/// What is no YAML, more than one document, or what JSON has not.
pub(super) fn parse(bytes: &[u8]) -> Result<Value> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::invalid("it is not UTF-8"))?;
    let documents = Yaml::load_from_str(text).map_err(|error| Error::invalid(error.to_string()))?;
    let [document] = &documents[..] else {
        return Err(Error::invalid(format!("it has {} documents, not one", documents.len())));
    };
    value(document, &mut 0, 0)
}

fn value(node: &Yaml, count: &mut usize, depth: usize) -> Result<Value> {
    *count += 1;
    if *count > VALUES_MAX || depth > DEPTH_MAX {
        return Err(Error::invalid("it is too large"));
    }
    Ok(match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => Value::Bool(*value),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(**number),
        Yaml::Value(Scalar::String(text)) => Value::String(text.to_string()),
        Yaml::Sequence(all) => {
            Value::Array(all.iter().map(|one| value(one, count, depth + 1)).collect::<Result<_>>()?)
        }
        Yaml::Mapping(pairs) => {
            let mut map = Map::new();
            for (key, of_key) in pairs {
                let key = key.as_str().ok_or_else(|| Error::invalid("a key is no text"))?;
                map.insert(key.to_owned(), value(of_key, count, depth + 1)?);
            }
            Value::Object(map)
        }
        other => return Err(Error::invalid(format!("{other:?} is none of JSON's values"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_read_as_json_would_be() {
        let text = b"a: 1\nb: [x, \"2\", true, null, 1.5]\nc:\n  d: 'e'\n  0x: y\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({"a": 1, "b": ["x", "2", true, null, 1.5], "c": {"d": "e", "0x": "y"}})
        );
        let anchors = b"a: &x {b: 1}\nc: *x\n";
        assert_eq!(parse(anchors).unwrap(), json!({"a": {"b": 1}, "c": {"b": 1}}));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for text in [&b"a: [1"[..], b"--- 1\n--- 2\n", b"1: x", b"\xff", b""] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
