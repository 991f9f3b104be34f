//! Where the work of a node is done.

use tokio::runtime::Handle;

/// Where a node's tasks run, beside raft's.
#[derive(Clone, Debug)]
pub struct Threads {
    /// Client connections.
    pub clients: Handle,
    /// Watches that wait, so that telling thousands of them holds up nobody else's answer.
    pub watchers: Handle,
    /// Large answers, which are rendered and sent where they hold up nobody else's; best at a low priority:
    /// [`give_way`](crate::raft::give_way).
    pub answers: Handle,
}
