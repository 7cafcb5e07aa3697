//! A result as a tree in which every field is there, those that are left out of JSON too.
//!
//! JSON leaves out what is not set. A template names fields, and has to tell one that is not set from one that does not
//! exist; serde says which is which ([`SerializeStruct::skip_field`]).

use serde::ser::{
    Error as _, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, Serializer,
};
use serde_json::{Error, Map, Value};

/// The tree; what is not set is `null`.
pub(super) fn all(value: &impl Serialize) -> Result<Value, Error> {
    value.serialize(Whole)
}

/// Makes the tree. Results are made of structures, lists, maps and plain values; anything else is an error.
struct Whole;

/// A list on its way.
struct Items(Vec<Value>);

/// A structure or a map on its way.
struct Fields {
    fields: Map<String, Value>,
    key: Option<String>,
}

impl Fields {
    fn new() -> Self {
        Self { fields: Map::new(), key: None }
    }
}

/// Plain values are as in JSON.
macro_rules! plain {
    ($($method:ident($kind:ty)),*) => {
        $(fn $method(self, value: $kind) -> Result<Value, Error> {
            Ok(Value::from(value))
        })*
    };
}

impl Serializer for Whole {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Impossible<Value, Error>;
    type SerializeTupleVariant = Impossible<Value, Error>;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Impossible<Value, Error>;

    plain!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_str(&str)
    );

    fn serialize_char(self, value: char) -> Result<Value, Error> {
        Ok(Value::from(value.to_string()))
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<Value, Error> {
        Ok(Value::from(value))
    }

    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Value, Error> {
        Ok(Value::from(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        Ok(Value::Object(Map::from_iter([(variant.to_owned(), value.serialize(Self)?)])))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, Error> {
        Ok(Items(Vec::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Items, Error> {
        Ok(Items(Vec::new()))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields, Error> {
        Ok(Fields::new())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields, Error> {
        Ok(Fields::new())
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Error> {
        Err(Error::custom(format!("{name} is not a result")))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Err(Error::custom(format!("{name} is not a result")))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Err(Error::custom(format!("{name} is not a result")))
    }
}

impl SerializeSeq for Items {
    type Ok = Value;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.0.push(value.serialize(Whole)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(Value::Array(self.0))
    }
}

impl SerializeTuple for Items {
    type Ok = Value;
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Value, Error> {
        SerializeSeq::end(self)
    }
}

impl SerializeMap for Fields {
    type Ok = Value;
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let key = key.serialize(Whole)?;
        self.key = Some(key.as_str().map_or_else(|| key.to_string(), str::to_owned));
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.fields.insert(self.key.take().unwrap_or_default(), value.serialize(Whole)?);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(Value::Object(self.fields))
    }
}

impl SerializeStruct for Fields {
    type Ok = Value;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
        self.fields.insert(name.to_owned(), value.serialize(Whole)?);
        Ok(())
    }

    fn skip_field(&mut self, name: &'static str) -> Result<(), Error> {
        self.fields.insert(name.to_owned(), Value::Null);
        Ok(())
    }

    fn end(self) -> Result<Value, Error> {
        Ok(Value::Object(self.fields))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(serde::Serialize)]
    struct Thing {
        id: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        agency: Option<&'static str>,
        inner: Vec<Inner>,
    }

    #[derive(serde::Serialize)]
    enum State {
        #[serde(rename = "good")]
        Good,
    }

    #[derive(serde::Serialize)]
    struct Inner {
        count: u64,
        state: State,
        pair: (bool, Option<i8>),
    }

    #[test]
    fn what_json_leaves_out_is_null_and_all_else_is_as_in_json() {
        let thing = |agency| Thing {
            id: "ana",
            agency,
            inner: vec![Inner { count: 3, state: State::Good, pair: (true, None) }],
        };
        let whole = all(&thing(Some("acme"))).unwrap();
        assert_eq!(whole, serde_json::to_value(thing(Some("acme"))).unwrap());
        let whole = all(&thing(None)).unwrap();
        assert_eq!(whole.get("agency"), Some(&Value::Null));
        assert_eq!(whole.get("inner"), Some(&json!([{"count": 3, "state": "good", "pair": [true, null]}])));
    }

    #[test]
    fn a_map_keeps_its_keys() {
        let map = std::collections::BTreeMap::from([("a", 1), ("b", 2)]);
        assert_eq!(all(&map).unwrap(), json!({"a": 1, "b": 2}));
    }
}
