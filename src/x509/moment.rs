//! `Time` and `GeneralizedTime` as certificates write them (RFC 5280 §4.1.2.5): UTC, whole seconds, `Z`.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

use super::Malformed;
use super::decode::{Reader, Value};
use super::encode::{self, tag};
use crate::world::Timestamp;

/// UTCTime through 2049, GeneralizedTime after.
pub(super) fn write(out: &mut Vec<u8>, moment: Timestamp) {
    let when = moment.date_time();
    if (1950..2050).contains(&when.year()) {
        encode::header(out, tag::UTC_TIME, 13);
        digits(out, when.year().rem_euclid(100));
        write_rest(out, when);
    } else {
        write_generalized(out, moment);
    }
}

/// The octets of a moment.
#[cfg(test)]
pub(super) fn written(moment: Timestamp) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, moment);
    out
}

/// GeneralizedTime whatever the year, as OCSP wants it (RFC 6960 §4.2.1).
pub(super) fn write_generalized(out: &mut Vec<u8>, moment: Timestamp) {
    let when = moment.date_time();
    encode::header(out, tag::GENERALIZED_TIME, 15);
    digits(out, when.year().div_euclid(100));
    digits(out, when.year().rem_euclid(100));
    write_rest(out, when);
}

/// UTCTime or GeneralizedTime.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Timestamp, Malformed> {
    match reader.any()? {
        Value { tag: tag::UTC_TIME, content, .. } => {
            let (year, rest) = content.split_at_checked(2).ok_or(WANTED)?;
            let year = number(year)?;
            // RFC 5280 §4.1.2.5.1: 50 and above are 19YY.
            moment(if year >= 50 { 1900 + year } else { 2000 + year }, rest)
        }
        Value { tag: tag::GENERALIZED_TIME, content, .. } => {
            let (year, rest) = content.split_at_checked(4).ok_or(WANTED)?;
            moment(number(year)?, rest)
        }
        _ => Err(WANTED),
    }
}

fn moment(year: i32, rest: &[u8]) -> Result<Timestamp, Malformed> {
    let [month, day, hour, minute, second] = match rest.strip_suffix(b"Z").map(<[u8]>::as_chunks::<2>) {
        Some(([a, b, c, d, e], [])) => [a, b, c, d, e],
        _ => return Err(WANTED),
    };
    let part = |digits: &[u8]| number(digits).and_then(|n| u8::try_from(n).map_err(|_| WANTED));
    let month = Month::try_from(part(month)?).map_err(|_| WANTED)?;
    let date = Date::from_calendar_date(year, month, part(day)?).map_err(|_| WANTED)?;
    let time = Time::from_hms(part(hour)?, part(minute)?, part(second)?).map_err(|_| WANTED)?;
    Ok(Timestamp::from(PrimitiveDateTime::new(date, time).assume_utc()))
}

fn number(digits: &[u8]) -> Result<i32, Malformed> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(WANTED);
    }
    Ok(digits.iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0')))
}

fn write_rest(out: &mut Vec<u8>, when: OffsetDateTime) {
    for part in [u8::from(when.month()), when.day(), when.hour(), when.minute(), when.second()] {
        digits(out, i32::from(part));
    }
    out.push(b'Z');
}

/// Two decimal digits.
fn digits(out: &mut Vec<u8>, number: i32) {
    let digit = |n: i32| b'0' + u8::try_from(n.rem_euclid(10)).unwrap_or(0);
    out.extend_from_slice(&[digit(number / 10), digit(number)]);
}

const WANTED: Malformed = Malformed::wanted("a time in UTC with whole seconds");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_utc_through_2049_and_generalized_after() {
        let last_utc = Timestamp::from_unix_seconds(2_524_607_999);
        assert_eq!(written(last_utc), *b"\x17\x0d491231235959Z");
        assert_eq!(written(Timestamp::from_unix_seconds(2_524_608_000)), *b"\x18\x0f20500101000000Z");
        let mut out = Vec::new();
        write_generalized(&mut out, last_utc);
        assert_eq!(out, *b"\x18\x0f20491231235959Z");
    }

    #[test]
    fn times_that_are_not_der_are_refused() {
        for text in
            ["491231235959+0000", "4912312359Z", "491331235959Z", "490230000000Z", "49123123595aZ", "49-1-1-1-1-1Z"]
        {
            let mut out = Vec::new();
            encode::primitive(&mut out, tag::UTC_TIME, text.as_bytes());
            assert_eq!(read(&mut Reader::new(&out)), Err(WANTED), "{text}");
        }
        let mut out = Vec::new();
        encode::primitive(&mut out, tag::GENERALIZED_TIME, b"20491231235959.5Z");
        assert_eq!(read(&mut Reader::new(&out)), Err(WANTED));
    }

    proptest! {
        #[test]
        fn every_moment_is_read_back(seconds in -62_167_219_200i64..253_402_300_799) {
            let moment = Timestamp::from_unix_seconds(seconds);
            prop_assert_eq!(read(&mut Reader::new(&written(moment))), Ok(moment));
        }
    }
}
