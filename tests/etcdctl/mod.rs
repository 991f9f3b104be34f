//! The tables of command lines.

mod alone;
mod four;
mod keys;
mod members;
mod people;
mod srv;
mod watches;
