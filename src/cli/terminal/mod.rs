//! What the commands share: printing, tables, lengths of time, passwords, signals, the machines that people name, folders
//! of the store as a whole.

#[macro_use]
pub mod say;

pub mod machines;
pub mod password;
pub mod signals;
pub mod table;
pub mod this_machine;
pub mod tree;
