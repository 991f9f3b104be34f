//! Which machine a command stands for when nobody says.

use crate::agent::facts;
use crate::cli::Failure;
use crate::ids::MachineId;

/// `given`, or this machine's id (machine-id(5)).
pub(in crate::cli) fn or_this(given: Option<MachineId>) -> Result<MachineId, Failure> {
    match given {
        Some(id) => Ok(id),
        None => facts::machine_id()
            .map_err(|error| Failure::new(format!("this machine's id: {error}; give the id of a machine"))),
    }
}
