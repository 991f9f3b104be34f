//! Debian's etcdctl and the link of that name, each against a node of ours and against a real etcd: the same standard
//! output and exit status from all four. Every pair has a server of its own, so that each starts from the same state.

mod common;
mod etcdctl;
