//! Distinguished names (RFC 5280 §4.1.2.4): what we write as a subject, and what others wrote.
//!
//! A subject is built attribute by attribute and never from text with separators, so nothing in an ID or a group can
//! become another attribute.

use std::fmt;

use super::Malformed;
use super::decode::{Reader, Value};
use super::encode::{self, tag};
use super::oid;

/// The subject of a certificate that we issue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subject {
    /// CN: the identity; to Kubernetes the user name.
    pub common_name: String,
    /// O, one each: the groups, in the caller's order.
    pub organizations: Vec<String>,
    /// OU: the agency.
    pub organizational_unit: Option<String>,
}

impl Subject {
    /// A subject of a CN alone.
    pub fn common_name(common_name: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), ..Self::default() }
    }

    /// The Name: one RDN of one UTF8String each, O before OU before CN.
    pub fn to_der(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        encode::sequence(&mut out, |out| {
            for organization in &self.organizations {
                write_attribute(out, oid::ORGANIZATION, organization);
            }
            if let Some(unit) = &self.organizational_unit {
                write_attribute(out, oid::ORGANIZATIONAL_UNIT, unit);
            }
            write_attribute(out, oid::COMMON_NAME, &self.common_name);
        });
        out
    }

    /// Reads a Name that consists of exactly one CN, any O and at most one OU, one attribute to each RDN.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let name = Name::from_der(der)?;
        let mut subject = Self::default();
        let mut common_names = 0;
        for relative in name.relatives() {
            match relative {
                [a] if a.kind == Kind::CommonName => {
                    subject.common_name.clone_from(&a.text);
                    common_names += 1;
                }
                [a] if a.kind == Kind::Organization => subject.organizations.push(a.text.clone()),
                [a] if a.kind == Kind::OrganizationalUnit && subject.organizational_unit.is_none() => {
                    subject.organizational_unit = Some(a.text.clone());
                }
                _ => return Err(Malformed::wanted("a subject of one CN, any O and at most one OU")),
            }
        }
        if common_names == 1 { Ok(subject) } else { Err(Malformed::wanted("a subject with one CN")) }
    }
}

fn write_attribute(out: &mut Vec<u8>, kind: &[u8], text: &str) {
    encode::nested(out, tag::SET, |out| {
        encode::sequence(out, |out| {
            encode::oid(out, kind);
            encode::utf8(out, text);
        });
    });
}

/// A distinguished name as it was read, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Name(Vec<Attribute>);

/// One attribute of a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    kind: Kind,
    text: String,
    /// Whether it was written as UTF8String or PrintableString, on whose reading everybody agrees.
    plain: bool,
    /// Whether it is in one RDN with the attribute before it.
    joined: bool,
}

/// What an attribute says: what Kubernetes reads, or something else, by its object identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    CommonName,
    Organization,
    OrganizationalUnit,
    Other(Vec<u8>),
}

impl Name {
    /// Reads a Name of any attributes; text in a type that is not understood is shown as `#` and hex.
    pub fn from_der(der: &[u8]) -> Result<Self, Malformed> {
        let mut relatives = Reader::of_sequence(der)?;
        let mut name = Vec::new();
        while !relatives.is_empty() {
            let mut attributes = Reader::new(relatives.content(tag::SET, "a relative distinguished name")?);
            if attributes.is_empty() {
                return Err(Malformed::wanted("an attribute"));
            }
            let mut joined = false;
            while !attributes.is_empty() {
                name.push(Attribute::read(attributes.sequence()?, joined)?);
                joined = true;
            }
        }
        Ok(Self(name))
    }

    /// Whether there is no attribute at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every CN in order.
    pub fn common_names(&self) -> Vec<&str> {
        self.texts(&Kind::CommonName)
    }

    /// Every O in order.
    pub fn organizations(&self) -> Vec<&str> {
        self.texts(&Kind::Organization)
    }

    /// Every OU in order.
    pub fn organizational_units(&self) -> Vec<&str> {
        self.texts(&Kind::OrganizationalUnit)
    }

    /// Whether every CN, O and OU is a UTF8String or PrintableString, so that no two readers differ on it.
    pub fn is_plain(&self) -> bool {
        self.0.iter().all(|a| a.plain || matches!(a.kind, Kind::Other(_)))
    }

    fn texts(&self, kind: &Kind) -> Vec<&str> {
        self.0.iter().filter(|a| a.kind == *kind).map(|a| a.text.as_str()).collect()
    }

    fn relatives(&self) -> impl Iterator<Item = &[Attribute]> {
        self.0.chunk_by(|_, next| next.joined)
    }
}

