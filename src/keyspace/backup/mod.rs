//! Copies of the whole keyspace: their form, what they must hold, and what replaces the keyspace by one.

mod check;
mod format;
pub mod frame;
mod outdated;
mod restore;
mod step;

pub use check::{Check, Counts, Misplaced};
pub use format::{BackupError, FRAME_LIMIT, Info, Reader, Summary, Writer, records};
pub use outdated::Outdated;
pub use restore::Staging;
pub use step::{Digest, Restore, RestoreError, Restored, Staged};
