//! The link `etcdctl` and the commands that `muster kv` shares with it, beyond what etcdctl itself does.

mod common;
mod link;
