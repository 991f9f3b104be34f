//! The reboot coordinator: no more machines of a group are away at once than its lock allows, and none gives the lock
//! back before it is well again.

pub mod gate;
pub mod lifecycle;
pub mod semaphore;
