//! A document of ours as a value to show: its members in the order in which they are declared.
//!
//! What serde leaves out because it is empty, templates may ask for all the same, as in Go.

use serde::Serialize;
use serde::ser::{
    self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::output::value::Value;

/// The value of a document; null for one that cannot be shown, of which there is none here.
#[must_use]
pub fn value<T: Serialize>(document: &T) -> Value {
    document.serialize(Show).unwrap_or(Value::Null)
}

/// Nothing here can fail but what a document itself refuses.
#[derive(Debug)]
pub struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    fn custom<T: std::fmt::Display>(words: T) -> Refused {
        Refused(words.to_string())
    }
}

type Shown = Result<Value, Refused>;

struct Show;

impl Serializer for Show {
    type Ok = Value;
    type Error = Refused;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Dictionary;
    type SerializeStruct = Object;
    type SerializeStructVariant = Object;

    fn serialize_bool(self, value: bool) -> Shown {
        Ok(Value::Bool(value))
    }

    fn serialize_i8(self, value: i8) -> Shown {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Shown {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Shown {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Shown {
        Ok(Value::Int(value))
    }

    fn serialize_u8(self, value: u8) -> Shown {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Shown {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Shown {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Shown {
        Ok(value.into())
    }

    fn serialize_f32(self, value: f32) -> Shown {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Shown {
        Ok(Value::Text(value.to_string()))
    }

    fn serialize_char(self, value: char) -> Shown {
        Ok(Value::Text(value.to_string()))
    }

    fn serialize_str(self, value: &str) -> Shown {
        Ok(value.into())
    }

    fn serialize_bytes(self, value: &[u8]) -> Shown {
        Ok(Value::List(value.iter().map(|byte| Value::Int((*byte).into())).collect()))
    }

    fn serialize_none(self) -> Shown {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Shown {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Shown {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Shown {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Shown {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Shown {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Shown {
        Ok(Value::Object(name, vec![(variant, value.serialize(Show)?)]))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<List, Refused> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<List, Refused> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<List, Refused> {
        Ok(List(Vec::new()))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<List, Refused> {
        Ok(List(Vec::new()))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Dictionary, Refused> {
        Ok(Dictionary(Vec::new(), String::new()))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Object, Refused> {
        Ok(Object(name, Vec::new()))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object, Refused> {
        Ok(Object(variant, Vec::new()))
    }
}

struct List(Vec<Value>);

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.0.push(value.serialize(Show)?);
        Ok(())
    }
}

/// The four kinds of lists that serde knows are one here.
macro_rules! list {
    ($kind:ident, $method:ident) => {
        impl $kind for List {
            type Ok = Value;
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
                self.push(value)
            }

            fn end(self) -> Shown {
                Ok(Value::List(self.0))
            }
        }
    };
}

list!(SerializeSeq, serialize_element);
list!(SerializeTuple, serialize_element);
list!(SerializeTupleStruct, serialize_field);
list!(SerializeTupleVariant, serialize_field);

struct Dictionary(Vec<(String, Value)>, String);

impl SerializeMap for Dictionary {
    type Ok = Value;
    type Error = Refused;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refused> {
        self.1 = match key.serialize(Show)? {
            Value::Text(key) => key,
            other => other.to_json(),
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refused> {
        self.0.push((std::mem::take(&mut self.1), value.serialize(Show)?));
        Ok(())
    }

    fn end(self) -> Shown {
        Ok(Value::Dictionary(self.0))
    }
}

struct Object(&'static str, Vec<(&'static str, Value)>);

impl Object {
    fn push<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        self.1.push((name, value.serialize(Show)?));
        Ok(())
    }

    fn push_aside(&mut self, name: &'static str) {
        self.1.push((name, Value::Aside(Box::new(Value::Null))));
    }
}

impl SerializeStruct for Object {
    type Ok = Value;
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.push(name, value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), Refused> {
        self.push_aside(name);
        Ok(())
    }

    fn end(self) -> Shown {
        Ok(Value::Object(self.0, self.1))
    }
}

impl SerializeStructVariant for Object {
    type Ok = Value;
    type Error = Refused;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refused> {
        self.push(name, value)
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), Refused> {
        self.push_aside(name);
        Ok(())
    }

    fn end(self) -> Shown {
        Ok(Value::Object(self.0, self.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::config::Config;
    use crate::container::host_config::HostConfig;

    #[test]
    fn a_document_is_shown_as_its_json() {
        let host = HostConfig {
            binds: Some(vec!["/a:/b".to_owned()]),
            sysctls: [("a.b".to_owned(), "1".to_owned())].into(),
            init: Some(true),
            ..HostConfig::default()
        };
        assert_eq!(value(&host).to_json(), serde_json::to_string(&host).unwrap());
        let config = Config { labels: [("a".to_owned(), "b".to_owned())].into(), ..Config::default() };
        assert_eq!(value(&config).to_json(), serde_json::to_string(&config).unwrap());
        // Nothing is shown of it, and still it may be asked for.
        assert_eq!(value(&config).get("StopSignal"), Some(&Value::Aside(Box::new(Value::Null))));
    }
}
