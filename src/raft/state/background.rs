//! Long work that nobody waits for: it gives way to everything else on the machine.

use std::io;

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
        // On Linux a thread has a priority of its own, and its id does for a process's.
        if let Err(error) = setpriority_process(Some(gettid()), NICE) {
            tracing::info!(%error, "long work is done at the usual priority");
        }
        // Nobody may wait any more.
        let _ = tell.send(work());
    };
    std::thread::Builder::new().name(name.into()).spawn(thread)?;
    told.await.map_err(|_| io::Error::other(format!("the thread {name} has failed")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_its_own_priority_is_low() {
        let priority = || rustix::process::getpriority_process(Some(gettid())).map_err(io::Error::from);
        let before = priority().unwrap();
        assert_eq!(run("test", priority).await.unwrap(), NICE);
        assert_eq!(priority().unwrap(), before);
    }
}
