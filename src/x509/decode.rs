//! Reading DER strictly: definite shortest lengths, low tags, no value longer than its surroundings.
//!
//! Nothing recurses and nothing is copied, so a hostile input costs at most one walk over its own length.

use super::Malformed;
use super::encode::tag;

/// Reads one value after the other from a slice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// One value: its tag, its content, and all its octets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) raw: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The content of `bytes`, which are one SEQUENCE and nothing else.
    pub(super) fn of_sequence(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Self::new(bytes);
        let content = reader.sequence()?;
        reader.end()?;
        Ok(content)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn next_is(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// Refuses what is left over.
    pub(super) fn end(self) -> Result<(), Malformed> {
        if self.is_empty() { Ok(()) } else { Err(Malformed::wanted("nothing behind the last field")) }
    }

    /// The next value, whatever it is.
    pub(super) fn any(&mut self) -> Result<Value<'a>, Malformed> {
        const CUT: Malformed = Malformed::wanted("more octets");
        let (tag, after_tag) = self.rest.split_first().ok_or(CUT)?;
        if tag & 0x1f == 0x1f {
            return Err(Malformed::wanted("a tag below 31"));
        }
        let (first, after_length) = after_tag.split_first().ok_or(CUT)?;
        let (length, body) = match first {
            0..=0x7f => (usize::from(*first), after_length),
            0x81..=0x84 => {
                let (octets, body) = after_length.split_at_checked(usize::from(first & 0x7f)).ok_or(CUT)?;
                let length = octets.iter().fold(0usize, |sum, octet| sum << 8 | usize::from(*octet));
                if length < 0x80 || octets.first() == Some(&0) {
                    return Err(Malformed::wanted("a length in its shortest form"));
                }
                (length, body)
            }
            _ => return Err(Malformed::wanted("a definite length of at most four octets")),
        };
        let (content, rest) = body.split_at_checked(length).ok_or(CUT)?;
        let raw = self.rest.get(..self.rest.len() - rest.len()).ok_or(CUT)?;
        self.rest = rest;
        Ok(Value { tag: *tag, content, raw })
    }

    /// The next value, which must have this tag.
    pub(super) fn value(&mut self, tag: u8, wanted: &'static str) -> Result<Value<'a>, Malformed> {
        if !self.next_is(tag) {
            return Err(Malformed::wanted(wanted));
        }
        self.any()
    }

    /// The content of the next value, which must have this tag.
    pub(super) fn content(&mut self, tag: u8, wanted: &'static str) -> Result<&'a [u8], Malformed> {
        Ok(self.value(tag, wanted)?.content)
    }

    /// The content of the next value if it has this tag.
    pub(super) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.next_is(tag) { Ok(Some(self.any()?.content)) } else { Ok(None) }
    }

    pub(super) fn sequence(&mut self) -> Result<Self, Malformed> {
        Ok(Self::new(self.content(tag::SEQUENCE, "a SEQUENCE")?))
    }

    /// The content of an INTEGER, in its shortest form, sign octet included.
    pub(super) fn integer(&mut self) -> Result<&'a [u8], Malformed> {
        let content = self.content(tag::INTEGER, "an INTEGER")?;
        match content {
            [] | [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] => {
                Err(Malformed::wanted("an INTEGER in its shortest form"))
            }
            _ => Ok(content),
        }
    }

    /// An INTEGER between 0 and 2³¹ − 1.
    pub(super) fn small_integer(&mut self) -> Result<u32, Malformed> {
        let content = self.integer()?;
        if content.len() > 4 || content.first().is_some_and(|first| first & 0x80 != 0) {
            return Err(Malformed::wanted("a small number"));
        }
        Ok(content.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet)))
    }

    pub(super) fn oid(&mut self) -> Result<&'a [u8], Malformed> {
        let content = self.content(tag::OID, "an OBJECT IDENTIFIER")?;
        match content {
            [] | [.., 0x80..=0xff] => Err(Malformed::wanted("a complete OBJECT IDENTIFIER")),
            _ => Ok(content),
        }
    }

    /// A BOOLEAN that is by default false: absent, or true. DER has no explicit default (X.690 §11.5), but some
    /// issuers write it, so an explicit false is read too.
    pub(super) fn boolean_default_false(&mut self) -> Result<bool, Malformed> {
        match self.optional(tag::BOOLEAN)? {
            None | Some([0]) => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => Err(Malformed::wanted("a BOOLEAN")),
        }
    }

    pub(super) fn octet_string(&mut self) -> Result<&'a [u8], Malformed> {
        self.content(tag::OCTET_STRING, "an OCTET STRING")
    }

    /// A BIT STRING of whole octets.
    pub(super) fn bit_string(&mut self) -> Result<&'a [u8], Malformed> {
        match self.content(tag::BIT_STRING, "a BIT STRING")?.split_first() {
            Some((0, octets)) => Ok(octets),
            _ => Err(Malformed::wanted("a BIT STRING of whole octets")),
        }
    }

    /// A BIT STRING of named bits as a number whose bit 0 is the first one; at most 16 bits.
    pub(super) fn named_bits(&mut self) -> Result<u16, Malformed> {
        const WANTED: Malformed = Malformed::wanted("a BIT STRING of named bits");
        let content = self.content(tag::BIT_STRING, "a BIT STRING of named bits")?;
        let (unused, octets) = content.split_first().ok_or(WANTED)?;
        let padding = 1u16.checked_shl(u32::from(*unused)).ok_or(WANTED)? - 1;
        let (first, second) = match octets {
            [] if *unused == 0 => (0, 0),
            [first] => (*first, 0),
            [first, second] => (*first, *second),
            _ => return Err(WANTED),
        };
        let last = u16::from(octets.last().copied().unwrap_or(0));
        if *unused > 7 || last & padding != 0 {
            return Err(WANTED);
        }
        Ok(u16::from_be_bytes([first, second]).reverse_bits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_der_is_refused() {
        let refused: [&[u8]; 9] = [
            &[],
            &[0x30],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x7f],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 0x05, 0x00],
            &[0x1f, 0x81, 0x01, 0x00],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
        ];
        for bytes in refused {
            assert!(Reader::new(bytes).any().is_err(), "{bytes:02x?}");
        }
        assert!(Reader::new(&[2, 2, 0, 1]).integer().is_err(), "a padded integer");
        assert!(Reader::of_sequence(&[0x30, 0, 0]).is_err(), "trailing data");
    }

    #[test]
    fn named_bits_read_what_was_written() {
        for bits in [0u16, 1, 0b110_0000, 1 << 8, 0x1ff] {
            let mut out = Vec::new();
            crate::x509::encode::named_bits(&mut out, bits);
            assert_eq!(Reader::new(&out).named_bits().unwrap(), bits);
        }
        assert!(Reader::new(&[3, 2, 1, 0x01]).named_bits().is_err(), "a bit set among the unused");
        assert!(Reader::new(&[3, 1, 1]).named_bits().is_err());
    }

    proptest! {
        #[test]
        fn no_input_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut reader = Reader::new(&bytes);
            while reader.any().is_ok() {}
            let _ = Reader::new(&bytes).named_bits();
            let _ = Reader::new(&bytes).small_integer();
        }
    }
}
