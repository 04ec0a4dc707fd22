//! `Duration` and `Timestamp` as JSON has them: `1.500s`, `2024-01-31T12:00:00Z`.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

/// protobuf's bound on durations: about 10,000 years.
const MAX_SECONDS: i64 = 315_576_000_000;

/// `[-]S[.fraction]s` to seconds and nanoseconds of the same sign.
pub(super) fn parse_duration(text: &str) -> Option<(i64, i32)> {
    let number = text.strip_suffix('s')?;
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 || number.ends_with('.') {
        return None;
    }
    let seconds: i64 = whole.parse().ok().filter(|s| *s <= MAX_SECONDS)?;
    let nanos: i32 = format!("{fraction:0<9}").parse().ok()?;
    Some(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// Seconds and nanoseconds to `[-]S[.fraction]s`, the fraction in groups of three digits.
pub(super) fn print_duration(seconds: i64, nanos: i32) -> String {
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    format!("{sign}{}{}s", seconds.unsigned_abs(), fraction(nanos.unsigned_abs()))
}

/// RFC 3339 to seconds and nanoseconds since 1970.
pub(super) fn parse_timestamp(text: &str) -> Option<(i64, i32)> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(UtcOffset::UTC);
    Some((at.unix_timestamp(), i32::try_from(at.nanosecond()).ok()?))
}

/// Seconds and nanoseconds since 1970 to RFC 3339 in UTC; `None` outside of the years 0 to 9999.
pub(super) fn print_timestamp(seconds: i64, nanos: i32) -> Option<String> {
    let at = OffsetDateTime::from_unix_timestamp(seconds).ok().filter(|t| (0..=9999).contains(&t.year()))?;
    let (date, time) = (at.date(), at.time());
    Some(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        fraction(u32::try_from(nanos).ok()?)
    ))
}

fn fraction(nanos: u32) -> String {
    match nanos {
        0 => String::new(),
        n if n % 1_000_000 == 0 => format!(".{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!(".{:06}", n / 1_000),
        n => format!(".{n:09}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, value) in [
            ("0s", (0, 0)),
            ("1.500s", (1, 500_000_000)),
            ("-0.000001s", (0, -1000)),
            ("0.000000001s", (0, 1)),
            ("315576000000s", (MAX_SECONDS, 0)),
        ] {
            assert_eq!(parse_duration(text), Some(value), "{text}");
            assert_eq!(print_duration(value.0, value.1), text);
        }
        assert_eq!(parse_duration("1.5s"), Some((1, 500_000_000)));
        for bad in ["", "s", "1", "1m", ".5s", "1.s", "1.0000000001s", "--1s", "1e3s", "315576000001s", " 1s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn timestamps() {
        for (text, value) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2024-02-29T12:34:56.789Z", (1_709_210_096, 789_000_000)),
            ("1969-12-31T23:59:59.999999999Z", (-1, 999_999_999)),
        ] {
            assert_eq!(parse_timestamp(text), Some(value), "{text}");
            assert_eq!(print_timestamp(value.0, value.1).as_deref(), Some(text));
        }
        assert_eq!(parse_timestamp("2024-02-29T14:34:56+02:00"), Some((1_709_210_096, 0)));
        assert_eq!(parse_timestamp("2023-02-29T00:00:00Z"), None);
        assert_eq!(print_timestamp(i64::MAX, 0), None);
    }
}
