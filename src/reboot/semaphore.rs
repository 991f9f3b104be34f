//! Locksmith's semaphore: who may be away for a reboot at the same time. Holders are the only fact; the counter that
//! locksmith's clients read is derived from them, so that it cannot disagree.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::MachineId;

/// The holders and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Semaphore {
    max: i64,
    holders: BTreeSet<MachineId>,
}

/// Whether an operation changed anything. Repeating one is harmless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The document was changed.
    Made,
    /// Everything was so already.
    None,
}

/// Why a document or an operation is refused.
#[derive(Debug, thiserror::Error)]
pub enum SemaphoreError {
    /// The document is not locksmith's: not JSON, a field missing or unknown, a holder that is no machine id.
    #[error("the semaphore document is not understood: {cause}: {text}")]
    Document {
        /// The document as read.
        text: String,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// All slots are taken by others.
    #[error("the lock is taken: {} of at most {max}, by {}", holders.len(), listed(holders))]
    Full {
        /// How many there may be.
        max: i64,
        /// The ids of the machines that hold a slot.
        holders: Vec<MachineId>,
    },
    /// A maximum that makes no sense.
    #[error("the maximum must be at least 1, not {0}: with less nobody could ever reboot")]
    Max(i64),
}

/// The document on the wire: exactly these fields, in this order (locksmith's `lock/semaphore.go`).
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    semaphore: i64,
    max: i64,
    // locksmith writes `null` until somebody held the lock
    #[serde(deserialize_with = "Option::deserialize")]
    holders: Option<BTreeSet<MachineId>>,
}

impl Default for Semaphore {
    /// One slot, nobody in it: what locksmith creates.
    fn default() -> Self {
        Self { max: 1, holders: BTreeSet::new() }
    }
}

impl Semaphore {
    /// Reads a document.
    ///
    /// # Errors
    /// `Document`. A field that locksmith does not know is an error too: writing the document back would lose it.
    pub fn parse(text: &str) -> Result<Self, SemaphoreError> {
        let document: Document = serde_json::from_str(text)
            .map_err(|cause| SemaphoreError::Document { text: text.into(), cause })?;
        Ok(Self { max: document.max, holders: document.holders.unwrap_or_default() })
    }

    /// The document, holders sorted and the counter true.
    pub fn render(&self) -> String {
        let document =
            Document { semaphore: self.available(), max: self.max, holders: Some(self.holders.clone()) };
        serde_json::to_string(&document).unwrap_or_else(|e| unreachable!("numbers and strings: {e}"))
    }

    /// How many may hold at once.
    pub fn max(&self) -> i64 {
        self.max
    }

    /// Free slots; negative while there are more holders than [`Semaphore::set_max`] allows now.
    pub fn available(&self) -> i64 {
        self.max - i64::try_from(self.holders.len()).unwrap_or(i64::MAX)
    }

    /// Who holds, sorted.
    pub fn holders(&self) -> impl Iterator<Item = &MachineId> {
        self.holders.iter()
    }

    /// Whether `id` holds.
    pub fn holds(&self, id: &MachineId) -> bool {
        self.holders.contains(id)
    }

    /// Takes a slot for `id`. Somebody who holds one keeps it, even when there are too many holders.
    ///
    /// # Errors
    /// `Full`.
    pub fn acquire(&mut self, id: &MachineId) -> Result<Outcome, SemaphoreError> {
        if self.holds(id) {
            return Ok(Outcome::None);
        }
        if self.available() <= 0 {
            let holders = self.holders.iter().cloned().collect();
            return Err(SemaphoreError::Full { max: self.max, holders });
        }
        self.holders.insert(id.clone());
        Ok(Outcome::Made)
    }

    /// Gives back the slot of `id`.
    pub fn release(&mut self, id: &MachineId) -> Outcome {
        if self.holders.remove(id) { Outcome::Made } else { Outcome::None }
    }

    /// Changes how many may hold at once. Those who hold now keep their slots.
    ///
    /// # Errors
    /// `Max` for less than one.
    pub fn set_max(&mut self, max: i64) -> Result<Outcome, SemaphoreError> {
        if max < 1 {
            return Err(SemaphoreError::Max(max));
        }
        let before = std::mem::replace(&mut self.max, max);
        Ok(if before == max { Outcome::None } else { Outcome::Made })
    }
}

