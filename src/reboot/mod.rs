//! The reboot coordinator: no more machines of a group are away at once than its lock allows, and none gives the lock
//! back before it is well again.
//!
//! [`semaphore`], [`lifecycle`], [`gate`] and [`sentinel`] decide, on plain data. [`lock`] and [`records`] keep what they decide on in
//! the store, [`survey`] and [`host`] find out how the store's members and this machine are, and the [`Driver`] goes
//! from one to the other.

mod driver;
mod error;
pub mod gate;
pub mod host;
pub mod lifecycle;
pub mod lock;
pub mod overview;
pub mod records;
pub mod semaphore;
pub mod sentinel;
pub mod survey;

pub use driver::Driver;
pub use error::RebootError;
