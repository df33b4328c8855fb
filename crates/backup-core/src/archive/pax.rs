//! Records of a pax extended header: `LENGTH KEY=VALUE\n`, the length counting itself (POSIX.1-2017, pax, "Extended Header").

use super::entry::Time;

/// Appends a record.
pub(crate) fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if rest + digits(length) > length {
        length += 1;
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn digits(number: usize) -> usize {
    number.to_string().len()
}

/// Splits records by their lengths, as values may hold line ends; `None` when they are not well formed.
pub(super) fn parse(mut records: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut parsed = Vec::new();
    while !records.is_empty() {
        let space = records.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let body = records.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = body.iter().position(|b| *b == b'=')?;
        parsed.push((&body[..equals], &body[equals + 1..]));
        records = &records[length..];
    }
    Some(parsed)
}

const ATTRIBUTE: &[u8] = b"SCHILY.xattr.";

/// The key of an extended attribute; GNU tar writes `=` and `%` of its name as `%3D` and `%25`.
pub(super) fn attribute_key(name: &[u8]) -> Vec<u8> {
    let mut key = ATTRIBUTE.to_vec();
    for byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            other => key.push(*other),
        }
    }
    key
}

/// The attribute's name, if the key is one of an extended attribute.
pub(super) fn attribute_name(key: &[u8]) -> Option<Vec<u8>> {
    let mut rest = key.strip_prefix(ATTRIBUTE)?;
    let mut name = Vec::with_capacity(rest.len());
    while let Some(byte) = rest.first() {
        let (decoded, taken) = match rest.get(..3) {
            Some(b"%3D") => (b'=', 3),
            Some(b"%25") => (b'%', 3),
            _ => (*byte, 1),
        };
        name.push(decoded);
        rest = &rest[taken..];
    }
    Some(name)
}

/// A time as a decimal number of seconds.
pub(super) fn time_text(time: Time) -> String {
    // -1.5 is stored as the second -2 and half a second after it.
    let (sign, seconds, nanoseconds) = match (time.seconds < 0, time.nanoseconds) {
        (true, 0) => ("-", time.seconds.unsigned_abs(), 0),
        (true, nanoseconds) => ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds),
        (false, nanoseconds) => ("", time.seconds.unsigned_abs(), nanoseconds),
    };
    if nanoseconds == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{nanoseconds:09}").trim_end_matches('0').to_owned()
}

/// Reads what [`time_text`] or another tar wrote.
pub(super) fn parse_time(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok().filter(|s| *s >= 0)?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: u32 = format!("{fraction:0<9}")[..9].parse().ok()?;
    Some(match (negative, nanoseconds) {
        (false, nanoseconds) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, nanoseconds) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_records_length_counts_its_own_digits() {
        for (value, expected) in [(3, 8), (4, 9), (5, 11), (93, 99), (94, 101), (95, 102)] {
            let mut records = Vec::new();
            push(&mut records, b"k", &vec![b'x'; value]);
            assert_eq!(records.len(), expected, "{value}");
            assert_eq!(parse(&records).unwrap()[0].1.len(), value);
        }
    }

    #[test]
    fn broken_records_are_no_records() {
        for bad in [
            &b"9 k=v\n"[..],
            b"x k=v\n",
            b"6 k=vx",
            b"6 kvvv\n",
            b"99999999999999999999999 k=v\n",
            b"0 k=v\n",
        ] {
            assert!(parse(bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn records_are_read_as_written(
            values in prop::collection::vec(("[a-z.]{1,20}", prop::collection::vec(any::<u8>(), 0..300)), 0..8),
        ) {
            let mut records = Vec::new();
            for (key, value) in &values {
                push(&mut records, key.as_bytes(), value);
            }
            let expected: Vec<(&[u8], &[u8])> =
                values.iter().map(|(k, v)| (k.as_bytes(), v.as_slice())).collect();
            prop_assert_eq!(parse(&records).unwrap(), expected);
        }

        #[test]
        fn times_are_read_as_written(seconds in -1i64 << 40..1 << 40, nanoseconds in 0u32..1_000_000_000) {
            let time = Time { seconds, nanoseconds };
            prop_assert_eq!(parse_time(time_text(time).as_bytes()), Some(time));
        }

        #[test]
        fn attribute_names_are_read_as_written(name in prop::collection::vec(1u8.., 1..40)) {
            prop_assert_eq!(attribute_name(&attribute_key(&name)), Some(name));
        }
    }
}