fn listed(holders: &[MachineId]) -> String {
    if holders.is_empty() {
        return "nobody".into();
    }
    holders.iter().map(MachineId::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> MachineId {
        text.parse().unwrap()
    }

    #[test]
    fn the_document_is_locksmiths() {
        let mut semaphore = Semaphore::parse(r#"{"semaphore":1,"max":1,"holders":null}"#).unwrap();
        assert_eq!(semaphore, Semaphore::default());
        assert_eq!(semaphore.acquire(&id("b")).unwrap(), Outcome::Made);
        assert_eq!(semaphore.render(), r#"{"semaphore":0,"max":1,"holders":["b"]}"#);
        assert_eq!(semaphore.release(&id("b")), Outcome::Made);
        assert_eq!(semaphore.render(), r#"{"semaphore":1,"max":1,"holders":[]}"#);
    }

    #[test]
    fn holders_are_sorted_and_the_counter_is_derived() {
        let semaphore = Semaphore::parse(r#"{"semaphore":7,"max":3,"holders":["c","a"]}"#).unwrap();
        assert_eq!(semaphore.render(), r#"{"semaphore":1,"max":3,"holders":["a","c"]}"#);
    }

    #[test]
    fn repeats_are_harmless() {
        let mut semaphore = Semaphore::default();
        assert_eq!(semaphore.acquire(&id("a")).unwrap(), Outcome::Made);
        assert_eq!(semaphore.acquire(&id("a")).unwrap(), Outcome::None);
        assert_eq!(semaphore.available(), 0);
        assert_eq!(semaphore.release(&id("a")), Outcome::Made);
        assert_eq!(semaphore.release(&id("a")), Outcome::None);
        assert_eq!(semaphore.available(), 1);
    }

    #[test]
    fn a_full_semaphore_says_who_holds_it() {
        let mut semaphore = Semaphore::default();
        semaphore.acquire(&id("a")).unwrap();
        let error = semaphore.acquire(&id("b")).unwrap_err().to_string();
        assert_eq!(error, "the lock is taken: 1 of at most 1, by a");
    }

    #[test]
    fn a_smaller_maximum_evicts_nobody_and_lets_nobody_in() {
        let mut semaphore = Semaphore::parse(r#"{"semaphore":0,"max":3,"holders":["a","b","c"]}"#).unwrap();
        assert_eq!(semaphore.set_max(1).unwrap(), Outcome::Made);
        assert_eq!(semaphore.render(), r#"{"semaphore":-2,"max":1,"holders":["a","b","c"]}"#);
        assert_eq!(semaphore.acquire(&id("b")).unwrap(), Outcome::None);
        semaphore.release(&id("a"));
        semaphore.release(&id("b"));
        assert!(semaphore.acquire(&id("d")).is_err());
        semaphore.release(&id("c"));
        assert_eq!(semaphore.acquire(&id("d")).unwrap(), Outcome::Made);
    }

    #[test]
    fn a_maximum_below_one_is_refused() {
        let mut semaphore = Semaphore::default();
        for bad in [0, -1, i64::MIN] {
            assert!(matches!(semaphore.set_max(bad), Err(SemaphoreError::Max(max)) if max == bad));
        }
        assert_eq!(semaphore, Semaphore::default());
    }

    #[test]
    fn what_would_be_lost_by_writing_back_is_refused() {
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"semaphore":1,"max":1}"#,
            r#"{"semaphore":1,"max":1,"holders":[],"ttl":5}"#,
            r#"{"semaphore":1,"max":1,"holders":["a/b"]}"#,
            r#"{"semaphore":"1","max":1,"holders":[]}"#,
        ] {
            assert!(Semaphore::parse(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_maximum_of_zero_set_by_locksmith_is_read_and_lets_nobody_in() {
        let mut semaphore = Semaphore::parse(r#"{"semaphore":0,"max":0,"holders":[]}"#).unwrap();
        assert!(semaphore.acquire(&id("a")).is_err());
        semaphore.set_max(1).unwrap();
        assert!(semaphore.acquire(&id("a")).is_ok());
    }
}
