//! Writing DER (X.690 §8 and §10): definite lengths, shortest form.
//!
//! All functions append to a `Vec<u8>`; nesting is by closure, and the length is put in when the closure is done.

/// Universal tags and the constructed forms that certificates use.
pub(super) mod tag {
    pub(in crate::x509) const BOOLEAN: u8 = 0x01;
    pub(in crate::x509) const INTEGER: u8 = 0x02;
    pub(in crate::x509) const BIT_STRING: u8 = 0x03;
    pub(in crate::x509) const OCTET_STRING: u8 = 0x04;
    pub(in crate::x509) const NULL: u8 = 0x05;
    pub(in crate::x509) const OID: u8 = 0x06;
    pub(in crate::x509) const ENUMERATED: u8 = 0x0a;
    pub(in crate::x509) const UTF8_STRING: u8 = 0x0c;
    pub(in crate::x509) const PRINTABLE_STRING: u8 = 0x13;
    pub(in crate::x509) const IA5_STRING: u8 = 0x16;
    pub(in crate::x509) const UTC_TIME: u8 = 0x17;
    pub(in crate::x509) const GENERALIZED_TIME: u8 = 0x18;
    pub(in crate::x509) const SEQUENCE: u8 = 0x30;
    pub(in crate::x509) const SET: u8 = 0x31;

    /// `[number]`, primitive (IMPLICIT over a primitive type).
    pub(in crate::x509) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[number]`, constructed (EXPLICIT, or IMPLICIT over a SEQUENCE or SET).
    pub(in crate::x509) const fn context_constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// Tag and length for a content of `length` octets.
pub(super) fn header(out: &mut Vec<u8>, tag: u8, length: usize) {
    out.push(tag);
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        out.push(short);
        return;
    }
    out.extend(long_length(length));
}

/// How many octets [`header`] writes for a content of `length` octets.
pub(super) const fn header_length(length: usize) -> usize {
    if length < 0x80 { 2 } else { 2 + significant_octets(length) }
}

/// A length of 128 or more: how many octets it has, then these (X.690 §8.1.3.5).
fn long_length(length: usize) -> impl Iterator<Item = u8> {
    let (octets, significant) = (length.to_be_bytes(), significant_octets(length));
    let count = 0x80 | u8::try_from(significant).unwrap_or(8);
    std::iter::once(count).chain(octets.into_iter().skip(octets.len() - significant))
}

const fn significant_octets(length: usize) -> usize {
    (usize::BITS - length.leading_zeros()).div_ceil(8) as usize
}

/// A value whose content the closure writes.
pub(super) fn nested(out: &mut Vec<u8>, tag: u8, content: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let length_at = out.len();
    out.push(0);
    content(out);
    let length = out.len() - length_at - 1;
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        if let Some(octet) = out.get_mut(length_at) {
            *octet = short;
        }
    } else {
        out.splice(length_at..=length_at, long_length(length));
    }
}

pub(super) fn sequence(out: &mut Vec<u8>, content: impl FnOnce(&mut Vec<u8>)) {
    nested(out, tag::SEQUENCE, content);
}

/// A value with the content as given.
pub(super) fn primitive(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    header(out, tag, content.len());
    out.extend_from_slice(content);
}

/// A non-negative INTEGER from big-endian octets of any length; leading zeros are dropped, a sign octet added.
pub(super) fn unsigned(out: &mut Vec<u8>, octets: &[u8]) {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = octets.get(zeros..).unwrap_or_default();
    let sign = usize::from(significant.first().is_none_or(|first| first & 0x80 != 0));
    header(out, tag::INTEGER, significant.len() + sign);
    if sign == 1 {
        out.push(0);
    }
    out.extend_from_slice(significant);
}

pub(super) fn oid(out: &mut Vec<u8>, content: &[u8]) {
    primitive(out, tag::OID, content);
}

pub(super) fn boolean_true(out: &mut Vec<u8>) {
    out.extend_from_slice(&[tag::BOOLEAN, 1, 0xff]);
}

pub(super) fn octet_string(out: &mut Vec<u8>, content: &[u8]) {
    primitive(out, tag::OCTET_STRING, content);
}

/// A BIT STRING of whole octets.
pub(super) fn bit_string(out: &mut Vec<u8>, octets: &[u8]) {
    header(out, tag::BIT_STRING, octets.len() + 1);
    out.push(0);
    out.extend_from_slice(octets);
}

/// A BIT STRING of named bits, bit 0 first; trailing zeros are not written (X.690 §11.2.2).
pub(super) fn named_bits(out: &mut Vec<u8>, bits: u16) {
    let octets = bits.reverse_bits().to_be_bytes();
    let used = 16 - u16::leading_zeros(bits);
    let length = used.div_ceil(8) as usize;
    header(out, tag::BIT_STRING, length + 1);
    out.push(u8::try_from(length * 8).unwrap_or(0) - u8::try_from(used).unwrap_or(0));
    out.extend(octets.iter().take(length));
}

pub(super) fn utf8(out: &mut Vec<u8>, text: &str) {
    primitive(out, tag::UTF8_STRING, text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        for (length, header_octets) in [(0, 2), (127, 2), (128, 3), (255, 3), (256, 4), (65_535, 4), (65_536, 5)] {
            let mut written = Vec::new();
            primitive(&mut written, tag::OCTET_STRING, &vec![7; length]);
            assert_eq!(written.len(), length + header_octets);
            assert_eq!(header_length(length), header_octets);
            let mut by_closure = Vec::new();
            nested(&mut by_closure, tag::OCTET_STRING, |out| out.extend(vec![7; length]));
            assert_eq!(written, by_closure);
        }
    }

    #[test]
    fn integers_are_minimal_and_never_negative() {
        let written = |octets: &[u8]| {
            let mut out = Vec::new();
            unsigned(&mut out, octets);
            out
        };
        assert_eq!(written(&[]), [2, 1, 0]);
        assert_eq!(written(&[0, 0]), [2, 1, 0]);
        assert_eq!(written(&[0, 0x7f]), [2, 1, 0x7f]);
        assert_eq!(written(&[0x80]), [2, 2, 0, 0x80]);
    }

    #[test]
    fn named_bits_drop_trailing_zeros() {
        let written = |bits| {
            let mut out = Vec::new();
            named_bits(&mut out, bits);
            out
        };
        assert_eq!(written(0b1), [3, 2, 7, 0x80], "digitalSignature");
        assert_eq!(written(0b110_0000), [3, 2, 1, 0x06], "keyCertSign and cRLSign");
        assert_eq!(written(1 << 8), [3, 3, 7, 0, 0x80], "decipherOnly");
        assert_eq!(written(0), [3, 1, 0]);
    }
}
