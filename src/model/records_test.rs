//! The helpers' records as people write them by hand and as other versions write them, and the keys they lie at.

use std::fmt::Debug;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::beat::{Beat, BeatName, Source, heartbeat, heartbeats, parse_heartbeat};
use super::machine::{EngineLease, MachineInfo, MachineSettings};
use super::reboot::{Group, Holder, Phase, Request};
use super::unit::{Desired, Partition, ScheduleRecord, UnitRecord, UnitState};
use super::*;

/// A record is read from what must be there, is written as `shown`, and reads back; one member that a later version may
/// have added is no matter, and each of `needed` is missed when it is absent.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(least: Value, shown: &Value, needed: &[&str]) {
    let record: T = serde_json::from_value(least.clone()).expect("the least that a record has");
    assert_eq!(&serde_json::to_value(&record).unwrap(), shown);
    assert_eq!(serde_json::from_value::<T>(shown.clone()).unwrap(), record);
    let mut later = shown.clone();
    later["added_by_a_later_version"] = json!({"a": [1, 2]});
    assert_eq!(
        serde_json::from_value::<T>(later).unwrap(),
        record,
        "a later version's member was not passed over"
    );
    let members: Vec<&String> = least.as_object().expect("an object").keys().collect();
    assert_eq!(members.len(), needed.len(), "the least record has members that nobody needs");
    for member in needed {
        let mut without = least.clone();
        without.as_object_mut().expect("an object").remove(*member).expect("it was there");
        assert!(serde_json::from_value::<T>(without).is_err(), "{member} is not missed");
        let mut wrong = least.clone();
        wrong[*member] = json!([[]]);
        assert!(serde_json::from_value::<T>(wrong).is_err(), "{member} is taken whatever it is");
    }
}

#[test]
fn a_machines_record() {
    check::<MachineInfo>(
        json!({"id": "m1", "hostname": "h", "boot_id": "b"}),
        &json!({
            "id": "m1", "hostname": "h", "addresses": [], "metadata": {}, "resources": {"cpus": 0, "memory_bytes": 0},
            "version": "", "boot_id": "b", "since": "",
        }),
        &["id", "hostname", "boot_id"],
    );
    check::<MachineSettings>(json!({}), &json!({}), &[]);
    let cordoned: MachineSettings = serde_json::from_value(json!({"cordon": true})).unwrap();
    assert!(cordoned.cordon && cordoned.metadata.is_empty());
}

#[test]
fn a_units_records() {
    check::<UnitRecord>(
        json!({"hash": "ab", "options": {}, "desired": "loaded", "generation": 3}),
        &json!({"hash": "ab", "options": {}, "desired": "loaded", "generation": 3, "partition": "keep"}),
        &["hash", "options", "desired", "generation"],
    );
    check::<ScheduleRecord>(
        json!({"generation": 7, "reason": "r", "since": "s"}),
        &json!({"machine": null, "generation": 7, "reason": "r", "since": "s", "request": 0}),
        &["generation", "reason", "since"],
    );
    check::<UnitState>(
        json!({"load": "loaded", "active": "active", "sub": "running", "generation": 7}),
        &json!({
            "load": "loaded", "active": "active", "sub": "running", "result": "", "hash": "", "generation": 7,
            "request": 0, "since": "",
        }),
        &["load", "active", "sub", "generation"],
    );
    check::<EngineLease>(
        json!({"holder": "m1", "since": "s"}),
        &json!({"holder": "m1", "since": "s"}),
        &["holder", "since"],
    );
}

#[test]
fn records_of_reboots_and_beats() {
    let since = "2026-01-31T12:00:00Z";
    check::<Holder>(
        json!({"since": since, "boot_id": "b", "reason": "r", "phase": "back"}),
        &json!({"since": since, "boot_id": "b", "reason": "r", "phase": "back"}),
        &["since", "boot_id", "reason", "phase"],
    );
    check::<Request>(json!({"reason": "r"}), &json!({"reason": "r"}), &["reason"]);
    check::<Beat>(
        json!({"since": since, "ttl": 5, "source": "unit"}),
        &json!({"since": since, "ttl": 5, "source": "unit"}),
        &["since", "ttl", "source"],
    );
}

#[test]
fn words_are_shown_as_they_are_written_and_no_other_is_read() {
    fn words<T: Serialize + DeserializeOwned + PartialEq + Debug + std::fmt::Display>(all: &[(T, &str)]) {
        for (value, word) in all {
            assert_eq!(&value.to_string(), word);
            assert_eq!(serde_json::to_value(value).unwrap(), json!(word));
            assert_eq!(&serde_json::from_value::<T>(json!(word)).unwrap(), value);
            assert!(serde_json::from_value::<T>(json!(word.to_uppercase())).is_err(), "{word} in capitals");
            assert_eq!(format!("{value:>20}").len(), 20, "{word} does not line up in a table");
        }
        assert!(serde_json::from_value::<T>(json!("")).is_err());
    }
    words(&[(Desired::Inactive, "inactive"), (Desired::Loaded, "loaded"), (Desired::Launched, "launched")]);
    words(&[(Source::Unit, "unit"), (Source::Command, "command"), (Source::Beat, "beat")]);
    words(&[
        (Phase::WaitingForWindow, "waiting-for-window"),
        (Phase::WaitingForLock, "waiting-for-lock"),
        (Phase::Draining, "draining"),
        (Phase::Leaving, "leaving"),
        (Phase::Back, "back"),
        (Phase::Checking, "checking"),
        (Phase::Releasing, "releasing"),
    ]);
    for (partition, word) in [(Partition::Keep, "keep"), (Partition::Stop, "stop")] {
        assert_eq!(serde_json::to_value(partition).unwrap(), json!(word));
    }
}

