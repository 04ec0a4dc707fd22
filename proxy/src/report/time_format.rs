//! Wall-clock times as access logs print them: strftime with Envoy's fractions (`%3f`) and Abseil's `%E…`.

use std::fmt::Write as _;
use std::time::SystemTime;

use time::{Month, OffsetDateTime, Weekday};

/// Envoy's default for `%START_TIME%` and `%EMIT_TIME%`.
pub(super) const DEFAULT: &str = "%Y-%m-%dT%H:%M:%E3SZ";
/// Envoy's default for `%START_TIME_LOCAL%`.
pub(super) const DEFAULT_LOCAL: &str = "%Y-%m-%dT%H:%M:%E3S%z";

/// Formats `at` in UTC. An unknown specifier is printed as it stands.
pub(super) fn format(at: SystemTime, pattern: &str) -> String {
    let time = OffsetDateTime::from(at);
    let mut out = String::with_capacity(32);
    let mut rest = pattern;
    while let Some((literal, after)) = rest.split_once('%') {
        out.push_str(literal);
        rest = specifier(&mut out, &time, after);
    }
    out.push_str(rest);
    out
}

/// Writes what stands behind a `%`, and gives what is behind that.
fn specifier<'a>(out: &mut String, time: &OffsetDateTime, text: &'a str) -> &'a str {
    let mut chars = text.chars();
    match chars.next() {
        Some('E') => return extended(out, time, chars.as_str()),
        Some(digits @ '1'..='9') if chars.as_str().starts_with('f') => {
            let width = (digits as usize - '0' as usize).min(9);
            out.push_str(&nanos(time)[..width]);
            return &chars.as_str()[1..];
        }
        Some(letter) if simple(out, time, letter) => {}
        Some(letter) => {
            out.push('%');
            out.push(letter);
        }
        None => out.push('%'),
    }
    chars.as_str()
}

/// `%E3S`, `%E*S`, `%E3f`, `%E*f`, `%Ez`, `%E*z`, `%E4Y`, `%ET`.
fn extended<'a>(out: &mut String, time: &OffsetDateTime, text: &'a str) -> &'a str {
    let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
    let after = |rest: &'a str| rest.get(1..).unwrap_or_default();
    let precision = match first.as_bytes() {
        b"z" => {
            out.push_str("+00:00");
            return rest;
        }
        b"T" => {
            out.push('T');
            return rest;
        }
        b"*" => None,
        [digit @ b'0'..=b'9'] => Some(usize::from(digit - b'0').min(9)),
        _ => {
            out.push_str("%E");
            return text;
        }
    };
    let digits = nanos(time);
    let fraction = match precision {
        Some(width) => &digits[..width],
        None => digits.trim_end_matches('0'),
    };
    match rest.as_bytes().first() {
        Some(b'S') if fraction.is_empty() => push(out, format_args!("{:02}", time.second())),
        Some(b'S') => push(out, format_args!("{:02}.{fraction}", time.second())),
        Some(b'f') => out.push_str(if fraction.is_empty() { "0" } else { fraction }),
        Some(b'Y') if precision == Some(4) => push(out, format_args!("{:04}", time.year())),
        Some(b'z') if precision.is_none() => out.push_str("+00:00:00"),
        _ => {
            push(out, format_args!("%E{first}"));
            return rest;
        }
    }
    after(rest)
}

