//! The two questions before and after a reboot, on plain data: may this machine leave, and is it well again?

use std::collections::BTreeSet;

/// A member of the store, seen from this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The member's id.
    pub id: String,
    /// Its name, for people.
    pub name: String,
    /// Whether it runs on this machine.
    pub here: bool,
    /// Whether it says that it is healthy.
    pub healthy: bool,
    /// The index its own copy has reached; `None` when it did not say.
    pub index: Option<u64>,
}

/// Whether the store keeps its quorum without this machine, `away` being the members on machines that are leaving
/// already though they may still answer.
///
/// # Errors
/// Why not, for people.
pub fn may_leave(members: &[Seen], away: &BTreeSet<String>) -> Result<(), String> {
    if !members.iter().any(|member| member.here) {
        return Ok(());
    }
    let majority = members.len() / 2 + 1;
    let staying = members.iter().filter(|m| !m.here && m.healthy && !away.contains(&m.id)).count();
    if staying >= majority {
        return Ok(());
    }
    let missing: Vec<&str> = members
        .iter()
        .filter(|m| !m.here && (!m.healthy || away.contains(&m.id)))
        .map(|m| m.name.as_str())
        .collect();
    let detail = match members.len() {
        1 | 2 => "; [rebootd] keep_quorum = false allows that".to_string(),
        _ if missing.is_empty() => String::new(),
        _ => format!(" ({} away)", missing.join(", ")),
    };
    Err(format!(
        "the store would lose its quorum: {staying} of {} members would stay, {majority} are needed{detail}",
        members.len()
    ))
}

/// Whether the whole system is as well as it was: systemd's `SystemState` (org.freedesktop.systemd1(5)) says `running`,
/// or what it said before the reboot.
///
/// # Errors
/// Why not, for people.
pub fn system_is_well(before: Option<&str>, now: &str) -> Result<(), String> {
    match before {
        _ if now == "running" => Ok(()),
        Some(before) if before == now && !in_transit(now) => Ok(()),
        Some(before) => Err(format!("systemd says {now}, before the reboot it said {before}")),
        None => Err(format!("systemd says {now}, not running")),
    }
}

/// Whether a system state is only passed through, so that neither a machine should leave in it nor be called well.
pub fn in_transit(state: &str) -> bool {
    matches!(state, "initializing" | "starting" | "stopping")
}

/// Whether the store's member on this machine, if there is one, is healthy and has caught up with the others.
///
/// # Errors
/// Why not, for people.
pub fn store_is_well(members: &[Seen]) -> Result<(), String> {
    let Some(own) = members.iter().find(|member| member.here) else { return Ok(()) };
    if !own.healthy {
        return Err(format!("the store's member {} on this machine is not healthy", own.name));
    }
    let others = members.iter().filter(|member| !member.here);
    let Some(target) = others.clone().filter_map(|member| member.index).max() else {
        return if others.count() == 0 {
            Ok(())
        } else {
            Err("no other member of the store says how far it is".into())
        };
    };
    match own.index {
        Some(index) if index >= target => Ok(()),
        Some(index) => Err(format!("the store's member {} is at index {index} of {target}", own.name)),
        None => Err(format!("the store's member {} does not say how far it is", own.name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a+` healthy, `a-` not; the first is here.
    fn members(texts: &[&str]) -> Vec<Seen> {
        let seen = |(at, text): (usize, &&str)| {
            let (name, sign) = text.split_at(text.len() - 1);
            Seen {
                id: name.into(),
                name: name.into(),
                here: at == 0,
                healthy: sign == "+",
                index: (sign == "+").then_some(10),
            }
        };
        texts.iter().enumerate().map(seen).collect()
    }

    fn away(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| id.to_string()).collect()
    }

    #[test]
    fn one_of_three_may_leave_while_both_others_are_healthy() {
        assert_eq!(may_leave(&members(&["a+", "b+", "c+"]), &away(&[])), Ok(()));
        let error = may_leave(&members(&["a+", "b+", "c-"]), &away(&[])).unwrap_err();
        assert_eq!(
            error,
            "the store would lose its quorum: 1 of 3 members would stay, 2 are needed (c away)"
        );
    }

    #[test]
    fn a_member_that_is_leaving_counts_as_gone_though_it_still_answers() {
        assert!(may_leave(&members(&["a+", "b+", "c+"]), &away(&["c"])).is_err());
        assert!(may_leave(&members(&["a+", "b+", "c+", "d+", "e+"]), &away(&["c"])).is_ok());
    }

    #[test]
    fn an_own_member_that_is_already_down_takes_nothing_away() {
        assert_eq!(may_leave(&members(&["a-", "b+", "c+"]), &away(&[])), Ok(()));
    }

    #[test]
    fn one_and_two_members_have_nobody_to_spare() {
        assert!(may_leave(&members(&["a+"]), &away(&[])).is_err());
        assert!(may_leave(&members(&["a+", "b+"]), &away(&[])).is_err());
    }

    #[test]
    fn a_machine_without_a_member_may_always_leave() {
        let mut elsewhere = members(&["a-", "b-", "c+"]);
        elsewhere[0].here = false;
        assert_eq!(may_leave(&elsewhere, &away(&["c"])), Ok(()));
        assert_eq!(may_leave(&[], &away(&[])), Ok(()));
    }

    #[test]
    fn a_system_is_well_when_it_runs_or_is_as_it_was() {
        assert!(system_is_well(Some("running"), "running").is_ok());
        assert!(system_is_well(Some("degraded"), "running").is_ok());
        assert!(system_is_well(Some("degraded"), "degraded").is_ok());
        assert!(system_is_well(Some("running"), "degraded").is_err());
        assert!(system_is_well(None, "degraded").is_err());
        assert!(system_is_well(Some("starting"), "starting").is_err());
    }

    #[test]
    fn a_store_is_well_when_its_copy_has_reached_the_others() {
        let mut all = members(&["a+", "b+", "c-"]);
        assert_eq!(store_is_well(&all), Ok(()));
        all[0].index = Some(9);
        assert_eq!(store_is_well(&all).unwrap_err(), "the store's member a is at index 9 of 10");
        all[0].healthy = false;
        assert!(store_is_well(&all).unwrap_err().contains("not healthy"));
    }

    #[test]
    fn a_store_alone_has_nobody_to_catch_up_with() {
        assert_eq!(store_is_well(&members(&["a+"])), Ok(()));
        assert!(store_is_well(&members(&["a+", "b-"])).unwrap_err().contains("no other member"));
        assert_eq!(store_is_well(&[]), Ok(()));
    }
}
