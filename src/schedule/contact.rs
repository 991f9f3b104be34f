//! How well this process has reached the store lately, and what may be concluded from it.
//!
//! A machine's presence expires when the machine is gone, and also when the store was: then nobody could refresh. So
//! an absent machine counts as dead only after the store could be reached for a whole presence TTL without a break.
//! Times are lengths since any fixed moment of a monotonic clock.

use std::time::Duration;

/// The record of contact with the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    presence_ttl: Duration,
    /// When the first of the requests began that have failed since the last success.
    trouble_since: Option<Duration>,
    /// The end of the last break that may have cost living machines their presence.
    good_since: Duration,
}

impl Contact {
    /// Nothing is known of the time before `now`.
    pub fn new(presence_ttl: Duration, now: Duration) -> Self {
        Self { presence_ttl, trouble_since: None, good_since: now }
    }

    /// A request that began at `began` was answered at `now`.
    pub fn succeeded(&mut self, began: Duration, now: Duration) {
        let since = self.trouble_since.take().map_or(began, |trouble| trouble.min(began));
        // Presences are refreshed every third of their TTL: a shorter break leaves everybody time to do it.
        if now.saturating_sub(since) > self.presence_ttl / 2 {
            self.good_since = now;
        }
    }

    /// A request that began at `began` got no answer.
    pub fn failed(&mut self, began: Duration) {
        let since = self.trouble_since.get_or_insert(began);
        *since = began.min(*since);
    }

    /// The store says that this machine, which is alive, is gone: others may be alive as well.
    pub fn presence_lost(&mut self, now: Duration) {
        self.good_since = now;
    }

    /// From when on absent machines count as dead, if nothing fails until then. `None` while requests fail.
    pub fn may_bury_from(&self) -> Option<Duration> {
        self.trouble_since.is_none().then(|| self.good_since + self.presence_ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_presence_ttl_of_contact_comes_first() {
        assert_eq!(Contact::new(s(10), s(100)).may_bury_from(), Some(s(110)));
    }

    #[test]
    fn a_short_break_changes_nothing() {
        let mut contact = Contact::new(s(10), s(0));
        contact.failed(s(50));
        assert_eq!(contact.may_bury_from(), None);
        contact.succeeded(s(54), s(55));
        assert_eq!(contact.may_bury_from(), Some(s(10)));
    }

    #[test]
    fn after_a_long_break_everybody_gets_a_whole_ttl() {
        let mut contact = Contact::new(s(10), s(0));
        contact.failed(s(50));
        contact.failed(s(70));
        contact.succeeded(s(109), s(110));
        assert_eq!(contact.may_bury_from(), Some(s(120)));
    }

    #[test]
    fn a_slow_answer_is_a_break_too() {
        let mut contact = Contact::new(s(10), s(0));
        contact.succeeded(s(50), s(56));
        assert_eq!(contact.may_bury_from(), Some(s(66)));
    }

    #[test]
    fn a_store_that_lost_us_may_have_lost_others() {
        let mut contact = Contact::new(s(10), s(0));
        contact.presence_lost(s(30));
        assert_eq!(contact.may_bury_from(), Some(s(40)));
    }
}