/// For people: `CN=alice, O=dev`, several attributes of one RDN joined by `+`, unprintable characters escaped.
/// Never read back.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Attribute { kind, text, joined, .. }) in self.0.iter().enumerate() {
            let joint = match (index, joined) {
                (0, _) => "",
                (_, true) => "+",
                (_, false) => ", ",
            };
            write!(f, "{joint}{}={}", oid::shown(kind.oid()), text.escape_debug())?;
        }
        Ok(())
    }
}

impl Attribute {
    fn read(mut fields: Reader<'_>, joined: bool) -> Result<Self, Malformed> {
        let kind = Kind::of(fields.oid()?);
        let value = fields.any()?;
        fields.end()?;
        let text = text(value)?;
        let plain = text.is_some() && matches!(value.tag, tag::UTF8_STRING | tag::PRINTABLE_STRING);
        let text = text.unwrap_or_else(|| format!("#{}", hex::encode(value.raw)));
        Ok(Self { kind, text, plain, joined })
    }
}

impl Kind {
    fn of(oid: &[u8]) -> Self {
        match oid {
            oid::COMMON_NAME => Self::CommonName,
            oid::ORGANIZATION => Self::Organization,
            oid::ORGANIZATIONAL_UNIT => Self::OrganizationalUnit,
            other => Self::Other(other.to_vec()),
        }
    }

    fn oid(&self) -> &[u8] {
        match self {
            Self::CommonName => oid::COMMON_NAME,
            Self::Organization => oid::ORGANIZATION,
            Self::OrganizationalUnit => oid::ORGANIZATIONAL_UNIT,
            Self::Other(oid) => oid,
        }
    }
}

/// The text of a DirectoryString or IA5String; `None` for other types, an error for what its own type forbids.
fn text(value: Value<'_>) -> Result<Option<String>, Malformed> {
    const WANTED: Malformed = Malformed::wanted("text that its string type allows");
    match value.tag {
        tag::UTF8_STRING => Ok(Some(std::str::from_utf8(value.content).map_err(|_| WANTED)?.to_owned())),
        // Many write characters such as @ and * that X.680 §41.4 leaves out; being ASCII, they are unambiguous.
        tag::PRINTABLE_STRING | tag::IA5_STRING | NUMERIC_STRING if value.content.is_ascii() => {
            Ok(Some(value.content.iter().map(|octet| char::from(*octet)).collect()))
        }
        tag::PRINTABLE_STRING | tag::IA5_STRING | NUMERIC_STRING => Err(WANTED),
        BMP_STRING => match value.content.as_chunks::<2>() {
            (units, []) => {
                let units: Vec<u16> = units.iter().map(|unit| u16::from_be_bytes(*unit)).collect();
                Ok(Some(String::from_utf16(&units).map_err(|_| WANTED)?))
            }
            _ => Err(WANTED),
        },
        _ => Ok(None),
    }
}

const NUMERIC_STRING: u8 = 0x12;
const BMP_STRING: u8 = 0x1e;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_group_with_separators_stays_one_group() {
        let subject = Subject {
            common_name: "alice".into(),
            organizations: vec!["a, CN=root + O=system:masters".into(), "größe\\,".into()],
            organizational_unit: Some("acme".into()),
        };
        let name = Name::from_der(&subject.to_der()).unwrap();
        assert_eq!(name.common_names(), ["alice"]);
        assert_eq!(name.organizations(), ["a, CN=root + O=system:masters", "größe\\,"]);
        assert_eq!(name.organizational_units(), ["acme"]);
        assert!(name.is_plain());
    }

    #[test]
    fn a_subject_with_two_common_names_is_refused() {
        let mut der = Vec::new();
        encode::sequence(&mut der, |out| {
            write_attribute(out, oid::COMMON_NAME, "alice");
            write_attribute(out, oid::COMMON_NAME, "bob");
        });
        assert!(Subject::from_der(&der).is_err());
        assert_eq!(Name::from_der(&der).unwrap().common_names(), ["alice", "bob"]);
    }

    #[test]
    fn what_is_shown_survives_a_terminal() {
        let der = Subject::common_name("a\u{1b}[2J\n\u{202e}b").to_der();
        let shown = Name::from_der(&der).unwrap().to_string();
        assert_eq!(shown, "CN=a\\u{1b}[2J\\n\\u{202e}b");
    }

    proptest! {
        #[test]
        fn every_subject_is_read_back(cn in "\\PC{1,70}", o in proptest::collection::vec("\\PC{0,70}", 0..5), ou in proptest::option::of("\\PC{1,9}")) {
            let subject = Subject { common_name: cn, organizations: o, organizational_unit: ou };
            prop_assert_eq!(Subject::from_der(&subject.to_der()), Ok(subject));
        }
    }
}
