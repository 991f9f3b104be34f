//! What a unit asks of the cluster: fleet's `[X-Fleet]` options.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::UnitName;

use super::unitfile::{self, Entry, OptionsError, UnitFileError};

/// Where a unit may run. Everything empty: anywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// `MachineID=`: only on the machine with this id, or with an id that begins with these 8 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// `MachineOf=`: only where all of these units are placed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub machine_of: Vec<UnitName>,
    /// `MachineMetadata=`: for every key, the machine must have one of its values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub machine_metadata: BTreeMap<String, Vec<String>>,
    /// `Conflicts=`: not beside a unit whose name matches one of these patterns, nor it beside this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// `Global=`: on every machine that may run it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub global: bool,
    /// `Replaces=`: a unit whose name matches leaves the machine that this one is placed on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
}

/// An option with the older names that fleet took for it as well.
fn canonical(key: &str) -> Option<&'static str> {
    Some(match key {
        "MachineID" | "X-ConditionMachineID" | "X-ConditionMachineBootID" => "MachineID",
        "MachineOf" | "X-ConditionMachineOf" => "MachineOf",
        "MachineMetadata" | "X-ConditionMachineMetadata" => "MachineMetadata",
        "Conflicts" | "X-Conflicts" => "Conflicts",
        "Global" => "Global",
        "Replaces" => "Replaces",
        _ => return None,
    })
}

impl Options {
    /// Reads the cluster's sections of a unit file, with the specifiers `%n`, `%N`, `%p` and `%i` replaced for `unit`.
    ///
    /// # Errors
    /// Anything in `[X-Fleet]` or `[X-Muster]` that is not understood, and what [`unitfile::parse`] refuses.
    pub fn read(unit: &UnitName, text: &str) -> Result<Self, UnitFileError> {
        Self::from_entries(unit, &unitfile::parse(text)?)
    }

    /// Reads the cluster's sections.
    fn from_entries(unit: &UnitName, entries: &[Entry]) -> Result<Self, UnitFileError> {
        let mut options = Self::default();
        for entry in entries {
            let option = match entry.section.as_str() {
                "X-Fleet" => canonical(&entry.key),
                "X-Muster" => None,
                _ => continue,
            };
            let Some(option) = option else {
                let (line, section, key) = (entry.line, entry.section.clone(), entry.key.clone());
                return Err(UnitFileError::UnknownKey { line, section, key });
            };
            for value in values(&entry.value) {
                let value = specified(unit, &value);
                options.take(option, &value).map_err(|problem| UnitFileError::Value {
                    line: entry.line,
                    key: entry.key.clone(),
                    value: entry.value.clone(),
                    problem,
                })?;
            }
        }
        options.check()?;
        Ok(options)
    }

    fn take(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "MachineID" if self.machine_id.is_none() && !value.is_empty() => {
                self.machine_id = Some(value.into());
            }
            "MachineOf" if !value.is_empty() => {
                let target: UnitName = value.parse().map_err(|e| format!("{e}"))?;
                self.machine_of.push(target);
            }
            "MachineMetadata" if !value.is_empty() => {
                let (key, wanted) = metadata(value)?;
                self.machine_metadata.entry(key).or_default().push(wanted);
            }
            "Conflicts" => self.conflicts.extend(patterns(value)?),
            "Replaces" => self.replaces.extend(patterns(value)?),
            "Global" => {
                let word = value.to_ascii_lowercase();
                self.global = ["true", "yes", "1", "on", "t"].contains(&word.as_str());
            }
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<(), OptionsError> {
        let given = [
            ("MachineID", self.machine_id.is_some()),
            ("MachineOf", !self.machine_of.is_empty()),
            ("Conflicts", !self.conflicts.is_empty()),
            ("Global", self.global),
            ("Replaces", !self.replaces.is_empty()),
        ];
        let exclusive = [
            ("MachineID", "MachineOf"),
            ("MachineID", "Conflicts"),
            ("MachineID", "Global"),
            ("MachineID", "Replaces"),
            ("Global", "MachineOf"),
            ("Global", "Replaces"),
            ("Conflicts", "Replaces"),
        ];
        let is_given = |name: &str| given.iter().any(|(option, set)| *option == name && *set);
        for (one, other) in exclusive {
            if is_given(one) && is_given(other) {
                return Err(OptionsError::Exclusive { one, other });
            }
        }
        for target in &self.machine_of {
            for (by, list) in [("Conflicts", &self.conflicts), ("Replaces", &self.replaces)] {
                if let Some(pattern) = list.iter().find(|pattern| matches(pattern, target)) {
                    let (target, pattern) = (target.clone(), pattern.clone());
                    return Err(OptionsError::Contradiction { target, by, pattern });
                }
            }
        }
        Ok(())
    }
}

/// Patterns of unit names, made ready to be matched many times.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<glob::Pattern>);

impl Patterns {
    /// Prepares `texts`. A text that is no pattern matches nothing; [`Options::read`] lets none through.
    pub fn new(texts: &[String]) -> Self {
        Self(texts.iter().filter_map(|text| compile(text).ok()).collect())
    }

