//! What every command shares at the terminal: printing, tables, lengths of time, passwords, signals.

#[macro_use]
pub mod say;

pub mod machines;
pub mod password;
pub mod signals;
pub mod table;
pub mod this_machine;
