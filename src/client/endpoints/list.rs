//! Which endpoint to ask first, and who wants to know when one gets into trouble.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use url::Url;

/// The endpoints a client knows. Shared by all its handles, so that what one request learns helps the next.
#[derive(Debug)]
pub struct Endpoints {
    urls: Vec<Url>,
    /// Position of the endpoint that answered last.
    preferred: AtomicUsize,
    /// Per endpoint, how often it failed a request: watches that wait on it wake and look elsewhere.
    failures: Vec<watch::Sender<u64>>,
}

impl Endpoints {
    pub fn new(urls: Vec<Url>) -> Self {
        let failures = urls.iter().map(|_| watch::Sender::new(0)).collect();
        Self { urls, preferred: AtomicUsize::new(0), failures }
    }

    pub fn urls(&self) -> &[Url] {
        &self.urls
    }

    pub fn url(&self, position: usize) -> &Url {
        &self.urls[position % self.urls.len()]
    }

    /// The endpoint that answered last.
    pub fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// All endpoints, in the order to try them: the one that answered last, then its successors around the list.
    pub fn order(&self) -> Vec<usize> {
        let first = self.preferred();
        (0..self.urls.len()).map(|step| (first + step) % self.urls.len()).collect()
    }

    /// `position` answered: it is asked first from now on.
    pub fn answered(&self, position: usize) {
        self.preferred.store(position, Ordering::Relaxed);
    }

    /// `position` failed a request: if it was the first choice, the next one is now.
    pub fn failed(&self, position: usize) {
        let next = (position + 1) % self.urls.len();
        // Lost races are fine: somebody else has just learnt something newer.
        let _ = self.preferred.compare_exchange(position, next, Ordering::Relaxed, Ordering::Relaxed);
        self.failures[position].send_modify(|count| *count += 1);
    }

    /// Tells when `position` fails a request from now on.
    pub fn failures(&self, position: usize) -> watch::Receiver<u64> {
        self.failures[position].subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Endpoints {
        Endpoints::new(
            (1..=3).map(|n| Url::parse(&format!("http://127.0.0.{n}:1/")).expect("a URL")).collect(),
        )
    }

    #[test]
    fn the_endpoint_that_answered_last_is_asked_first_and_the_others_follow_around_the_list() {
        let endpoints = three();
        assert_eq!(endpoints.order(), [0, 1, 2]);
        endpoints.answered(2);
        assert_eq!(endpoints.order(), [2, 0, 1]);
    }

    #[test]
    fn only_the_failure_of_the_first_choice_changes_the_order() {
        let endpoints = three();
        endpoints.failed(1);
        assert_eq!(endpoints.order(), [0, 1, 2]);
        endpoints.failed(0);
        assert_eq!(endpoints.order(), [1, 2, 0]);
    }

    #[test]
    fn whoever_waits_on_an_endpoint_hears_of_its_failures_alone() {
        let endpoints = three();
        let (first, second) = (endpoints.failures(0), endpoints.failures(1));
        endpoints.failed(0);
        assert!(first.has_changed().expect("the sender lives"));
        assert!(!second.has_changed().expect("the sender lives"));
    }
}