    /// Whether any of them matches a unit's name.
    pub fn matches(&self, unit: &UnitName) -> bool {
        self.0.iter().any(|pattern| pattern.matches(unit.as_str()))
    }
}

/// Several values on one line: only if the line begins and ends with a double quote, as in `"a=1" "b=2"`.
fn values(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match inner {
        // Between the quotes of two values lie blanks: every second piece is a value.
        Some(inner) => inner.split('"').step_by(2).map(str::to_string).collect(),
        None => vec![line.to_string()],
    }
}

/// Replaces specifiers, one kind after the other as fleet does; there is no escape.
fn specified(unit: &UnitName, value: &str) -> String {
    value
        .replace("%n", unit.as_str())
        .replace("%N", unit.stem())
        .replace("%p", unit.prefix())
        .replace("%i", unit.instance().unwrap_or_default())
}

fn metadata(value: &str) -> Result<(String, String), String> {
    match value.split_once('=') {
        Some((key, wanted)) if !key.is_empty() && !wanted.is_empty() && !wanted.contains('=') => {
            Ok((key.into(), wanted.into()))
        }
        _ => Err("expected key=value".into()),
    }
}

/// Patterns separated by blanks, each known to be well formed.
fn patterns(value: &str) -> Result<Vec<String>, String> {
    let checked =
        |text: &str| compile(text).map(|_| text.to_string()).map_err(|e| format!("{text}: {}", e.msg));
    value.split_whitespace().map(checked).collect()
}

/// Whether a unit's name matches a pattern; a pattern that is none matches nothing.
fn matches(pattern: &str, unit: &UnitName) -> bool {
    compile(pattern).is_ok_and(|compiled| compiled.matches(unit.as_str()))
}

/// Rewrites fleet's patterns (`*`, `?`, `[a-z]`, `[^a]`, `\` takes the next character as it is) for the crate that
/// matches them, which writes `[!a]` and knows no `\`.
fn compile(pattern: &str) -> Result<glob::Pattern, glob::PatternError> {
    let mut rewritten = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                let literal = rest.next().unwrap_or('\\');
                rewritten.push_str(&glob::Pattern::escape(&literal.to_string()));
            }
            '[' if rest.peek() == Some(&'^') => {
                rest.next();
                rewritten.push_str("[!");
            }
            '*' if rewritten.ends_with('*') && !rewritten.ends_with("[*") => {}
            c => rewritten.push(c),
        }
    }
    glob::Pattern::new(&rewritten)
}

