//! What is done to the nodes, and in which order.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::chance::Chance;
use super::cluster::Cluster;
use super::folders;
use super::network::Loss;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL to any node.
    Kill,
    /// SIGKILL to the leader.
    KillLeader,
    /// SIGKILL to all nodes at once.
    KillAll,
    /// SIGTERM to the leader, which hands over first.
    EndLeader,
    /// SIGSTOP to any node, for a while.
    Pause,
    /// SIGSTOP to the leader, for a while.
    PauseLeader,
    /// Nothing passes between one node and the others.
    CutOff,
    /// Nothing passes between the leader and the others.
    CutOffLeader,
    /// A node hears the others, but they do not hear it; or the other way round.
    OneWay,
    /// The leader is not heard by the others, or does not hear them.
    OneWayLeader,
    /// Every node sees a majority, and no two the same.
    Ring,
    /// Packets are lost.
    Lossy,
    /// A node gets its packets late.
    Slow,
    /// A wall clock jumps by hours.
    Clock,
    /// All wall clocks jump, each by its own hours.
    Clocks,
    /// The disk of a node takes nothing more, and the node ends.
    Disk,
    /// A member is removed; it joins anew with an empty folder.
    Member,
    /// The folder of a node is emptied; refused, it is removed and joins anew.
    Empty,
    /// The folder of a node is replaced by an older copy of itself; refused, it is removed and joins anew.
    OldCopy,
    /// The folders of two nodes are gone at once; both are refused, one gets its own back, the other joins anew.
    TwoEmpty,
}

const ALL: [Fault; 20] = [
    Fault::Kill,
    Fault::KillLeader,
    Fault::KillAll,
    Fault::EndLeader,
    Fault::Pause,
    Fault::PauseLeader,
    Fault::CutOff,
    Fault::CutOffLeader,
    Fault::OneWay,
    Fault::OneWayLeader,
    Fault::Ring,
    Fault::Lossy,
    Fault::Slow,
    Fault::Clock,
    Fault::Clocks,
    Fault::Disk,
    Fault::Member,
    Fault::Empty,
    Fault::OldCopy,
    Fault::TwoEmpty,
];

/// The torturer.
pub struct Nemesis {
    chance: Chance,
    /// Still to come before all kinds begin anew.
    coming: Vec<Fault>,
    /// What does not pass at present.
    losses: Vec<Loss>,
    /// How often each was done.
    pub done: BTreeMap<Fault, usize>,
}

impl Nemesis {
    pub fn new(chance: Chance) -> Self {
        Self { chance, coming: Vec::new(), losses: Vec::new(), done: BTreeMap::new() }
    }

    /// Does one thing, at times two at once, waits, and undoes it. Tells what it does.
    ///
    /// # Errors
    /// A node ended that had no reason to.
    pub fn strike(&mut self, cluster: &mut Cluster, tell: impl Fn(&str)) -> Result<(), String> {
        let faults = if self.chance.percent(25) { 2 } else { 1 };
        for _ in 0..faults {
            let fault = self.next(cluster);
            let what = self.inflict(fault, cluster);
            tell(&what);
            *self.done.entry(fault).or_default() += 1;
        }
        let most = if self.chance.percent(20) { 5000 } else { 1500 };
        std::thread::sleep(self.chance.between(Duration::from_millis(100), Duration::from_millis(most)));
        folders::see_refused(cluster)?;
        cluster.heal()?;
        self.losses.clear();
        tell("healed");
        std::thread::sleep(self.chance.between(Duration::from_millis(200), Duration::from_millis(1500)));
        Ok(())
    }

    fn next(&mut self, cluster: &Cluster) -> Fault {
        if self.coming.is_empty() {
            self.coming = ALL.to_vec();
            if !cluster.has_faketime() {
                self.coming.retain(|fault| !matches!(fault, Fault::Clock | Fault::Clocks));
            }
            self.chance.shuffle(&mut self.coming);
        }
        self.coming.pop().expect("it was filled")
    }

