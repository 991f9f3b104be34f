//! Which machine a person means who names one: by its id, by its host name, by a beginning of either that no other
//! machine has, or as lists show it, `name/8digits`. A beginning of an id has at least four digits: `2` is rather a
//! number that somebody gave to a machine. A beginning of a host name ends where one of its labels ends:
//! `m1` is `m1.example.org` but never `m10`, which may be there while `m1` is not.

use crate::ids::MachineId;

/// How many machines an error names at most.
const NAMED: usize = 10;
/// How much of an id names a machine at least.
const BEGINNING: usize = 4;

/// A machine that may be meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// Its id.
    pub id: MachineId,
    /// Its host name, if it is known.
    pub hostname: Option<String>,
}

/// Why a text names no machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No machine is called so.
    #[error("no machine is called \"{text}\"; there {}{}", listed(known), absent(*nameless))]
    Unknown {
        /// The text.
        text: String,
        /// The machines that there are.
        known: Vec<String>,
        /// Whether the names of some of them are not known.
        nameless: bool,
    },
    /// Several machines are meant.
    #[error("\"{text}\" may be any of {}", joined(candidates))]
    Ambiguous {
        /// The text.
        text: String,
        /// The machines that it may mean.
        candidates: Vec<String>,
    },
}

/// A machine as lists show it: its host name, if it is known, and the beginning of its id.
pub fn shown(machine: &Known) -> String {
    match &machine.hostname {
        Some(hostname) => format!("{hostname}/{}", machine.id.short()),
        None => machine.id.short().into(),
    }
}

/// The machine among `known` that `text` names. A whole id wins over a whole host name, and both win over beginnings.
/// Host names are compared without regard to case.
///
/// # Errors
/// No machine or several are called so.
pub fn find<'a>(known: &'a [Known], text: &str) -> Result<&'a MachineId, LookupError> {
    let by_id = |machine: &&Known| machine.id.as_str() == text;
    let by_name = |machine: &&Known| named(machine).is_some_and(|name| name.eq_ignore_ascii_case(text));
    let by_both = |machine: &&Known| match text.rsplit_once('/') {
        Some((name, id)) => {
            named(machine).is_some_and(|hostname| hostname.eq_ignore_ascii_case(name))
                && !id.is_empty()
                && machine.id.as_str().starts_with(id)
        }
        None => false,
    };
    let by_beginning = |machine: &&Known| {
        let begins = |name: &str| {
            let (beginning, rest) = (name.get(..text.len()), name.get(text.len()..));
            beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(text))
                && rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let begins_id = text.len() >= BEGINNING && machine.id.as_str().starts_with(text);
        !text.is_empty() && (begins_id || named(machine).is_some_and(begins))
    };
    let all = |matches: &dyn Fn(&&Known) -> bool| known.iter().filter(matches).collect::<Vec<_>>();
    let steps: [&dyn Fn(&&Known) -> bool; 4] = [&by_id, &by_name, &by_both, &by_beginning];
    for candidates in steps.into_iter().map(all) {
        match candidates.as_slice() {
            [] => {}
            [one] => return Ok(&one.id),
            several => {
                let candidates = several.iter().map(|machine| shown(machine)).collect();
                return Err(LookupError::Ambiguous { text: text.into(), candidates });
            }
        }
    }
    Err(LookupError::Unknown {
        text: text.into(),
        known: known.iter().map(shown).collect(),
        nameless: known.iter().any(|machine| machine.hostname.is_none()),
    })
}

fn named(machine: &Known) -> Option<&str> {
    machine.hostname.as_deref()
}

fn listed(known: &[String]) -> String {
    match known {
        [] => "is none".into(),
        [one] => format!("is {one}"),
        several => format!("are {}", joined(several)),
    }
}

fn absent(nameless: bool) -> &'static str {
    if nameless {
        " (a machine that is away is named by its id, which its journal and `muster reboot status -o json` have)"
    } else {
        ""
    }
}