#[cfg(test)]
#[path = "options_test.rs"]
mod more_tests;

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(name: &str) -> UnitName {
        name.parse().unwrap()
    }

    fn options(lines: &str) -> Result<Options, UnitFileError> {
        Options::read(&unit("web@1.service"), &format!("[Service]\nExecStart=/x\n[X-Fleet]\n{lines}"))
    }

    #[test]
    fn a_unit_without_options_may_run_anywhere() {
        assert_eq!(
            Options::read(&unit("a.service"), "[Unit]\nConflicts=b.service").unwrap(),
            Options::default()
        );
    }

    #[test]
    fn conflicts_are_split_at_blanks_and_add_up() {
        let options =
            options("Conflicts=a*.service b.service\nConflicts=\"c.service\" \"%p@*.service\"").unwrap();
        assert_eq!(options.conflicts, ["a*.service", "b.service", "c.service", "web@*.service"]);
        let patterns = Patterns::new(&options.conflicts);
        assert!(patterns.matches(&unit("web@2.service")) && !patterns.matches(&unit("x.service")));
    }

    #[test]
    fn metadata_is_grouped_by_key() {
        let options = options("MachineMetadata=\"role=db\" \"zone=a\"\nMachineMetadata=role=web").unwrap();
        assert_eq!(options.machine_metadata["role"], ["db", "web"]);
        assert_eq!(options.machine_metadata["zone"], ["a"]);
    }

    #[test]
    fn bad_metadata_is_an_error_and_not_dropped() {
        for bad in ["role", "=x", "role=", "a=b=c", "a=b \"c=d\" e"] {
            let error = options(&format!("MachineMetadata={bad}")).unwrap_err().to_string();
            assert!(error.contains("line 4") && error.contains("key=value"), "{error}");
        }
    }

    #[test]
    fn the_first_machine_id_and_the_last_global_win() {
        assert_eq!(options("MachineID=a\nX-ConditionMachineID=b").unwrap().machine_id.as_deref(), Some("a"));
        assert!(options("Global=no\nGlobal=Yes").unwrap().global);
        assert!(!options("Global=yes\nGlobal=maybe").unwrap().global);
    }

    #[test]
    fn specifiers_stand_for_the_units_name() {
        let options = options("MachineOf=db@%i.service\nMachineOf=%N.socket").unwrap();
        assert_eq!(options.machine_of, [unit("db@1.service"), unit("web@1.socket")]);
    }

    #[test]
    fn unknown_keys_name_key_and_line() {
        let error = options("Conflict=a").unwrap_err();
        assert_eq!(error.to_string(), "line 4: [X-Fleet] has no option Conflict=");
        let error = Options::read(&unit("a.service"), "[X-Muster]\nReplicas=3").unwrap_err();
        assert_eq!(error.to_string(), "line 2: [X-Muster] has no option Replicas=");
    }

    #[test]
    fn options_that_exclude_each_other_are_refused() {
        for pair in [
            "MachineID=a\nGlobal=true",
            "MachineID=a\nConflicts=b",
            "MachineID=a\nMachineOf=b.service",
            "MachineID=a\nReplaces=b",
            "Global=true\nMachineOf=b.service",
            "Global=true\nReplaces=b",
            "Conflicts=a\nReplaces=b",
            "MachineOf=b.service\nConflicts=b*",
            "MachineOf=b.service\nReplaces=b*",
        ] {
            assert!(matches!(options(pair), Err(UnitFileError::Options(_))), "{pair:?} was taken");
        }
        assert!(options("Global=true\nConflicts=a").is_ok());
    }

    #[test]
    fn patterns_mean_what_they_meant_in_fleet() {
        let yes =
            [("web@*.service", "web@1.service"), ("w?b.service", "web.service"), ("[^a]*", "b.service")];
        for (pattern, name) in yes {
            assert!(matches(pattern, &unit(name)), "{pattern} does not match {name}");
        }
        assert!(matches("a\\\\x2d*.service", &unit("a\\x2db.service")));
        assert!(matches("**.service", &unit("a.service")));
        assert!(!matches("web", &unit("web.service")));
        assert!(options("Conflicts=[a").is_err());
    }

    #[test]
    fn options_survive_a_round_trip_and_leave_out_what_is_empty() {
        let options = options("Conflicts=a*").unwrap();
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(json, r#"{"conflicts":["a*"]}"#);
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
        assert_eq!(serde_json::from_str::<Options>("{}").unwrap(), Options::default());
    }
}
