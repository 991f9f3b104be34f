//! etcd's JSON beside a reader and a writer of JSON that somebody else wrote.

use proptest::prelude::*;

use super::{json_string as string, timestamp};

fn written(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    string(&mut out, bytes);
    String::from_utf8(out).expect("JSON is text")
}

proptest! {
    #[test]
    fn any_text_is_read_back_as_it_was(text in any::<String>()) {
        let json = written(text.as_bytes());
        let read: String = serde_json::from_str(&json).expect("JSON");
        prop_assert_eq!(read, text);
    }

    #[test]
    fn any_bytes_are_read_back_with_a_mark_for_each_that_is_no_text(bytes in any::<Vec<u8>>()) {
        let json = written(&bytes);
        let read: String = serde_json::from_str(&json).expect("JSON");
        let mut expected = String::new();
        for chunk in bytes.utf8_chunks() {
            expected += chunk.valid();
            expected.extend(std::iter::repeat_n('\u{fffd}', chunk.invalid().len()));
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn nothing_that_a_browser_or_a_script_stumbles_over_stands_for_itself(text in "[<>&\u{2028}\u{2029}\"\\\\a\n\t\u{1}é]{0,40}") {
        let json = written(text.as_bytes());
        let inside = &json[1..json.len() - 1];
        for plain in ['<', '>', '&', '\u{2028}', '\u{2029}', '\n', '\t', '\u{1}'] {
            prop_assert!(!inside.contains(plain), "{} in {}", plain.escape_unicode(), json);
        }
        prop_assert_eq!(inside.matches('é').count(), text.matches('é').count());
    }

    #[test]
    fn times_are_those_of_the_calendar(seconds in -2_000_000_000i64..4_000_000_000, nanos in 0i64..1_000_000_000) {
        let text = timestamp(seconds * 1_000_000_000 + nanos);
        let read: jiff::Timestamp = text.parse().expect("RFC 3339");
        prop_assert_eq!(read.as_nanosecond(), i128::from(seconds) * 1_000_000_000 + i128::from(nanos));
        prop_assert!(text.ends_with('Z'));
        let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('Z'));
        prop_assert!(fraction.len() <= 9 && !fraction.ends_with('0'), "{}", text);
    }
}

#[test]
fn escapes_are_gos() {
    for (text, json) in [
        ("", r#""""#),
        ("plain", r#""plain""#),
        ("\"\\/", r#""\"\\/""#),
        ("\n\r\t\u{8}\u{c}\u{0}\u{1f}\u{7f}", "\"\\n\\r\\t\\u0008\\u000c\\u0000\\u001f\u{7f}\""),
        ("<a href='x'>&amp;</a>", r#""\u003ca href='x'\u003e\u0026amp;\u003c/a\u003e""#),
        ("\u{2028}\u{2029}\u{2027}", "\"\\u2028\\u2029\u{2027}\""),
        ("é€😀", "\"é€😀\""),
    ] {
        assert_eq!(written(text.as_bytes()), json, "{text:?}");
    }
    // The beginning of a character that does not go on, and one that is too long.
    assert_eq!(written(b"\xe2\x80"), r#""\ufffd\ufffd""#);
    assert_eq!(written(b"a\xc0\xafb"), r#""a\ufffd\ufffdb""#);
}

#[test]
fn a_time_out_of_the_calendars_range_is_gos_zero_time() {
    assert_eq!(timestamp(i64::MIN), "1677-09-21T00:12:43.145224192Z");
    assert_eq!(timestamp(0), "1970-01-01T00:00:00Z");
    assert_eq!(timestamp(i64::MAX), "2262-04-11T23:47:16.854775807Z");
}
