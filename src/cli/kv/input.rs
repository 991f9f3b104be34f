//! Arguments that need more than their text: values from standard input, times to live.

use std::io::Read;
use std::time::Duration;

use super::output::bad_argument;
use crate::cli::Failure;

/// Parses a time to live: seconds, or a length such as `5s` or `1m30s`, in whole seconds.
pub(super) fn ttl(text: &str) -> Result<u64, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
        return text.parse().map_err(|_| "too large".to_string());
    }
    let length: Duration = humantime::parse_duration(text)
        .map_err(|error| format!("expected seconds or a length of time such as 5s or 1m30s: {error}"))?;
    if length.subsec_nanos() != 0 {
        return Err("the store keeps whole seconds only".into());
    }
    Ok(length.as_secs())
}

/// The TTL to send: 0 asks for none, as with etcdctl.
pub(super) fn wanted(ttl: Option<u64>) -> Option<u64> {
    ttl.filter(|seconds| *seconds > 0)
}

/// The value given, or else all of standard input.
pub(in crate::cli) fn value(given: Option<String>) -> Result<String, Failure> {
    if let Some(value) = given {
        return Ok(value);
    }
    let mut value = String::new();
    std::io::stdin()
        .read_to_string(&mut value)
        .map_err(|error| bad_argument(format!("cannot read the value from standard input: {error}")))?;
    if value.is_empty() {
        return Err(bad_argument("value required"));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_is_a_number_of_seconds_or_a_length_of_time() {
        assert_eq!(ttl("90"), Ok(90));
        assert_eq!(ttl("5s"), Ok(5));
        assert_eq!(ttl("1m30s"), Ok(90));
        assert_eq!(ttl("0"), Ok(0));
    }

    #[test]
    fn what_is_no_ttl_is_refused_with_a_reason() {
        for text in ["", "-1", "soon", "1.5", "500ms", "99999999999999999999"] {
            assert!(ttl(text).is_err(), "{text:?} was taken");
        }
    }
}
