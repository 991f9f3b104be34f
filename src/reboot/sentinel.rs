//! Whether a file that asks for a reboot is obeyed. A reboot that did not take the file away is not repeated: without that
//! a file that stays, or that something puts there at every boot, would reboot the machine for ever.

use std::time::Duration;

use crate::model::reboot::{Answered, Fingerprint};

/// How long after a reboot for a file no file is obeyed, however new it is: it may be put there at every boot.
pub const PAUSE: Duration = Duration::from_secs(60 * 60);

/// What follows from a file that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It asks for a reboot.
    Obey,
    /// It is the one that the last reboot was for.
    Stays,
    /// It is too early for another reboot; how much longer.
    Early(Duration),
}

/// Judges `file`. `last` is the last reboot for a file, `boot_id` the present boot, of which at least `passed` has
/// passed.
pub fn verdict(last: Option<&Answered>, file: &Fingerprint, boot_id: &str, passed: Duration) -> Verdict {
    match last {
        Some(last) if last.left.as_ref() == Some(file) => Verdict::Stays,
        Some(last) if last.boot_id == boot_id && passed < PAUSE => Verdict::Early(PAUSE - passed),
        _ => Verdict::Obey,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Moment;

    fn file(content: &str, modified: i64) -> Fingerprint {
        Fingerprint { content: content.into(), modified }
    }

    fn last(left: Option<Fingerprint>) -> Answered {
        let since = Moment::new("2026-01-31T12:00:00Z".parse().unwrap());
        Answered { boot_id: "b".into(), since, left, says: None }
    }

    const LONG: Duration = Duration::from_secs(2 * 60 * 60);

    #[test]
    fn a_file_is_obeyed_if_nothing_is_known() {
        assert_eq!(verdict(None, &file("x", 1), "b", Duration::ZERO), Verdict::Obey);
    }

    #[test]
    fn a_file_that_outlived_the_reboot_for_it_is_never_obeyed_again() {
        let last = last(Some(file("x", 1)));
        for (boot, passed) in [("b", Duration::ZERO), ("b", LONG), ("another", LONG)] {
            assert_eq!(verdict(Some(&last), &file("x", 1), boot, passed), Verdict::Stays);
        }
    }

    #[test]
    fn a_new_file_is_obeyed_but_not_right_after_a_reboot_for_one() {
        let gone = last(None);
        let stayed = last(Some(file("x", 1)));
        for (last, file) in [(&gone, file("x", 1)), (&stayed, file("x", 2)), (&stayed, file("y", 1))] {
            assert_eq!(verdict(Some(last), &file, "b", Duration::ZERO), Verdict::Early(PAUSE));
            assert_eq!(verdict(Some(last), &file, "b", PAUSE / 4), Verdict::Early(PAUSE * 3 / 4));
            assert_eq!(verdict(Some(last), &file, "b", PAUSE), Verdict::Obey);
            // Somebody has rebooted the machine since.
            assert_eq!(verdict(Some(last), &file, "c", Duration::ZERO), Verdict::Obey);
        }
    }
}
