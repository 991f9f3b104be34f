//! Watches that go on where they were broken off, and copies of directories that follow one.

mod mirror;
mod stream;

pub use mirror::{Mirror, tree};
pub use stream::{RENEWAL, Watch};
