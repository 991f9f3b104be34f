//! Which machine a command stands for when nobody says.

use super::Failure;
use crate::ids::MachineId;

const MACHINE_ID: &str = "/etc/machine-id";

/// `given`, or this machine's id (machine-id(5)).
pub(super) fn or_this(given: Option<MachineId>) -> Result<MachineId, Failure> {
    if let Some(id) = given {
        return Ok(id);
    }
    let hint = "give --machine ID";
    let text = std::fs::read_to_string(MACHINE_ID)
        .map_err(|e| Failure::new(format!("cannot read {MACHINE_ID}: {e}; {hint}")))?;
    text.trim().parse().map_err(|e| Failure::new(format!("{MACHINE_ID}: {e}; {hint}")))
}
