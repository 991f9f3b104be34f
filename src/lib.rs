//! Muster coordinates a group of Linux machines through systemd: a replicated key-value store that speaks the etcd v2
//! API, a scheduler for systemd units, a reboot coordinator and heartbeats. This page is the map.
//!
//! # Bird's-eye view
//!
//! One binary, four kinds of daemons. `muster store` is a node of the store: Raft (openraft), HTTP (warp) for
//! clients. The other three are *helpers*: `muster agent` (presence, units, scheduling), `muster rebootd` (reboots) and
//! `muster heartbeat`. They are clients of the store's public HTTP API and of nothing else, so they run on machines
//! without a node and against etcd, and each is restarted alone. They meet in the store: one writes a key, another
//! watches it. All other commands read and write those keys for people.
//!
//! Whatever decides is a pure function or a value moved by events; beside it stands a driver that reads, asks it, and
//! does what it says. Nothing that Muster does to itself (ending, crashing, losing the store) stops a user's unit.
//!
//! # Code map
//!
//! | module | job | |
//! |---|---|---|
//! | [`cli`] | the command line: parses, calls, prints; one file for each group of commands | |
//! | [`agent`] | this machine: presence, units; [`agent::steps`] decides, [`agent::driver`] acts | `steps` is pure |
//! | [`schedule`] | which unit runs where: [`schedule::plan()`] decides, [`schedule::Engine`] holds the lease and writes | `plan` is pure |
//! | [`reboot`] | the reboot lock and a machine's way through a reboot | `semaphore`, `lifecycle`, `gate` are pure |
//! | [`heartbeat`] | keys that somebody keeps alive, and who is lost or back | `tracker` is pure |
//! | [`client`] | HTTP client of an etcd v2 API: fail-over, watches that resume, copies of folders that follow | |
//! | [`systemd`] | systemd and logind over D-Bus; readiness messages | |
//! | [`model`] | where the helpers' records lie in the store, and what they look like | pure |
//! | [`store`] | one node: writes, reads, watches, members, discovery, backups, limits; the HTTP API below [`store::http`] | |
//! | [`raft`] | openraft over a write-ahead log and over connections between members; membership, snapshots; the identity in sled | |
//! | [`keyspace`] | the replicated state machine: tree, history, deadlines, users and roles, the list of members | pure |
//! | [`format`](mod@format) | how what outlives a version is written: versions, first lines of files, records that grow | pure |
//! | [`clock`] | time as data; the cluster clock | |
//! | [`config`] | settings from files, environment and flags | |
//! | [`ids`] | names from outside, parsed once | pure |
//!
//! # What is absent where
//!
//! `tests/layout.rs` reads the sources and checks the first four.
//!
//! - Pure rooms name no runtime, disk, bus, clock, socket, and no collection whose order depends on a hash.
//! - `openraft` and `sled` are named only in `raft`, `warp` only in `store::http`, `zbus` only in `systemd`, `reqwest`
//!   and `hickory_resolver` only in `client`.
//! - Helpers never use `store`, `raft` or `keyspace`.
//! - Dependencies never point up: `cli` > {`agent`, `schedule`, `reboot`, `heartbeat`} > {`client`, `systemd`, `model`}
//!   > {`config`, `ids`}, and `store` > `raft` > `keyspace` > {`clock`, `format`}. `agent` stands above `schedule`.
//! - `store` stands above `client` as well, because a node without data finds its cluster as a client of others.
//! - The keyspace never reads a clock: the leader stamps each entry, and the stamp alone moves time.
//! - Nothing is acknowledged before it is flushed, and no damage on disk is passed over.
//! - No decision of a helper rests on a read that may be old, on wall time, or on the absence of something that could
//!   not be read: losing the store is not losing the machines.
//! - Every write of a helper that others could make as well carries a condition on what was read.
//!
//! # Four flows
//!
//! **PUT.** [`store::http`] parses the request to a [`keyspace::Command`]. [`store::Store::propose`] puts it into a batch,
//! which goes to the leader, is stamped there and becomes one entry of the log. openraft replicates it; each member
//! appends and flushes it on its disk thread. Once a majority has, every member applies it with
//! [`keyspace::Keyspace::apply`]. The change goes into the history and to the watchers of that member; on the member
//! that was asked, it is also the answer.
//!
//! **Unit start.** `muster unit start` writes the text and the record with the wish `launched` and a new generation. The
//! machine that holds the engine's lease hears of it, asks [`schedule::plan()`] and writes the placement, on condition
//! that nobody else has. The agent of that machine hears of the placement, asks [`agent::steps::steps`], writes and links the
//! file and has systemd start it over D-Bus. `JobRemoved` ends the job; the unit's state and the generations that were
//! acted on go to the store, where the command waits for them.
//!
//! **Reboot.** `muster reboot request` writes a request. The machine's `rebootd` writes its record and waits until the
//! lock has a free slot and the store can spare its member, takes the slot by compare-and-swap, looks at everything once
//! more and asks logind. After the boot it finds its record with another boot id, waits until systemd and the member are
//! well, and removes request, slot and record.
//!
//! **Heartbeat.** A beat refreshes a key's TTL, which moves a deadline and wakes nobody. When a deadline comes, the leader
//! proposes expiry; every member drops the key at the same entry and tells its watchers. Presence of machines is the same
//! thing with a directory: when it expires, the engine places that machine's units anew.

pub mod agent;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod format;
pub mod heartbeat;
pub mod ids;
pub mod keyspace;
pub mod model;
pub mod raft;
pub mod reboot;
pub mod schedule;
pub mod store;
pub mod systemd;
