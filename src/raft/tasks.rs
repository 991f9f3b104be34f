//! What runs beside openraft for as long as a node does: tracked, ended with the node, and never lost in silence.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Raised when something has panicked that the node cannot go on without. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Alarm(watch::Sender<Option<&'static str>>);

/// Raises the alarm when it is dropped by a panic.
#[derive(Debug)]
pub struct AlarmGuard {
    alarm: Alarm,
    what: &'static str,
}

impl Alarm {
    /// To be kept while `what` is done; a panic meanwhile raises the alarm.
    pub fn guard(&self, what: &'static str) -> AlarmGuard {
        AlarmGuard { alarm: self.clone(), what }
    }

    /// Waits until it is raised, and tells what has panicked.
    pub async fn raised(&self) -> &'static str {
        let mut raised = self.0.subscribe();
        // `self` keeps the sender alive, so the wait ends only with the alarm.
        let what = raised.wait_for(Option::is_some).await.map(|what| *what);
        match what {
            Ok(Some(what)) => what,
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for AlarmGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.alarm.0.send_replace(Some(self.what));
        }
    }
}

/// The tasks of one node.
#[derive(Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts a task, which `what` names; a panic in it raises `alarm`.
    pub fn spawn(&self, alarm: &Alarm, what: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let (guard, stop) = (alarm.guard(what), self.stop.clone());
        self.tracker.spawn(async move {
            let _guard = guard;
            // Cancelled or done, it has ended.
            let _ = stop.run_until_cancelled_owned(work).await;
        });
    }

    /// Ends all tasks at whatever they wait for, and waits until they are gone.
    pub async fn end(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_raises_the_alarm_and_one_that_ends_does_not() {
        let (tasks, alarm) = (Tasks::default(), Alarm::default());
        tasks.spawn(&alarm, "the quiet one", async {});
        tasks.spawn(&alarm, "the loud one", async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        });
        assert_eq!(alarm.raised().await, "the loud one");
    }

    #[tokio::test]
    async fn tasks_that_would_wait_for_ever_end() {
        let (tasks, alarm) = (Tasks::default(), Alarm::default());
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        tasks.spawn(&alarm, "the waiting one", async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        tasks.end().await;
        assert_eq!(gone.recv().await, None);
    }
}
