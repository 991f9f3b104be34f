//! Snapshots that other members send, while they come in. A file that nobody will complete goes at once: when its
//! connection ends, when the member begins another, when something is wrong with it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use crate::raft::state::background;
use crate::raft::state::snapshot::Folder;

/// Members that may send a snapshot at a time. Only a leader does; there may be one that does not know yet that it was
/// deposed.
const TRANSFERS: usize = 4;

/// Bytes of one snapshot; the keyspace in it is one that is held in memory.
const TRANSFER_BYTES: u64 = 64 << 30;

/// The transfers under way to one node, at most one of each member. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Transfers(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// Counts transfers.
    begun: u64,
    /// By member: the number of its transfer, and its file.
    members: BTreeMap<u64, (u64, PathBuf)>,
}

impl Transfers {
    /// Begins a transfer of `member` to `path`; an earlier one of the same member is over.
    fn begin(&self, member: u64, path: &Path) -> io::Result<Part> {
        let mut open = self.0.lock().expect("transfers lock poisoned");
        if !open.members.contains_key(&member) && open.members.len() >= TRANSFERS {
            return Err(io::Error::other("other members send snapshots already"));
        }
        open.begun += 1;
        let number = open.begun;
        let earlier = open.members.insert(member, (number, path.to_path_buf()));
        drop(open);
        if let Some((_, earlier)) = earlier {
            remove(earlier);
        }
        Ok(Part { transfers: self.clone(), member, number, path: path.to_path_buf() })
    }

    /// The member's transfer is whole; `false` when it has begun another meanwhile. The next one leaves the file alone.
    fn complete(&self, member: u64, number: u64) -> bool {
        let mut open = self.0.lock().expect("transfers lock poisoned");
        let known = open.members.get(&member).is_some_and(|(known, _)| *known == number);
        if known {
            open.members.remove(&member);
        }
        known
    }

    /// Whether this is still the member's transfer.
    fn is_open(&self, member: u64, number: u64) -> bool {
        let open = self.0.lock().expect("transfers lock poisoned");
        open.members.get(&member).is_some_and(|(known, _)| *known == number)
    }
}

/// The file of a transfer. It is removed with this, unless it has another name by then.
#[derive(Debug)]
pub struct Part {
    transfers: Transfers,
    member: u64,
    number: u64,
    path: PathBuf,
}

impl Part {
    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Ok(mut open) = self.transfers.0.lock()
            && open.members.get(&self.member).is_some_and(|(number, _)| *number == self.number)
        {
            open.members.remove(&self.member);
        }
        remove(std::mem::take(&mut self.path));
    }
}

/// Removes a file, and not on this thread: a large one takes the disk a while.
fn remove(path: PathBuf) {
    background::aside(move || match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, file = %path.display(), "cannot remove a snapshot that is not needed");
        }
        _ => {}
    });
}

/// Receives the snapshots that come over one connection, one after the other.
pub struct Receiver {
    transfers: Transfers,
    member: u64,
    folder: Folder,
    current: Option<Current>,
}

struct Current {
    /// The number that the sender has given it.
    id: u64,
    file: File,
    length: u64,
    part: Part,
}

impl Receiver {
    /// For a connection of `member`; files go to `folder`.
    pub fn new(transfers: Transfers, member: u64, folder: Folder) -> Self {
        Self { transfers, member, folder, current: None }
    }

    /// Takes the piece of transfer `id` that begins at `offset`; a piece at 0 begins it.
    ///
    /// # Errors
    /// It does not follow the piece before, the snapshot is too large, or the disk fails. The transfer is over then.
    pub async fn chunk(&mut self, id: u64, offset: u64, data: &[u8]) -> io::Result<()> {
        let taken = self.take(id, offset, data).await;
        if taken.is_err() {
            self.current = None;
        }
        taken
    }

    async fn take(&mut self, id: u64, offset: u64, data: &[u8]) -> io::Result<()> {
        if offset == 0 {
            self.current = None;
            let part = self.transfers.begin(self.member, &self.folder.incoming(crate::raft::unique()?))?;
            let file = File::create(part.path()).await?;
            self.current = Some(Current { id, file, length: 0, part });
        }
        let current = self.current.as_mut().filter(|current| current.id == id);
        let current = current.ok_or_else(|| io::Error::other("unknown transfer"))?;
        if !self.transfers.is_open(self.member, current.part.number) {
            return Err(io::Error::other("the member has begun another transfer"));
        }
        if offset != current.length {
            return Err(io::Error::other("a piece of the snapshot is missing"));
        }
        if current.length + data.len() as u64 > TRANSFER_BYTES {
            return Err(io::Error::other("the snapshot is too large"));
        }
        current.file.seek(io::SeekFrom::Start(offset)).await?;
        current.file.write_all(data).await?;
        current.length += data.len() as u64;
        Ok(())
    }

