//! Object paths of units: `/org/freedesktop/systemd1/unit/` and the name, every byte that is neither a letter nor a
//! digit written as `_` and two hex digits (sd_bus_path_encode(3)).

use crate::ids::UnitName;

/// Where units' objects live.
pub const UNIT_PREFIX: &str = "/org/freedesktop/systemd1/unit";

/// The unit whose object has this path, if it is one and has a name that Muster knows.
pub fn unit_of(path: &str) -> Option<UnitName> {
    let escaped = path.strip_prefix(UNIT_PREFIX)?.strip_prefix('/')?;
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'_' {
            bytes.push(byte);
            continue;
        }
        let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path of a unit's object.
    fn path_of(unit: &UnitName) -> String {
        let mut path = format!("{UNIT_PREFIX}/");
        for (position, byte) in unit.as_str().bytes().enumerate() {
            if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && position > 0) {
                path.push(byte.into());
            } else {
                path.push_str(&format!("_{byte:02x}"));
            }
        }
        path
    }

    #[test]
    fn escaped_as_systemd_does_it() {
        let unit: UnitName = "web@1.service".parse().unwrap();
        assert_eq!(path_of(&unit), "/org/freedesktop/systemd1/unit/web_401_2eservice");
    }

    #[test]
    fn a_leading_digit_is_escaped_too() {
        let unit: UnitName = "1a.service".parse().unwrap();
        assert_eq!(path_of(&unit), "/org/freedesktop/systemd1/unit/_31a_2eservice");
    }

    #[test]
    fn paths_and_names_go_both_ways() {
        for name in ["a.service", "web@a-b_c.timer", "x\\x2dy.mount", "0.socket"] {
            let unit: UnitName = name.parse().unwrap();
            assert_eq!(unit_of(&path_of(&unit)), Some(unit));
        }
    }

    #[test]
    fn other_paths_are_no_units() {
        for path in [
            "/org/freedesktop/systemd1",
            "/org/freedesktop/systemd1/unit/",
            "/x",
            "/org/freedesktop/systemd1/unit/a_2",
        ] {
            assert_eq!(unit_of(path), None);
        }
    }
}
