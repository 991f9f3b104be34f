//! Who waits for which of systemd's jobs.
//!
//! A job may end before the answer that names it was read; so the last results are kept for those who ask late.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

use super::JobResult;

/// How many results are kept for those who ask late: many times what ends between an answer and its reading.
const RECENT: usize = 4096;

/// Handle of the book of jobs; cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Jobs(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    /// Counts the connections lost: a job of an earlier era will never be heard of.
    era: u64,
    waiting: BTreeMap<String, Vec<oneshot::Sender<JobResult>>>,
    recent: VecDeque<(String, JobResult)>,
}

impl Jobs {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("jobs lock poisoned")
    }

    /// To be read before a job is asked for.
    pub fn era(&self) -> u64 {
        self.book().era
    }

    /// Waits for the end of a job that was asked for in `era`. `None`: the connection was lost meanwhile.
    pub async fn result_of(&self, job: &str, era: u64) -> Option<JobResult> {
        let end = {
            let mut book = self.book();
            if let Some((_, result)) = book.recent.iter().rev().find(|(ended, _)| ended == job) {
                return Some(result.clone());
            }
            if book.era != era {
                return None;
            }
            let (sender, receiver) = oneshot::channel();
            book.waiting.entry(job.into()).or_default().push(sender);
            receiver
        };
        end.await.ok()
    }

    /// A job has ended.
    pub fn ended(&self, job: &str, result: JobResult) {
        let waiting = {
            let mut book = self.book();
            if book.recent.len() == RECENT {
                book.recent.pop_front();
            }
            book.recent.push_back((job.into(), result.clone()));
            book.waiting.remove(job).unwrap_or_default()
        };
        for waiter in waiting {
            // Whoever asked may have gone.
            let _ = waiter.send(result.clone());
        }
    }

    /// The connection is lost: nobody will hear of the jobs under way.
    pub fn lose_all(&self) {
        let mut book = self.book();
        book.era += 1;
        book.waiting.clear();
        book.recent.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn a_job_that_ended_before_anyone_asked_is_known() {
        let jobs = Jobs::default();
        let era = jobs.era();
        jobs.ended("/job/1", JobResult::Done);
        assert_eq!(jobs.result_of("/job/1", era).now_or_never(), Some(Some(JobResult::Done)));
    }

    #[tokio::test]
    async fn those_who_wait_are_told() {
        let jobs = Jobs::default();
        let era = jobs.era();
        let (one, two, ()) =
            tokio::join!(jobs.result_of("/job/7", era), jobs.result_of("/job/7", era), async {
                jobs.ended("/job/7", JobResult::Failed);
            });
        assert_eq!((one, two), (Some(JobResult::Failed), Some(JobResult::Failed)));
    }

    #[tokio::test]
    async fn a_lost_connection_ends_the_waiting() {
        let jobs = Jobs::default();
        let era = jobs.era();
        let (result, ()) = tokio::join!(jobs.result_of("/job/7", era), async { jobs.lose_all() });
        assert_eq!(result, None);
        assert_eq!(jobs.result_of("/job/8", era).now_or_never(), Some(None));
    }
}
