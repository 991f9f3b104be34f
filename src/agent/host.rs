//! Whether a unit's name is the machine's own already. Nothing of the host's is shadowed, changed or stopped: a unit of
//! the cluster with such a name is refused, with a reason.

use crate::ids::UnitName;
use crate::model::vital::vital;
use crate::systemd::Origin;

/// Why the machine keeps the name `unit` to itself; `None` if it does not. `origin` is what systemd says of the name, and
/// `files` are those of that name, or of its template, where systemd looks for units, but for what the agent put there.
/// `ours` is where it puts that: systemd may still know a unit from there though its file was lost. The words say what to
/// do: a name that becomes free is looked at when systemd reads its files.
pub fn kept(unit: &UnitName, origin: &Origin, files: &[String], ours: &[String]) -> Option<String> {
    if let Some(why) = vital(unit) {
        return Some(format!("{unit} is refused: {why}"));
    }
    let why = if let Some(file) = files.first() {
        format!("this machine has {file}")
    } else if origin.id != unit.as_str() {
        format!("on this machine that is another name of {}", origin.id)
    } else if ours.contains(&origin.fragment) {
        return None;
    } else if origin.load == "loaded" {
        let from = if origin.fragment.is_empty() { "without a file" } else { &origin.fragment };
        format!("this machine has loaded a unit of that name ({from})")
    } else if origin.load == "masked" {
        "that name is masked on this machine".into()
    } else if !matches!(origin.active.as_str(), "inactive" | "failed") {
        format!("a unit of that name is {} on this machine", origin.active)
    } else {
        return None;
    };
    Some(format!(
        "{unit} is refused: {why}; destroy it, or free the name and run systemctl daemon-reload there"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(id: &str, load: &str, fragment: &str, active: &str) -> Origin {
        Origin { id: id.into(), load: load.into(), fragment: fragment.into(), active: active.into() }
    }

    fn judged(name: &str, origin: &Origin, files: &[&str]) -> Option<String> {
        let files: Vec<String> = files.iter().map(ToString::to_string).collect();
        kept(&name.parse().unwrap(), origin, &files, &["/run/systemd/system/a.service".into()])
    }

    #[test]
    fn a_name_that_nobody_has_is_free() {
        assert_eq!(judged("a.service", &origin("a.service", "not-found", "", "inactive"), &[]), None);
        // What is left of a unit that was removed.
        assert_eq!(judged("a.service", &origin("a.service", "not-found", "", "failed"), &[]), None);
    }

    #[test]
    fn a_name_that_the_machine_has_is_kept_and_the_reason_says_where_it_comes_from() {
        let unknown = origin("a.service", "not-found", "", "inactive");
        for (origin, files, why) in [
            (&unknown, &["/usr/lib/systemd/system/a.service"][..], "/usr/lib/systemd/system/a.service"),
            (&origin("b.service", "loaded", "/x/b.service", "active"), &[], "another name of b.service"),
            (&origin("a.service", "loaded", "", "active"), &[], "without a file"),
            (&origin("a.service", "loaded", "/run/systemd/transient/a.service", "active"), &[], "transient"),
            (&origin("a.service", "masked", "", "inactive"), &[], "masked"),
            (&origin("a.service", "not-found", "", "active"), &[], "is active on this machine"),
        ] {
            let said = judged("a.service", origin, files).unwrap();
            assert!(said.starts_with("a.service is refused: ") && said.contains(why), "{said}");
            assert!(
                said.ends_with("; destroy it, or free the name and run systemctl daemon-reload there"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_unit_that_systemd_knows_from_the_agent_is_no_host_unit_unless_the_host_has_a_file_as_well() {
        let ours = origin("a.service", "loaded", "/run/systemd/system/a.service", "active");
        assert_eq!(judged("a.service", &ours, &[]), None);
        assert!(judged("a.service", &ours, &["/etc/systemd/system/a.service"]).is_some());
    }

    #[test]
    fn a_vital_name_is_kept_though_nothing_of_it_is_there() {
        let origin = origin("dbus.service", "not-found", "", "inactive");
        assert!(judged("dbus.service", &origin, &[]).unwrap().contains("every machine needs its own"));
    }
}
