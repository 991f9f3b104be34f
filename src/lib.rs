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
//! | module | job | pure |
//! |---|---|---|
//! | [`cli`] | the command line: parses, calls, prints; one file or folder for each group of commands, `etcd` and `etcdctl` for the links of those names, `terminal` for what all share | |
//! | [`agent`] | this machine: presence, facts, units. `desired`, `host` and [`agent::steps`] say what is to be done, [`agent::driver`] does it | `desired`, `host`, `steps` |
//! | [`schedule`] | which unit runs where. [`schedule::plan()`] says it from a `cluster`, `fit` and `reason`; [`schedule::Engine`] holds the `lease`, watches its `contact` with the store, and writes | `cluster`, `fit`, `plan`, `reason` |
//! | [`reboot`] | the reboot lock and a machine's way through a reboot. `semaphore`, `lifecycle`, `gate` and `sentinel` decide, `driver` does | `semaphore`, `lifecycle`, `gate`, `sentinel` |
//! | [`heartbeat`] | keys that somebody keeps alive (`pulse`, `supervise`), and who is lost or back (`tracker`, `watch`) | `tracker` |
//! | [`claim`] | whose a machine id is, by the presence in the store: `agent`, the engine and `reboot` ask before they act under it; `model::claim` judges | |
//! | [`client`] | HTTP client of an etcd v2 API: `endpoints` (who is asked, fail-over), `watch` (streams that resume, directories that are followed), `api` (users, members, backups, directories) | |
//! | [`systemd`] | systemd and logind over D-Bus; readiness messages | |
//! | [`model`] | where the helpers' records lie in the store, and what they look like; unit files; a directory's copy as a tree | all |
//! | [`store`] | one node: writes (`propose`, `pending`), reads, `watch`, `members`, `bootstrap` (discovery, founding, joining), `backup`, limits, metrics | |
//! | [`store::http`] | its HTTP API: `router` and `routes` to `pages`, `server` (connections, one exchange, watches), `go` (what Go's libraries do to forms, URLs, JSON and paths), `guard` (who may) | |
//! | [`raft`] | openraft: `log` (write-ahead log, watermark, compaction), `state` (state machine, sessions, snapshots), `peer` (wire, channels, both ends), `membership` (plan, progress, reconciliation, joining, removal), `offline` (data folders at rest); the node, its identity and tasks | `membership/plan` |
//! | [`keyspace`] | the replicated state machine: `command` and `ops` on the `tree`, `history` and events, `auth` (users and roles), `members`, `backup` (records checked, framed, restored) | all |
//! | [`format`](mod@format) | how what outlives a version is written: versions, first lines of files, records that grow | all |
//! | [`clock`] | time as data; the cluster clock; the one reader of the wall clock | |
//! | [`config`] | settings from files, environment and flags; `store` has a folder of its own | |
//! | [`chain`](mod@chain) | an error with its causes on one line, for people | |
//! | [`repeats`] | what would be logged again and again is said once, and then how often | |
//! | [`ids`] | names from outside, parsed once | all |
//!
//! A folder's `mod.rs` is its door: it says what the folder is about and hands on what others may use.
//!
//! # What is absent where
//!
//! `tests/layout.rs` reads the sources and checks the first seven.
//!
//! - Pure rooms name no runtime, disk, bus, clock, socket, and no collection whose order depends on a hash.
//! - `openraft` and `sled` are named only in `raft`, `warp` only in `store::http`, `zbus` only in `systemd`, `reqwest`
//!   and `hickory_resolver` only in `client`.
//! - Helpers never use `store`, `raft` or `keyspace`.
//! - Dependencies never point up: `cli` > `agent` > `schedule`; `cli` > {`schedule`, `reboot`, `heartbeat`} > {`client`,
//!   `systemd`} > `config` > `model` > `ids`; `store` > `raft` > `keyspace` > `format`. `clock` is below all that show or keep time.
//!   `store` stands above `client` as well, because a node without data finds its cluster as a client of others.
//! - `claim` stands between `agent`, `schedule` and `reboot` and the client.
//! - No files use each other in a circle.
//! - The wall clock is read in `clock` alone. It is shown, and nothing is decided by it.
//! - No lock that a panic has poisoned is passed over.
//! - The keyspace never reads a clock: the leader stamps each entry, and the stamp alone moves time.
//! - Nothing is acknowledged before it is flushed, and no damage on disk is passed over.
//! - No decision of a helper rests on a read that may be old, on wall time, or on the absence of something that could
//!   not be read: losing the store is not losing the machines.
//! - Every write of a helper that others could make as well carries a condition on what was read.
//!
//! # Four flows
//!
//! **PUT.** [`store::http`] parses the request, which needs none of warp's filters when it is for a key, to a [`keyspace::Command`]. [`store::Store::propose`] puts it into a batch,
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
pub mod chain;
pub mod claim;
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
pub mod repeats;
pub mod schedule;
pub mod store;
pub mod systemd;
