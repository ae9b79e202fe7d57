//! Lengths of time as people write them: `1500ms`, `10s`, `2m`, `1h`, `1m30s`, `1.5s`, `90` (seconds).
//!
//! 1. What is read is exact to the nanosecond; nothing passes through floating point.
//! 2. No result is longer than [`LONGEST`], so that a point in time that far ahead can always be computed.

use std::time::Duration;

/// The longest that is accepted: a hundred years of 365 days.
pub(crate) const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

const UNITS: [(&str, u128); 5] = [
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

const FORM: &str = "write a number of seconds, or for instance 500ms, 10s, 2m, 1h or 1m30s";

/// Reads a length of time. Zero is one too.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(format!("it is empty; {FORM}"));
    }
    if trimmed.starts_with('-') {
        return Err("a length of time is not negative".into());
    }
    let mut rest = trimmed;
    let mut total: u128 = 0;
    let mut last_unit = u128::MAX;
    while !rest.is_empty() {
        let (number, after) = split(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split(after, |c| c.is_ascii_alphabetic());
        if number.is_empty() {
            return Err(FORM.into());
        }
        let unit = match (unit, rest == trimmed && after.is_empty()) {
            ("", true) => 1_000_000_000,
            _ => unit_of(unit)?,
        };
        if unit >= last_unit {
            return Err("the larger units come first, and each once, as in 1h30m".into());
        }
        last_unit = unit;
        total = total.checked_add(nanoseconds(number, unit)?).ok_or_else(too_long)?;
        rest = after;
    }
    if total > LONGEST.as_nanos() {
        return Err(too_long());
    }
    let seconds = u64::try_from(total / 1_000_000_000).map_err(|_| too_long())?;
    Ok(Duration::new(seconds, (total % 1_000_000_000) as u32))
}

/// Reads a length of time that must not be zero: a time limit.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("a limit of nothing at all; leave the option out for no limit".into()),
        limit => Ok(limit),
    }
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn unit_of(unit: &str) -> Result<u128, String> {
    match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, nanoseconds)) => Ok(*nanoseconds),
        None if unit.is_empty() => Err(FORM.into()),
        None => Err(format!("unknown unit `{unit}`; the units are ms, s, m, h and d")),
    }
}

/// `12`, `1.5` and `.5`, times `unit`. Digits beyond the nanosecond count as nothing.
fn nanoseconds(number: &str, unit: u128) -> Result<u128, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(FORM.into());
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_long())? };
    let whole = whole.checked_mul(unit).ok_or_else(too_long)?;
    // 17 digits of a day's nanoseconds fit in 128 bits, and the eighteenth is below a nanosecond.
    let fraction = &fraction[..fraction.len().min(17)];
    let scale = 10_u128.pow(fraction.len() as u32);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().map_err(|_| too_long())? };
    whole.checked_add(fraction * unit / scale).ok_or_else(too_long)
}

fn too_long() -> String {
    "longer than a hundred years".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("1500ms", ms(1500)),
            ("10s", ms(10_000)),
            ("2m", ms(120_000)),
            ("1h", ms(3_600_000)),
            ("1d", ms(86_400_000)),
            ("1m30s", ms(90_000)),
            ("1h2m3s4ms", ms(3_723_004)),
            ("1.5s", ms(1500)),
            (".5s", ms(500)),
            ("1.", ms(1000)),
            ("90", ms(90_000)),
            ("0.25", ms(250)),
            ("0", ms(0)),
            (" 7s ", ms(7000)),
            ("0.123456789123s", Duration::new(0, 123_456_789)),
            ("36500d", LONGEST),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, part) in [
            ("", "empty"),
            ("  ", "empty"),
            ("-1s", "not negative"),
            ("-0", "not negative"),
            ("abc", "for instance"),
            ("s", "for instance"),
            (".s", "for instance"),
            ("1.2.3s", "for instance"),
            ("1e3", "unknown unit `e`"),
            ("5 s", "for instance"),
            ("5min", "unknown unit `min`"),
            ("5S", "unknown unit `S`"),
            ("1m30", "for instance"),
            ("30s1m", "larger units come first"),
            ("1s1s", "larger units come first"),
            ("5µs", "for instance"),
            ("36501d", "hundred years"),
            ("99999999999999999999999999999999999999999", "hundred years"),
            ("340282366920938463463374607431768211455d", "hundred years"),
            ("inf", "for instance"),
            ("NaN", "for instance"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_limit_is_not_zero() {
        assert!(parse_limit("0ms").is_err_and(|error| error.contains("leave the option out")));
        assert_eq!(parse_limit("1ms"), Ok(Duration::from_millis(1)));
    }

    #[test]
    fn the_longest_can_be_added_to_now() {
        assert!(std::time::Instant::now().checked_add(LONGEST).is_some());
    }
}
