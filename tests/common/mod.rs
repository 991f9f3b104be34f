//! What several test programs share.

// Each test program uses a part of it.
#[allow(dead_code)]
pub mod etcd;
