//! Lengths of time as people write them: `30d`, `12h`, `1h30m`, `250ms`.

use std::time::Duration;

/// A text that is not a length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wanted a length of time such as 30d, 12h, 15m, 30s or 250ms, found {0:?}")]
pub struct NotADuration(String);

/// Reads a length of time: numbers with the units `y` (365 days), `w`, `d`, `h`, `m`, `s` and `ms`, added up.
///
/// Zero is a length of time; a number without a unit is not.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let wanted = || NotADuration(text.chars().take(40).collect());
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(wanted());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wanted)?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, next) = behind.split_at(letters);
        let number: u64 = number.parse().map_err(|_| wanted())?;
        let milliseconds = number.checked_mul(milliseconds_in(unit).ok_or_else(wanted)?).ok_or_else(wanted)?;
        sum = sum.checked_add(Duration::from_millis(milliseconds)).ok_or_else(wanted)?;
        rest = next;
    }
    Ok(sum)
}

/// Writes a length of time in its largest unit that leaves nothing over, as [`parse`] reads it.
pub fn show(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let fitting = UNITS.iter().filter(|(unit, _)| !matches!(*unit, "w" | "y"));
    for (unit, length) in fitting {
        let length = u128::from(*length);
        if milliseconds >= length && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}

fn milliseconds_in(unit: &str) -> Option<u64> {
    UNITS.iter().find(|(name, _)| *name == unit).map(|(_, length)| *length)
}

const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_as_people_write_them() {
        for (text, seconds) in [("30d", 2_592_000), ("1h30m", 5_400), ("1y", 31_536_000), ("0s", 0), ("2w", 1_209_600)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
    }

    #[test]
    fn what_is_no_length_is_refused_with_examples() {
        for text in
            ["", "30", "d", "-1d", "1 d", "3.5h", "99999999999999999999d", "1fortnight", "18446744073709551615y"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("soon").unwrap_err().to_string().contains("30d"));
    }

    #[test]
    fn lengths_are_shown_in_their_largest_unit() {
        for text in ["30d", "90m", "250ms", "5s"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
        assert_eq!(show(Duration::ZERO), "0ms");
    }
}
