//! Long work that nobody waits for: it gives way to everything else on the machine.

use std::any::Any;
use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

/// The lowest priority (setpriority(2)).
const NICE: i32 = 19;

/// Does `work` on a thread of its own with the lowest priority: on a busy machine it gets what others leave, and a
/// little more.
///
/// # Errors
/// What `work` says, or that it ended in a panic.
pub async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    let thread = move || {
        give_way(NICE);
        // Nobody may wait any more.
        let _ = tell.send(work());
    };
    std::thread::Builder::new().name(name.into()).spawn(thread)?;
    told.await.map_err(|_| io::Error::other(format!("the thread {name} has failed")))?
}

/// Lets the thread that calls this give way to all others with a lower `nice`, which goes from 0 to 19.
pub fn give_way(nice: i32) {
    // On Linux a thread has a priority of its own, and its id does for a process's.
    if let Err(error) = setpriority_process(Some(gettid()), nice) {
        tracing::info!(%error, "long work is done at the usual priority");
    }
}

/// Drops `what` on a thread that is there for this alone. To be used for what may hold a great many parts, such as a
/// state that was replaced: taking it apart would hold up raft's thread, or a client's.
pub fn discard(what: impl Send + 'static) {
    static QUEUE: OnceLock<Option<Sender<Box<dyn Any + Send>>>> = OnceLock::new();
    let start = || {
        let (queue, discarded) = channel::<Box<dyn Any + Send>>();
        let thread = std::thread::Builder::new().name("discard".into());
        let started = thread.spawn(move || discarded.into_iter().for_each(drop));
        if let Err(error) = &started {
            tracing::warn!(%error, "memory is freed where it was used");
        }
        started.is_ok().then_some(queue)
    };
    if let Some(queue) = QUEUE.get_or_init(start) {
        // Otherwise it is dropped here.
        let _ = queue.send(Box::new(what));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{ThreadId, current};

    use super::*;

    #[tokio::test]
    async fn only_its_own_priority_is_low() {
        let priority = || rustix::process::getpriority_process(Some(gettid())).map_err(io::Error::from);
        let before = priority().unwrap();
        assert_eq!(run("test", priority).await.unwrap(), NICE);
        assert_eq!(priority().unwrap(), before);
    }
    #[test]
    fn what_is_discarded_is_dropped_elsewhere() {
        struct Told(mpsc::Sender<ThreadId>);
        impl Drop for Told {
            fn drop(&mut self) {
                self.0.send(current().id()).unwrap();
            }
        }
        let (tell, told) = mpsc::channel();
        discard(Told(tell));
        assert_ne!(told.recv().unwrap(), current().id());
    }
}