    /// The complete and durable file of transfer `id`.
    ///
    /// # Errors
    /// It is not `length` bytes long, the member has begun another, or the disk fails. The transfer is over in any case.
    pub async fn finish(&mut self, id: u64, length: u64) -> io::Result<Part> {
        let current = self.current.take().filter(|current| current.id == id);
        let Current { file, length: have, part, .. } =
            current.ok_or_else(|| io::Error::other("unknown transfer"))?;
        if have != length {
            return Err(io::Error::other("the snapshot is not complete"));
        }
        file.sync_all().await?;
        if !self.transfers.complete(self.member, part.number) {
            return Err(io::Error::other("the member has begun another transfer"));
        }
        Ok(part)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    /// The files there, once there are `count`: removal is left to another thread.
    async fn files(folder: &Path, count: usize) -> Vec<PathBuf> {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let all: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            if all.len() == count {
                return all;
            }
            assert!(Instant::now() < until, "{all:?}");
            tokio::task::yield_now().await;
        }
    }

    fn receiver(transfers: &Transfers, member: u64, folder: &Path) -> Receiver {
        Receiver::new(transfers.clone(), member, Folder::open(folder.join(member.to_string())).unwrap())
    }

    #[tokio::test]
    async fn what_nobody_will_complete_is_removed_at_once() {
        let root = tempfile::tempdir().unwrap();
        let transfers = Transfers::default();
        let mut first = receiver(&transfers, 1, root.path());
        let folder = root.path().join("1");
        first.chunk(5, 0, b"abc").await.unwrap();
        files(&folder, 1).await;
        // Another on the same connection.
        first.chunk(6, 0, b"abc").await.unwrap();
        files(&folder, 1).await;
        assert!(first.chunk(5, 3, b"d").await.is_err());
        files(&folder, 0).await;
        // Another on another connection.
        first.chunk(7, 0, b"abc").await.unwrap();
        let mut second = Receiver::new(transfers.clone(), 1, first.folder.clone());
        second.chunk(8, 0, b"abcd").await.unwrap();
        files(&folder, 1).await;
        assert!(first.chunk(7, 3, b"d").await.is_err());
        let part = second.finish(8, 4).await.unwrap();
        assert_eq!(std::fs::read(part.path()).unwrap(), b"abcd");
        // While it is installed, the member may come with another, on whichever connection.
        first.chunk(10, 0, b"ab").await.unwrap();
        files(&folder, 2).await;
        assert_eq!(std::fs::read(part.path()).unwrap(), b"abcd");
        assert!(first.finish(10, 3).await.is_err());
        files(&folder, 1).await;
        // Installed, it has another name; else it goes.
        drop(part);
        files(&folder, 0).await;
        // The connection ends.
        second.chunk(9, 0, b"abc").await.unwrap();
        files(&folder, 1).await;
        drop(second);
        files(&folder, 0).await;
        assert!(transfers.0.lock().unwrap().members.is_empty());
    }

    #[tokio::test]
    async fn pieces_follow_each_other_and_not_too_many_members_send() {
        let root = tempfile::tempdir().unwrap();
        let transfers = Transfers::default();
        let mut one = receiver(&transfers, 0, root.path());
        assert!(one.chunk(1, 7, b"x").await.is_err(), "it never began");
        one.chunk(1, 0, b"ab").await.unwrap();
        assert!(one.chunk(1, 3, b"x").await.is_err(), "a piece is missing");
        files(&root.path().join("0"), 0).await;
        one.chunk(2, 0, b"ab").await.unwrap();
        assert!(one.finish(2, 3).await.is_err(), "it is too short");
        files(&root.path().join("0"), 0).await;

        let mut all: Vec<Receiver> =
            (0..TRANSFERS as u64).map(|member| receiver(&transfers, member, root.path())).collect();
        for receiver in &mut all {
            receiver.chunk(1, 0, b"ab").await.unwrap();
        }
        let mut late = receiver(&transfers, 9, root.path());
        assert!(late.chunk(1, 0, b"ab").await.is_err());
        all.pop();
        late.chunk(1, 0, b"ab").await.unwrap();
    }
}
