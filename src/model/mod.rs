//! Where the helpers' records lie in the store, and what they look like. Values are JSON, meant to be read and
//! written by hand with `muster kv` as well.

pub mod beat;
pub mod claim;
pub mod lookup;
pub mod machine;
mod moment;
pub mod options;
pub mod reboot;
pub mod tree;
pub mod unit;
pub mod unitfile;
pub mod vital;

pub use moment::Moment;

use crate::ids::{MachineId, UnitName};

/// The folder of everything that Muster's helpers keep, except locksmith's semaphores.
pub const ROOT: &str = "/muster";

/// Folder with one folder per present machine.
pub const MACHINES: &str = "/muster/machines";

/// Folder with one record per unit that users want known to the cluster.
pub const UNITS: &str = "/muster/units";

/// Folder of unit texts by hash.
pub const FILES: &str = "/muster/files";

/// Folder of the engine's placements.
pub const SCHEDULE: &str = "/muster/schedule";

/// Who holds the scheduling engine's lease.
pub const ENGINE_LEASE: &str = "/muster/lease/engine";

/// Folder of what users set on a machine at run time; outlives the machine's presence.
pub const SETTINGS: &str = "/muster/settings";

/// Folder of notes of machines that were refused because another has their id.
pub const DUPLICATES: &str = "/muster/refused";

/// Folder of what services say of themselves.
pub const HEARTBEATS: &str = "/muster/heartbeats";

/// Folder of the reboot coordinator's own records.
pub const REBOOT: &str = "/muster/reboot";

/// Locksmith's folder: the default group's document is `semaphore` in it.
pub const REBOOT_LOCK: &str = "/coreos.com/updateengine/rebootlock";

/// A machine's presence: a directory with a TTL; everything below lives as long as it does.
pub fn machine_dir(id: &MachineId) -> String {
    format!("{MACHINES}/{id}")
}

/// What a machine says of itself.
pub fn machine_info(id: &MachineId) -> String {
    format!("{MACHINES}/{id}/info")
}

/// The state of one unit on one machine.
pub fn machine_unit(id: &MachineId, unit: &UnitName) -> String {
    format!("{MACHINES}/{id}/units/{unit}")
}

/// Folder of the states of a machine's units.
pub fn machine_units(id: &MachineId) -> String {
    format!("{MACHINES}/{id}/units")
}

/// A unit's desired state.
pub fn unit(name: &UnitName) -> String {
    format!("{UNITS}/{name}")
}

/// A unit's text, by the hash of it.
pub fn file(hash: &str) -> String {
    format!("{FILES}/{hash}")
}

/// A unit's placement.
pub fn schedule(name: &UnitName) -> String {
    format!("{SCHEDULE}/{name}")
}

/// Settings of one machine.
pub fn settings(id: &MachineId) -> String {
    format!("{SETTINGS}/{id}")
}

/// The machine whose settings a key in [`SETTINGS`] holds.
pub fn settings_key(key: &str) -> Option<MachineId> {
    key.strip_prefix(SETTINGS)?.strip_prefix('/')?.parse().ok()
}

/// The note of a machine that was refused with the id `id` while it ran under the boot `boot_id`.
pub fn refusal(id: &MachineId, boot_id: &str) -> String {
    debug_assert!(!boot_id.contains('/'), "{boot_id} is no single component of a key");
    format!("{DUPLICATES}/{id}/{boot_id}")
}

/// The machine id that a key in [`DUPLICATES`] is about.
pub fn refusal_key(key: &str) -> Option<MachineId> {
    let (id, _) = key.strip_prefix(DUPLICATES)?.strip_prefix('/')?.split_once('/')?;
    id.parse().ok()
}

/// What a key below a machine's folder is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MachineKey {
    /// What the machine says of itself.
    Info,
    /// The state of a unit there.
    Unit(UnitName),
}

/// Takes a key below [`MACHINES`] apart; `None` for those that are no concern of the scheduler.
pub fn machine_key(key: &str) -> Option<(MachineId, MachineKey)> {
    let mut parts = key.strip_prefix(MACHINES)?.strip_prefix('/')?.split('/');
    let id = parts.next()?.parse().ok()?;
    let what = match (parts.next()?, parts.next(), parts.next()) {
        ("info", None, None) => MachineKey::Info,
        ("units", Some(unit), None) => MachineKey::Unit(unit.parse().ok()?),
        _ => return None,
    };
    Some((id, what))
}

/// The unit that a key in [`UNITS`] or [`SCHEDULE`] is about.
pub fn unit_key(key: &str) -> Option<UnitName> {
    let name = key.strip_prefix(UNITS).or_else(|| key.strip_prefix(SCHEDULE))?;
    name.strip_prefix('/')?.parse().ok()
}

#[cfg(test)]
mod records_test;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_taken_apart_as_they_are_put_together() {
        let (id, name): (MachineId, UnitName) = ("m1".parse().unwrap(), "a@1.service".parse().unwrap());
        assert_eq!(machine_key(&machine_info(&id)), Some((id.clone(), MachineKey::Info)));
        assert_eq!(
            machine_key(&machine_unit(&id, &name)),
            Some((id.clone(), MachineKey::Unit(name.clone())))
        );
        assert_eq!(unit_key(&unit(&name)), Some(name.clone()));
        assert_eq!(unit_key(&schedule(&name)), Some(name));
        assert_eq!(settings_key(&settings(&id)), Some(id.clone()));
        assert_eq!(refusal_key(&refusal(&id, "boot")), Some(id));
        assert_eq!(machine_key("/muster/machines/m1/beats/a.service"), None);
        assert_eq!(unit_key("/muster/units/not-a-unit"), None);
    }

    #[test]
    fn notes_of_refused_machines_lie_below_the_id_that_they_wanted() {
        let id: MachineId = "8cd4acaff41c4de68c0a81e5d0070daa".parse().unwrap();
        let key = refusal(&id, "8e1e9d5c-bf1a-4f7e-8a6e-0c4c8a6f2a11");
        assert_eq!(refusal_key(&key), Some(id.clone()));
        assert_eq!(machine_key(&key), None, "it is not taken for a machine's own");
        let short = key.rsplit_once('/').unwrap().0;
        for other in [short, DUPLICATES, "/muster", "/", "", &format!("{DUPLICATES}//x")] {
            assert_eq!(refusal_key(other), None, "{other}");
        }
    }
}
