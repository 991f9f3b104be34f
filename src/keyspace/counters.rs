//! How many operations succeeded and failed, as etcd's store counts them.

use serde::{Deserialize, Serialize};

use super::{Applied, Command, KeyError};

/// One kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Operations that were done.
    pub success: u64,
    /// Operations that were refused.
    pub fail: u64,
}

impl Tally {
    /// Counts one.
    pub fn count(&mut self, success: bool) {
        self.success += u64::from(success);
        self.fail += u64::from(!success);
    }
}

/// What was applied from the log, each node counting for itself and all alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Reads that go through the log in etcd: of users and roles before they are changed.
    pub gets: Tally,
    /// Writes whatever was there.
    pub sets: Tally,
    /// Removals without conditions.
    pub deletes: Tally,
    /// Changes of what must be there.
    pub updates: Tally,
    /// Writes of what must not be there, in order or not.
    pub creates: Tally,
    /// Changes on conditions.
    pub swaps: Tally,
    /// Removals on conditions.
    pub conditional_deletes: Tally,
    /// What ran out.
    pub expired: u64,
}

impl Counters {
    /// Counts a command on keys by what came of it, with etcd's oddities: some refusals count as successes, because the
    /// error does not reach the place where it counts (etcd `store/store.go`).
    pub(super) fn note(&mut self, command: &Command, result: &Result<Applied, KeyError>) {
        let error = result.as_ref().err();
        match command {
            Command::Set { .. } => self.sets.count(error.is_none()),
            Command::Create { .. } | Command::CreateInOrder { .. } => {
                self.creates.count(error.is_none());
                if matches!(error, Some(KeyError::NotDirectory { .. })) {
                    self.sets.fail += 1;
                }
            }
            Command::Update { .. } => {
                let unnoticed = matches!(error, Some(KeyError::RootReadOnly | KeyError::NotFile { .. }));
                self.updates.count(error.is_none() || unnoticed);
            }
            Command::CompareAndSwap { .. } => {
                self.swaps.count(matches!(error, None | Some(KeyError::RootReadOnly)));
            }
            Command::Delete { .. } => {
                self.deletes.count(matches!(error, None | Some(KeyError::RootReadOnly)));
            }
            Command::CompareAndDelete { .. } => {
                let missing =
                    matches!(error, Some(KeyError::NotFound { .. } | KeyError::NotDirectory { .. }));
                self.conditional_deletes.count(!missing);
            }
            // What is refused does not reach etcd's store.
            Command::UpdateMember { .. } => self.updates.success += u64::from(error.is_none()),
            Command::RemoveMember { .. } => {
                self.deletes.success += u64::from(error.is_none());
                self.creates.success += u64::from(error.is_none());
            }
            // These count where they are carried out, a new member when it says its name; the last six etcd has not.
            Command::Expire
            | Command::Publish { .. }
            | Command::Auth(_)
            | Command::AddMember { .. }
            | Command::PromoteMember { .. }
            | Command::KeepOnlyMember { .. }
            | Command::Found { .. }
            | Command::Introduce { .. }
            | Command::Restore(_)
            | Command::RaiseVersion { .. } => {}
            #[cfg(debug_assertions)]
            Command::Remark { .. } => {}
        }
    }

    /// Before it changes its members etcd reads them from its store, and those that were removed, of which it finds none
    /// before the first (etcd `membership/cluster.go`, `membersFromStore`).
    pub(super) fn note_roster_lookup(&mut self, command: &Command, any_removed: bool) {
        if let Command::AddMember { .. } | Command::UpdateMember { .. } | Command::RemoveMember { .. } =
            command
        {
            self.gets.count(true);
            self.gets.count(any_removed);
        }
    }

    /// A member has said its name: one write, and before the first of each member one more that makes it known; before
    /// the first of all the cluster's version is set.
    pub(super) fn note_member(&mut self, new: bool, first: bool) {
        self.sets.success += 1 + u64::from(first);
        self.creates.success += u64::from(new);
    }
}
