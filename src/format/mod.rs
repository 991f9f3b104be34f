//! How everything that outlives a version is written down: the log, snapshots, backups, the data folder and what
//! members say to each other. Bytes in, values out; no files and no sockets.
//!
//! - A [`Version`] is a series of releases, `0.1`. It says what is *in* something: which kinds, which fields.
//!   The cluster's version is the lowest that all members can do, and nothing newer is written before it is reached.
//! - A file begins with a [`FirstLine`]: what it is, the number of its form, and the version that its reader must know.
//! - A record is a length, a kind and the fields of that kind (see [`record`]). A kind is the place of a variant in its
//!   enum, so new ones go to the end. An unknown kind is known as such.
//! - Fields are in postcard's form, one behind the other. New ones go to the end of their record, with
//!   `#[serde(default, skip_serializing_if = …)]` on them: the default is for records of earlier versions, and the
//!   condition, made of [`is_written_before`], leaves them out of what is written for those. Fields that are left over
//!   are of a later version and are refused.
//! - That goes for the outermost struct or variant only: inside of it nothing says where a struct ends. One that may grow
//!   there is made `extendable!`, which writes its length before it. All others stay as they are for ever.

mod fields;
mod line;
mod nested;
mod next;
pub mod record;
mod version;

pub use fields::{Fields, Unreadable, decode, decode_with, encode};
pub use line::{FirstLine, Unusable};
pub(crate) use nested::extendable;
pub use nested::{read_nested, write_nested};
pub use next::highest;
#[cfg(debug_assertions)]
pub use next::{VERSION as NEXT, is_before_next, remark};
pub use version::{CURRENT, LOWEST, Version, is_written_before, written_as};