fn machine() -> impl Strategy<Value = MachineId> {
    "[a-z0-9][a-z0-9._-]{0,31}".prop_map(|text| text.parse().expect("a machine's id"))
}

fn unit_name() -> impl Strategy<Value = UnitName> {
    "[A-Za-z0-9:_\\\\-][A-Za-z0-9:._\\\\@-]{0,20}\\.(service|timer|socket)"
        .prop_map(|text| text.parse().expect("a unit's name"))
}

proptest! {
    #[test]
    fn every_key_is_taken_apart_as_it_was_put_together(id in machine(), name in unit_name()) {
        prop_assert_eq!(machine_key(&machine_info(&id)), Some((id.clone(), MachineKey::Info)));
        let unit_there = Some((id.clone(), MachineKey::Unit(name.clone())));
        prop_assert_eq!(machine_key(&machine_unit(&id, &name)), unit_there);
        prop_assert_eq!(unit_key(&unit(&name)), Some(name.clone()));
        prop_assert_eq!(unit_key(&schedule(&name)), Some(name.clone()));
        for key in [machine_dir(&id), machine_units(&id), settings(&id), file("abc"), ENGINE_LEASE.into()] {
            prop_assert_eq!(machine_key(&key), None, "{}", key);
            prop_assert_eq!(unit_key(&key), None, "{}", key);
        }
        // What belongs to a machine's presence goes with it.
        let (units, machine) = (machine_units(&id) + "/", machine_dir(&id) + "/");
        prop_assert!(machine_unit(&id, &name).starts_with(&units) && units.starts_with(&machine));
        prop_assert!(machine_info(&id).starts_with(&machine));
        prop_assert!(!settings(&id).starts_with(MACHINES), "settings outlive the presence");
    }

    #[test]
    fn every_heartbeat_is_taken_apart_as_it_was_put_together(id in machine(), unit in unit_name()) {
        let read = unit.as_str().parse::<BeatName>();
        // It would be hidden from listings.
        prop_assert_eq!(read.is_err(), unit.as_str().starts_with('_'), "{}", unit);
        let Ok(name) = read else { return Ok(()) };
        prop_assert_eq!(parse_heartbeat(&heartbeat(&name, &id)), Some((name.clone(), id.clone())));
        prop_assert_eq!(parse_heartbeat(&heartbeats(&name)), None);
        prop_assert_eq!(name.as_str().parse::<BeatName>(), Ok(name.clone()));
    }

    #[test]
    fn no_text_makes_a_reader_of_keys_panic(text in "(/muster)?/(machines|units|schedule|heartbeats)?[/a-z.@]{0,30}") {
        let taken = (machine_key(&text), unit_key(&text), parse_heartbeat(&text));
        if !text.starts_with(ROOT) {
            prop_assert_eq!(taken, (None, None, None));
        }
    }

    #[test]
    fn two_groups_never_share_a_key(one in "[a-z /.%+é]{1,12}", other in "[a-z /.%+é]{1,12}", id in machine()) {
        let (Ok(one), Ok(other)) = (one.parse::<Group>(), other.parse::<Group>()) else { return Ok(()) };
        let keys = |group: &Group| [group.semaphore(), group.holders(), group.requests()];
        prop_assert_eq!(keys(&one) == keys(&other), one == other);
        prop_assert!(keys(&one).iter().zip(keys(&other)).all(|(a, b)| (*a == b) == (one == other)));
        // A name is one component of a key, whatever is in it.
        prop_assert_eq!(one.holders().matches('/').count(), 4);
        prop_assert_eq!(one.holder(&id), format!("{}/{id}", one.holders()));
        prop_assert_eq!(one.request(&id), format!("{}/{id}", one.requests()));
    }

    #[test]
    fn a_request_is_a_reason_or_a_record_and_never_lost(reason in "[^{]{0,30}") {
        let request = Request::parse(&reason).expect("a reason");
        prop_assert_eq!(request.reason.as_str(), reason.trim());
        let written = serde_json::to_string(&request).expect("JSON");
        prop_assert_eq!(Request::parse(&written).expect("a record"), request);
    }

    #[test]
    fn a_moment_is_its_whole_second(seconds in -60_000_000_000i64..200_000_000_000, nanos in 0i32..1_000_000_000, later in 0i64..1_000_000) {
        let at = jiff::Timestamp::new(seconds, nanos).expect("a time");
        let moment = Moment::new(at);
        let text = serde_json::to_string(&moment).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<Moment>(&text).expect("the moment again"), moment);
        prop_assert!(!text.contains('.'), "{}", text);
        let after = jiff::Timestamp::from_second(at.as_second() + later).expect("a time");
        prop_assert_eq!(moment.seconds_until(after), later.unsigned_abs());
        prop_assert_eq!(Moment::new(after).seconds_until(at), 0);
    }
}

#[test]
fn the_default_group_is_locksmiths() {
    let group = Group::default();
    assert_eq!(group.to_string(), "default");
    assert_eq!(group.semaphore(), "/coreos.com/updateengine/rebootlock/semaphore");
    assert_eq!("default".parse(), Ok(group));
}