    fn inflict(&mut self, fault: Fault, cluster: &mut Cluster) -> String {
        let any = self.chance.below(cluster.count());
        let leader = || cluster.leader().unwrap_or(any);
        let node = match fault {
            Fault::KillLeader
            | Fault::EndLeader
            | Fault::PauseLeader
            | Fault::CutOffLeader
            | Fault::OneWayLeader => leader(),
            _ => any,
        };
        match fault {
            Fault::Kill | Fault::KillLeader => cluster.kill(node),
            Fault::KillAll => (0..cluster.count()).for_each(|node| cluster.kill(node)),
            Fault::EndLeader => end(cluster, node),
            Fault::Pause | Fault::PauseLeader => cluster.pause(node, true),
            Fault::CutOff | Fault::CutOffLeader => {
                self.cut(cluster, around(cluster, node, true));
                self.cut(cluster, around(cluster, node, false));
            }
            Fault::OneWay | Fault::OneWayLeader => {
                let from = self.chance.percent(50);
                self.cut(cluster, around(cluster, node, from));
            }
            Fault::Ring => self.cut(cluster, ring(cluster.count(), node)),
            Fault::Lossy => {
                let percent = 5 + u32::try_from(self.chance.below(30)).expect("a small number");
                let losses: Vec<Loss> =
                    (0..cluster.count()).flat_map(|node| around(cluster, node, true)).collect();
                let thin = |loss: Loss| Loss { percent, ..loss };
                self.cut(cluster, losses.into_iter().map(thin).collect());
            }
            Fault::Slow => cluster.network.limit(node, Some(200)),
            Fault::Clock => cluster.shift_clock(node, self.hours()),
            Fault::Clocks => (0..cluster.count()).for_each(|node| cluster.shift_clock(node, self.hours())),
            Fault::Disk => cluster.spoil_disk(node),
            Fault::Member => cluster.remove_member(node),
            Fault::Empty => folders::empty(cluster, node),
            Fault::OldCopy => folders::older_copy(cluster, node),
            Fault::TwoEmpty => folders::empty_two(cluster, node),
        }
        format!("{fault:?} n{node}")
    }

    /// This does not pass from now on, either.
    fn cut(&mut self, cluster: &Cluster, losses: Vec<Loss>) {
        self.losses.extend(losses);
        cluster.network.drop_packets(&self.losses);
    }

    /// Up to 12 hours forth or back, in seconds.
    fn hours(&mut self) -> i64 {
        let seconds = i64::try_from(self.chance.below(24 * 3600)).expect("a small number");
        seconds - 12 * 3600
    }
}

/// A paused node cannot be asked to end.
fn end(cluster: &mut Cluster, node: usize) {
    if cluster.nodes[node].paused {
        cluster.pause(node, false);
    }
    cluster.signal(node, Signal::SIGCONT);
    cluster.terminate(node);
}

/// All that goes from a node, or to it.
fn around(cluster: &Cluster, node: usize, from: bool) -> Vec<Loss> {
    let others = (0..cluster.count()).filter(|other| *other != node);
    let loss = |other| match from {
        true => Loss { from: node, to: other, percent: 100 },
        false => Loss { from: other, to: node, percent: 100 },
    };
    others.map(loss).collect()
}

/// Of three, two do not see each other; of five, each sees its two neighbours alone.
fn ring(count: usize, start: usize) -> Vec<Loss> {
    let mut losses = Vec::new();
    for a in 0..count {
        for b in 0..count {
            let apart = a.abs_diff(b).min(count - a.abs_diff(b));
            let cut = if count == 3 { a != b && a != start && b != start } else { apart > count / 4 };
            if cut && a != b {
                losses.push(Loss { from: a, to: b, percent: 100 });
            }
        }
    }
    losses
}