fn simple(out: &mut String, time: &OffsetDateTime, letter: char) -> bool {
    match letter {
        'Y' => push(out, format_args!("{}", time.year())),
        'C' => push(out, format_args!("{:02}", time.year().div_euclid(100))),
        'y' => push(out, format_args!("{:02}", time.year().rem_euclid(100))),
        'm' => push(out, format_args!("{:02}", u8::from(time.month()))),
        'd' => push(out, format_args!("{:02}", time.day())),
        'e' => push(out, format_args!("{:2}", time.day())),
        'j' => push(out, format_args!("{:03}", time.ordinal())),
        'H' => push(out, format_args!("{:02}", time.hour())),
        'k' => push(out, format_args!("{:2}", time.hour())),
        'I' => push(out, format_args!("{:02}", hour12(time))),
        'l' => push(out, format_args!("{:2}", hour12(time))),
        'M' => push(out, format_args!("{:02}", time.minute())),
        'S' => push(out, format_args!("{:02}", time.second())),
        'p' => out.push_str(if time.hour() < 12 { "AM" } else { "PM" }),
        's' => push(out, format_args!("{}", time.unix_timestamp())),
        'f' => out.push_str(&nanos(time)),
        'b' | 'h' => out.push_str(&month(time.month())[..3]),
        'B' => out.push_str(month(time.month())),
        'a' => out.push_str(&weekday(time.weekday())[..3]),
        'A' => out.push_str(weekday(time.weekday())),
        'u' => push(out, format_args!("{}", time.weekday().number_from_monday())),
        'w' => push(out, format_args!("{}", time.weekday().number_days_from_sunday())),
        'U' => push(out, format_args!("{:02}", time.sunday_based_week())),
        'W' => push(out, format_args!("{:02}", time.monday_based_week())),
        'V' => push(out, format_args!("{:02}", time.iso_week())),
        'G' => push(out, format_args!("{}", time.to_iso_week_date().0)),
        'z' => out.push_str("+0000"),
        'Z' => out.push_str("UTC"),
        'n' => out.push('\n'),
        't' => out.push('\t'),
        '%' => out.push('%'),
        _ => return composed(out, time, letter),
    }
    true
}

fn composed(out: &mut String, time: &OffsetDateTime, letter: char) -> bool {
    let pattern = match letter {
        'F' => "%Y-%m-%d",
        'T' | 'X' => "%H:%M:%S",
        'R' => "%H:%M",
        'r' => "%I:%M:%S %p",
        'D' | 'x' => "%m/%d/%y",
        'c' => "%a %b %e %H:%M:%S %Y",
        _ => return false,
    };
    out.push_str(&format((*time).into(), pattern));
    true
}

fn hour12(time: &OffsetDateTime) -> u8 {
    match time.hour() % 12 {
        0 => 12,
        hour => hour,
    }
}

fn nanos(time: &OffsetDateTime) -> String {
    format!("{:09}", time.nanosecond())
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String can't fail.
    let _ = out.write_fmt(text);
}

const fn month(month: Month) -> &'static str {
    match month {
        Month::January => "January",
        Month::February => "February",
        Month::March => "March",
        Month::April => "April",
        Month::May => "May",
        Month::June => "June",
        Month::July => "July",
        Month::August => "August",
        Month::September => "September",
        Month::October => "October",
        Month::November => "November",
        Month::December => "December",
    }
}

const fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Left: pattern; right: what Envoy 1.40 wrote for 2026-11-20 16:19:31.401621 UTC.
    const OBSERVED: [(&str, &str); 19] = [
        (DEFAULT, "2026-11-20T16:19:31.401Z"),
        (DEFAULT_LOCAL, "2026-11-20T16:19:31.401+0000"),
        ("%Y/%m/%dT%H:%M:%S%z %s", "2026/11/20T16:19:31+0000 1795191571"),
        ("%s.%3f", "1795191571.401"),
        ("%f", "401621000"),
        ("%1f", "4"),
        ("%2f", "40"),
        ("%6f", "401621"),
        ("%9f", "401621000"),
        ("%E3S", "31.401"),
        ("%E*S", "31.401621"),
        ("%Ez", "+00:00"),
        ("%E*f", "401621"),
        ("%e", "20"),
        ("%j", "324"),
        ("%a %b %d", "Fri Nov 20"),
        ("%y", "26"),
        ("%p %I", "PM 04"),
        ("%Z", "UTC"),
    ];

    fn at(micros: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_micros(micros)
    }

    #[test]
    fn as_envoy() {
        for (pattern, expected) in OBSERVED {
            assert_eq!(format(at(1_795_191_571_401_621), pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn others() {
        let rows = [
            ("%F %T %D %R", "1970-01-01 00:00:00 01/01/70 00:00"),
            ("%c|%r|%l|%k|%C", "Thu Jan  1 00:00:00 1970|12:00:00 AM|12| 0|19"),
            ("100%% %Q %", "100% %Q %"),
            ("%E*S %E0S %E*f", "00 00 0"),
            ("%E4Y %E*z %E%", "1970 +00:00:00 %E%"),
            ("%A %B %u%w %G-%V", "Thursday January 44 1970-01"),
            ("é%Eé", "é%Eé"),
            ("", ""),
        ];
        for (pattern, expected) in rows {
            assert_eq!(format(UNIX_EPOCH, pattern), expected, "{pattern}");
        }
    }
}
