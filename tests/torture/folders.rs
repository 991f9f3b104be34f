//! What is done to data folders, and how a member comes back that was refused for it: as `members.md` says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Stopwatch;
use super::cluster::Cluster;

/// With this a node ends that was removed from its cluster.
const REMOVED: i32 = 3;

/// With this a node ends whose data folder is not the one that its cluster knows.
const DISMISSED: i32 = 4;

/// How long a node with a folder that is not its own may take to find that out, while all others run.
const REFUSAL_LIMIT: Duration = Duration::from_secs(60);

/// The folder of a node is emptied while it does not run; it starts again as ever.
pub fn empty(cluster: &mut Cluster, node: usize) {
    if let Some(kept) = take(cluster, node) {
        std::fs::remove_dir_all(kept).expect("the folder that was lost");
        start_refused(cluster, node);
    }
}

/// The folder of a node is replaced by a copy that was made before its newest run.
pub fn older_copy(cluster: &mut Cluster, node: usize) {
    if !make_well(cluster) {
        return;
    }
    let copy = cluster.data(node).with_extension("copy");
    cluster.kill(node);
    let status = Command::new("cp").arg("-a").arg(cluster.data(node)).arg(&copy).status().expect("cp");
    assert!(status.success(), "cp of the folder of n{node}");
    cluster.launch(node);
    cluster.wait_until_healthy();
    match take(cluster, node) {
        Some(kept) => {
            std::fs::remove_dir_all(kept).expect("the newer folder");
            std::fs::rename(&copy, cluster.data(node)).expect("the older copy");
            start_refused(cluster, node);
        }
        None => std::fs::remove_dir_all(copy).expect("the older copy"),
    }
}

/// The folders of two nodes are gone at once. Of three nodes, no majority is left: both must be refused, or they would
/// found a cluster of their own. Then the first gets its folder back.
pub fn empty_two(cluster: &mut Cluster, node: usize) {
    let other = (node + 1) % cluster.count();
    let Some(kept) = take(cluster, node) else { return };
    cluster.kill(other);
    let lost = cluster.data(other).with_extension("lost");
    std::fs::rename(cluster.data(other), &lost).expect("a folder");
    start_refused(cluster, node);
    start_refused(cluster, other);
    for node in [node, other] {
        wait_refused(cluster, node).unwrap_or_else(|why| panic!("{why}"));
    }
    cluster.kill(node);
    // It was refused before it had anything.
    remove(&cluster.data(node));
    std::fs::rename(kept, cluster.data(node)).expect("the folder comes back");
    cluster.nodes[node].refused = false;
    cluster.launch(node);
    std::fs::remove_dir_all(lost).expect("the folder that was lost");
}

/// Waits until whoever must be refused was, and has it removed and start anew.
///
/// # Errors
/// One was taken back, or ended for another reason.
pub fn see_refused(cluster: &mut Cluster) -> Result<(), String> {
    if !cluster.nodes.iter().any(|node| node.refused) {
        return Ok(());
    }
    // The others must be there for it: two faults may come at once.
    cluster.heal()?;
    for node in 0..cluster.count() {
        if cluster.nodes[node].refused {
            wait_refused(cluster, node)?;
            cluster.leave(node)?;
        }
    }
    Ok(())
}

/// Waits for the end of a node whose folder is not its own.
fn wait_refused(cluster: &mut Cluster, node: usize) -> Result<(), String> {
    let mut watch = Stopwatch::start();
    loop {
        // Another fault may have ended it.
        if !cluster.is_started(node) {
            cluster.launch(node);
        }
        match cluster.ended(node) {
            Some(DISMISSED) => return Ok(()),
            Some(REMOVED) if cluster.nodes[node].may_leave => return Ok(()),
            Some(other) => {
                return Err(format!(
                    "n{node} ended with {other} and not {DISMISSED}:\n{}",
                    cluster.tail(node, 15)
                ));
            }
            None if watch.passed() > REFUSAL_LIMIT => {
                let tail = cluster.tail(node, 15);
                return Err(format!("n{node} goes on with a folder that is not its own:\n{tail}"));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Sees to it that all run and answer: otherwise those that know of a folder may be away, and nobody could tell. `false`
/// when one of them is on its way out.
fn make_well(cluster: &mut Cluster) -> bool {
    if cluster.nodes.iter().any(|node| node.refused || node.may_leave) || cluster.heal().is_err() {
        return false;
    }
    cluster.wait_until_healthy();
    true
}

/// Takes the folder of a node away, when all are well.
fn take(cluster: &mut Cluster, node: usize) -> Option<PathBuf> {
    if !make_well(cluster) {
        return None;
    }
    cluster.kill(node);
    let kept = cluster.data(node).with_extension("kept");
    std::fs::rename(cluster.data(node), &kept).expect("a folder");
    Some(kept)
}

fn start_refused(cluster: &mut Cluster, node: usize) {
    cluster.nodes[node].refused = true;
    cluster.launch(node);
}

fn remove(folder: &Path) {
    if folder.exists() {
        std::fs::remove_dir_all(folder).expect("a folder");
    }
}
