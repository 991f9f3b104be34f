//! The tables of command lines.

mod alone;
mod four;
mod keys;
mod people;
mod watches;
