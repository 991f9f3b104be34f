//! Long work that nobody waits for: it gives way to everything else on the machine.

use std::any::Any;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::oneshot;

/// The lowest priority (setpriority(2)).
const NICE: i32 = 19;

/// Does `work` on a thread of its own.
///
/// # Errors
/// What `work` says, or that it ended in a panic.
pub async fn run<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    let thread = move || {
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

/// Does `work` on another thread that nobody waits for, where there is a runtime that has one.
pub fn aside(work: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
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

/// Does the parts of some work one after the other until one says `false`: with the lowest priority, so that on a busy
/// machine it gets what others leave and a little more, and with the usual one from the moment when there is a `hurry`.
///
/// # Errors
/// What a part says, or that it ended in a panic.
pub fn gently(hurry: &AtomicBool, part: &mut (dyn FnMut() -> io::Result<bool> + Send)) -> io::Result<()> {
    let patiently = || {
        // It cannot be raised again without privileges, so this thread ends when there is a hurry.
        give_way(NICE);
        while !hurry.load(Ordering::Acquire) {
            if !part()? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    let patient = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("gently".into()).spawn_scoped(scope, patiently)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("long work has failed")))
    });
    let mut left = patient?;
    while left {
        left = part()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread::{ThreadId, current};

    use super::*;

    fn priority() -> i32 {
        rustix::process::getpriority_process(Some(gettid())).unwrap()
    }

    #[test]
    fn the_priority_is_low_until_there_is_a_hurry_and_that_of_others_stays() {
        let before = priority();
        let hurry = AtomicBool::new(false);
        let mut seen = Vec::new();
        let mut part = || {
            seen.push(priority());
            hurry.store(seen.len() >= 2, Ordering::Release);
            Ok(seen.len() < 4)
        };
        gently(&hurry, &mut part).unwrap();
        assert_eq!(seen, [NICE, NICE, before, before]);
        assert_eq!(priority(), before);
        let mut failing = || Err(io::Error::other("on purpose"));
        assert_eq!(gently(&hurry, &mut failing).unwrap_err().to_string(), "on purpose");
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
