//! How much room a node's data may take on disk, and what follows from that: when a snapshot is due, how much of the log
//! is kept, and when writers have to wait. Decides and never acts.
//!
//! Log and snapshots together take at most three times the live data and a base. Two snapshots are there while one
//! replaces the other, three while an older one is still being sent to a member that is slow; the log has what they
//! leave. How much of the history a snapshot takes along is a share of the base, so that a few keys that are written
//! again and again do not make it many times as large as what they hold.

/// The base in bytes.
const BASE_BYTES: u64 = 512 << 20;

/// About what a key takes in a snapshot beside itself and its value, in bytes.
const KEY_BYTES: u64 = 16;

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    base: u64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { base: super::faults::disk_base().unwrap_or(BASE_BYTES) }
    }
}

/// How things stand on the disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Of the live data.
    pub live: u64,
    /// Of all whole snapshots.
    pub whole: u64,
    /// Of all unfinished ones, written here or sent by another.
    pub unfinished: u64,
    /// Of the newest whole snapshot.
    pub newest: u64,
    /// Of the log's files.
    pub log: u64,
    /// Of the entries that the newest snapshot has.
    pub covered: u64,
    /// Of the entries that have been applied and are in no snapshot.
    pub uncovered: u64,
    /// Of the entries that have not been applied.
    pub unapplied: u64,
    /// Of one segment of the log.
    pub segment: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// A snapshot is due.
    pub snapshot: bool,
    /// It must not take its time.
    pub hurry: bool,
    /// The newest entries that the snapshot has may stay, as far as they take so many bytes; `None` when all may.
    pub keep: Option<u64>,
    /// While the log's files take more than this, writers wait.
    pub limit: u64,
    /// Older snapshots that are still being sent take too much room.
    pub crowded: bool,
}

impl Budget {
    /// What the live data take when there are `keys` keys and they and their values have `bytes` bytes.
    pub fn live(keys: u64, bytes: u64) -> u64 {
        bytes + keys * KEY_BYTES
    }

    /// What log and snapshots may take together beside `live` bytes of live data.
    pub fn total(self, live: u64) -> u64 {
        3 * live + self.base
    }

    /// How much of the history goes into a snapshot, in bytes.
    pub fn history(self) -> u64 {
        self.base / 8
    }

    /// What is to be done as things stand.
    pub fn judge(self, standing: &Standing) -> Verdict {
        let Standing { live, whole, unfinished, newest, log, covered, uncovered, unapplied, segment } =
            *standing;
        let snapshot = live + self.history();
        // Whether or not the next one is being written, and the first one, too, will have a next one.
        let reserved = (whole + unfinished.max(snapshot)).max(2 * snapshot);
        // The segment that is made ahead, and what comes in while the limit is noticed.
        let margin = segment + self.base / 16;
        let left = self.total(live).saturating_sub(reserved + margin);
        // So much is there in any case: nothing of it can be removed. Purging works by whole segments.
        let least = unapplied + 2 * segment + self.base / 8;
        let limit = left.max(least);
        let due = self.base / 4 + live / 2;
        let full = log >= limit;
        // What was live once and is no more.
        let outgrown = newest > 2 * snapshot + self.base / 8;
        let kept = self.base / 8;
        Verdict {
            snapshot: uncovered > 0 && (uncovered >= due || full || outgrown),
            hurry: log >= limit - limit / 4,
            keep: if full { Some(0) } else { Some(kept / 2).filter(|_| covered > kept) },
            limit,
            crowded: full && left < least + due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    const BUDGET: Budget = Budget { base: 512 * MIB };

    fn standing(live: u64) -> Standing {
        Standing { live, segment: 16 * MIB, ..Standing::default() }
    }

    /// Plays writes of `rate` bytes between two looks, with snapshots of which so many bytes are written meanwhile; the
    /// most that was on disk, and whether writers ever waited.
    fn play(live: u64, rate: u64, snapshot_rate: u64) -> (u64, bool) {
        let mut now = standing(live);
        let (mut most, mut waited) = (0, false);
        // What the snapshot under way will cover, how large it is, and how much of it is written.
        let mut building: Option<(u64, u64)> = None;
        for _ in 0..5000 {
            let verdict = BUDGET.judge(&now);
            if let Some(keep) = verdict.keep {
                now.covered = now.covered.min(keep);
            }
            if building.is_none() && verdict.snapshot {
                building = Some((now.uncovered, 0));
            }
            now.log = (now.covered + now.uncovered).next_multiple_of(now.segment) + now.segment;
            if now.log < BUDGET.judge(&now).limit {
                now.uncovered += rate;
            } else {
                waited = true;
            }
            let size = live + BUDGET.history();
            if let Some((covers, written)) = &mut building {
                *written += snapshot_rate;
                now.unfinished = (*written).min(size);
                if *written >= size {
                    now.covered += *covers;
                    now.uncovered -= *covers;
                    (now.newest, now.whole, now.unfinished) = (size, size, 0);
                    building = None;
                }
            }
            now.log = (now.covered + now.uncovered).next_multiple_of(now.segment) + now.segment;
            // The segment that is made ahead.
            most = most.max(now.log + now.segment + now.whole + now.unfinished);
        }
        (most, waited)
    }

    #[test]
    fn whatever_is_written_however_fast_the_bound_holds() {
        for live in [0, 4 * MIB, 100 * MIB, 1000 * MIB, 10_000 * MIB] {
            for rate in [MIB / 10, MIB, 10 * MIB, 30 * MIB] {
                for snapshot_rate in [MIB / 2, 5 * MIB, 100 * MIB] {
                    let (most, _) = play(live, rate, snapshot_rate);
                    let bound = BUDGET.total(live);
                    assert!(most <= bound, "{most} of {bound} for {live} live, {rate}, {snapshot_rate}");
                }
            }
        }
    }

    #[test]
    fn writers_wait_only_when_snapshots_are_far_slower_than_they_are() {
        assert!(!play(4 * MIB, 10 * MIB, 10 * MIB).1);
        assert!(!play(4000 * MIB, 10 * MIB, 30 * MIB).1);
        assert!(play(4000 * MIB, 30 * MIB, MIB).1);
    }

    #[test]
    fn what_cannot_be_purged_is_never_waited_for() {
        // Deleted a moment ago; and entries that no snapshot can have yet.
        let now = Standing { newest: 5000 * MIB, whole: 5000 * MIB, uncovered: 1, ..standing(0) };
        let verdict = BUDGET.judge(&now);
        assert!(verdict.snapshot && verdict.limit >= 96 * MIB, "{verdict:?}");
        let now = Standing { unapplied: 900 * MIB, log: 960 * MIB, ..standing(0) };
        assert!(BUDGET.judge(&now).limit > now.log);
    }

    #[test]
    fn an_idle_log_is_left_alone() {
        let (newest, log, covered) = (80 * MIB, 64 * MIB, 40 * MIB);
        let now = Standing { newest, whole: newest, log, covered, ..standing(8 * MIB) };
        let verdict = BUDGET.judge(&now);
        assert_eq!((verdict.snapshot, verdict.hurry, verdict.keep), (false, false, None));
    }
}