fn joined(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let names = names[..names.len() - more].join(", ");
    if more == 0 { names } else { format!("{names} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "8cd4acaff41c4de68c0a81e5d0070daa";
    const TWO: &str = "8cd5acaff41c4de68c0a81e5d0070daa";

    fn known(list: &[(&str, Option<&str>)]) -> Vec<Known> {
        let machine = |(id, hostname): &(&str, Option<&str>)| Known {
            id: id.parse().unwrap(),
            hostname: hostname.map(Into::into),
        };
        list.iter().map(machine).collect()
    }

    fn two() -> Vec<Known> {
        known(&[(ONE, Some("m1.example.com")), (TWO, Some("m2"))])
    }

    #[test]
    fn a_machine_is_found_by_any_of_its_names() {
        for text in [ONE, "8cd4", "m1", "m1.example.com", "M1.Example.Com", "m1.example.com/8cd4acaf"] {
            assert_eq!(find(&two(), text).unwrap().as_str(), ONE, "{text}");
        }
        for text in [TWO, "8cd5", "m2", "m2/8cd5acaf"] {
            assert_eq!(find(&two(), text).unwrap().as_str(), TWO, "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_the_machines_there_are() {
        for text in ["m3", "deadbeef", "", "/", "m2/8cd4", "8CD4", "8", "8cd", "2"] {
            assert!(matches!(find(&two(), text), Err(LookupError::Unknown { .. })), "{text:?}");
        }
        let error = find(&two(), "m3").unwrap_err().to_string();
        assert_eq!(error, "no machine is called \"m3\"; there are m1.example.com/8cd4acaf, m2/8cd5acaf");
        assert_eq!(find(&[], "m3").unwrap_err().to_string(), "no machine is called \"m3\"; there is none");
    }

    #[test]
    fn an_ambiguous_name_is_an_error_that_names_the_candidates() {
        let alike = known(&[("8cd4acaf00", Some("m1")), ("8cd4acaf11", Some("m2"))]);
        let error = find(&alike, "8cd4").unwrap_err().to_string();
        assert_eq!(error, "\"8cd4\" may be any of m1/8cd4acaf, m2/8cd4acaf");
        let twins = known(&[(ONE, Some("web")), (TWO, Some("web"))]);
        assert!(matches!(find(&twins, "web"), Err(LookupError::Ambiguous { .. })));
        assert_eq!(find(&twins, "web/8cd5").unwrap().as_str(), TWO);
        // An id that begins as another machine is called.
        let mixed = known(&[("abcd1", Some("x")), ("def2", Some("abcd.example.com"))]);
        assert!(matches!(find(&mixed, "abcd"), Err(LookupError::Ambiguous { .. })));
    }

    #[test]
    fn the_beginning_of_a_host_name_ends_where_a_label_ends() {
        let lone = known(&[(ONE, Some("m10")), (TWO, Some("m2"))]);
        assert!(
            matches!(find(&lone, "m1"), Err(LookupError::Unknown { .. })),
            "m1 is absent, m10 is another"
        );
        let long = known(&[(ONE, Some("m1.a.example.org")), (TWO, Some("m10.a.example.org"))]);
        for text in ["m1", "m1.a", "M1.A.example"] {
            assert_eq!(find(&long, text).unwrap().as_str(), ONE, "{text}");
        }
        assert!(matches!(find(&long, "m1.a.ex"), Err(LookupError::Unknown { .. })));
    }

    #[test]
    fn what_is_whole_wins_over_beginnings() {
        let known = known(&[("a", Some("web1")), ("b", Some("web10")), ("web", None)]);
        assert_eq!(find(&known, "web1").unwrap().as_str(), "a");
        assert_eq!(find(&known, "web").unwrap().as_str(), "web");
    }

    #[test]
    fn many_machines_are_not_all_named() {
        let known: Vec<Known> =
            (0..12).map(|n| Known { id: format!("id{n:02}").parse().unwrap(), hostname: None }).collect();
        let error = find(&known, "x").unwrap_err().to_string();
        assert!(
            error.contains("id08, id09 and 2 more (a machine that is away is named by its id"),
            "{error}"
        );
    }
}
