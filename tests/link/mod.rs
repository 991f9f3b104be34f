//! What etcdctl cannot be compared with.

mod copies;
mod dialogue;
mod imports;
mod signals;
mod tool;
mod ways;
