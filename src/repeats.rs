//! What happens ten times a second is said once in the log, and from then on how often it has happened.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// So long after something was said it is not said again.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Kinds that are told apart. While so many are remembered, all others count as one more: who chooses the kinds cannot
/// fill the log by choosing many.
const MOST_KINDS: usize = 64;

/// Decides when to say something that repeats itself. Kinds of it, by their key, are counted each for itself.
#[derive(Debug)]
pub struct Repeats<K = ()>(Mutex<State<K>>);

#[derive(Debug)]
struct State<K> {
    kinds: BTreeMap<K, Said>,
    /// All kinds that there was no room for.
    others: Option<Said>,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    /// How many times it happened since.
    kept_back: u64,
}

impl Said {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < SAY_EVERY
    }

    /// Counts one more, and tells whether to say it.
    fn again(&mut self, now: Instant) -> Option<u64> {
        if self.is_recent(now) {
            self.kept_back += 1;
            return None;
        }
        self.at = now;
        Some(std::mem::take(&mut self.kept_back))
    }
}

impl<K> Repeats<K> {
    /// Nothing has been said.
    pub const fn new() -> Self {
        Self(Mutex::new(State { kinds: BTreeMap::new(), others: None }))
    }
}

impl<K> Default for Repeats<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone> Repeats<K> {
    /// Counts one of this `kind`, and tells whether to say it: then with how many were kept back since the last time. When
    /// more kinds come than are told apart, that is how many of all the others.
    pub fn say(&self, kind: &K) -> Option<u64> {
        self.say_at(kind, Instant::now())
    }

    fn say_at(&self, kind: &K, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().expect("repeats lock poisoned");
        let State { kinds, others } = &mut *state;
        if let Some(said) = kinds.get_mut(kind) {
            return said.again(now);
        }
        if kinds.len() >= MOST_KINDS {
            // What is due to be said anew makes room; what was kept back of it is told with the others.
            let mut kept_back = 0;
            kinds.retain(|_, said| {
                let stays = said.is_recent(now);
                kept_back += if stays { 0 } else { said.kept_back };
                stays
            });
            if kept_back > 0 {
                others.get_or_insert(Said { at: now, kept_back: 0 }).kept_back += kept_back;
            }
        }
        let first = Said { at: now, kept_back: 0 };
        if kinds.len() < MOST_KINDS {
            kinds.insert(kind.clone(), first);
            return Some(0);
        }
        match others {
            Some(said) => said.again(now),
            None => {
                *others = Some(first);
                Some(0)
            }
        }
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
    fn kinds_that_others_choose_take_no_more_room_than_there_is_and_do_not_fill_the_log() {
        let (repeats, start) = (Repeats::new(), Instant::now());
        let mut said = 0;
        let mut told = 0;
        for kind in 0..30_000_u64 {
            let now = start + Duration::from_millis(4 * kind);
            if let Some(kept_back) = repeats.say_at(&kind, now) {
                said += 1;
                told += kept_back;
            }
        }
        // Within two minutes: as many as are told apart, twice, and one for all others each time.
        assert_eq!(said, 2 * (MOST_KINDS + 1));
        let state = repeats.0.lock().unwrap();
        assert_eq!(state.kinds.len(), MOST_KINDS);
        let kept_back = state.others.as_ref().map_or(0, |others| others.kept_back);
        assert_eq!(said as u64 + told + kept_back, 30_000, "none is forgotten");
    }

    #[test]
    fn what_was_kept_back_of_a_kind_that_makes_room_is_told_with_the_others() {
        let (repeats, start) = (Repeats::new(), Instant::now());
        for kind in 0..MOST_KINDS {
            assert_eq!((repeats.say_at(&kind, start), repeats.say_at(&kind, start)), (Some(0), None));
        }
        assert_eq!(repeats.say_at(&1000, start), Some(0));
        let later = start + SAY_EVERY;
        assert_eq!(repeats.say_at(&1001, later), Some(0), "there is room again");
        for kind in 0..MOST_KINDS - 1 {
            assert_eq!(repeats.say_at(&kind, later), Some(0));
        }
        assert_eq!(repeats.say_at(&1002, later), Some(MOST_KINDS as u64));
    }
}
