//! What the specification calls an object is read from an object only.
//!
//! The code that serde derives for a struct takes a JSON array too, its items for the fields by their order:
//! `"root": ["/x", true]`. No document means that, and no other runtime reads it so. The types of a
//! configuration are therefore derived with `remote = "Self"`, which makes the derived code a plain function
//! of the type, and [`objects!`] makes the trait of it, by a parser that asks for a map where the derived code
//! asks for a struct. Nothing is read twice and nothing wraps what is nested: it costs no code and no time.

use serde::Deserializer;
use serde::de::Visitor;
use serde::forward_to_deserialize_any;

/// A parser that reads a struct as a map. Derived code of structs asks for nothing else.
pub(super) struct Object<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Implements `Deserialize` for types that are derived with `remote = "Self"`, and `Serialize` for those after
/// `both`, whose derived code that makes a plain function too.
macro_rules! objects {
    (read: $($read:ident)*; both: $($both:ident)*) => {
        $($crate::spec::object::objects!(@read $read);)*
        $(
            $crate::spec::object::objects!(@read $both);

            impl ::serde::Serialize for $both {
                fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    Self::serialize(self, serializer)
                }
            }
        )*
    };
    (@read $name:ident) => {
        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize($crate::spec::object::Object(deserializer))
            }
        }
    };
}
pub(super) use objects;
