//! What happens ten times a second is said once in the log, and from then on how often it has happened.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So long after something was said it is not said again.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Kinds that are told apart; when there are more, those that were said longest ago are forgotten, and said anew.
const MOST_KINDS: usize = 64;

/// Decides when to say something that repeats itself. Kinds of it, by their key, are counted each for itself.
#[derive(Debug)]
pub struct Repeats<K = ()>(Mutex<BTreeMap<K, Said>>);

#[derive(Debug)]
struct Said {
    at: Instant,
    /// How many times it happened since.
    kept_back: u64,
}

impl<K> Repeats<K> {
    /// Nothing has been said.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone> Repeats<K> {
    /// Counts one of this `kind`, and tells whether to say it: then with how many were kept back since the last time.
    pub fn say(&self, kind: &K) -> Option<u64> {
        self.say_at(kind, Instant::now())
    }

    fn say_at(&self, kind: &K, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().expect("repeats lock poisoned");
        if let Some(said) = all.get_mut(kind) {
            if now.saturating_duration_since(said.at) < SAY_EVERY {
                said.kept_back += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.kept_back));
        }
        if all.len() >= MOST_KINDS {
            let oldest = all.iter().min_by_key(|(_, said)| said.at).map(|(kind, _)| kind.clone());
            oldest.and_then(|kind| all.remove(&kind));
        }
        all.insert(kind.clone(), Said { at: now, kept_back: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_and_then_how_often() {
        let (repeats, start) = (Repeats::new(), Instant::now());
        let second = Duration::from_secs(1);
        let said: Vec<_> = (0..180).map(|n| repeats.say_at(&"a", start + second * n)).collect();
        assert_eq!(said.iter().flatten().collect::<Vec<_>>(), [&0, &59, &59]);
        assert_eq!(repeats.say_at(&"b", start), Some(0), "another kind is said at once");
    }

    #[test]
    fn kinds_that_others_choose_take_no_more_room_than_there_is() {
        let (repeats, start) = (Repeats::new(), Instant::now());
        for kind in 0..10_000_u64 {
            let now = start + Duration::from_millis(kind);
            assert_eq!(repeats.say_at(&kind, now), Some(0));
        }
        assert_eq!(repeats.0.lock().unwrap().len(), MOST_KINDS);
        assert_eq!(repeats.say_at(&9_999, start), None, "the newest are known");
    }
}
