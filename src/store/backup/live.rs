//! Copies of the whole keyspace for backups, and restores from them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::clock::wall_nanos;
use crate::format::Version;
use crate::keyspace::backup::{BackupError, Info, Writer};
use crate::keyspace::{Command, Frozen, Restore};
use crate::raft::discard;
use crate::store::pace::{LEAST_SPEED, Pace};
use crate::store::{Consistency, Done, Store, StoreError};

/// Copies that one node hands out at a time; each keeps what has changed since it was taken in memory.
const COPIES_AT_A_TIME: usize = 4;

/// How long the reader of a copy may take nothing, or be slower than the least speed, before it is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pieces of about a MiB that may wait to be read.
const PIECES_AHEAD: usize = 2;

/// The keyspace as it was at one moment; it is written as a backup while writes go on.
pub struct Copy {
    info: Info,
    index: u64,
    /// How its records are written.
    version: Version,
    /// There until this is dropped.
    frozen: Option<Frozen>,
    /// What the cluster clock read at that moment.
    clock: i64,
    /// Where it is written.
    threads: Handle,
    _slot: OwnedSemaphorePermit,
}

/// The pieces of a backup that is written.
pub struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

/// Some of its bytes, and whether they are the last.
type Piece = (Bytes, bool);

/// The backup is not whole, and will not be.
#[derive(Debug, thiserror::Error)]
#[error("the backup was given up before its end")]
pub struct BrokenOff;

impl Pieces {
    /// The next one; `None` after the last.
    ///
    /// # Errors
    /// There are no more, although it was not the last.
    pub async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        if self.ended {
            return None;
        }
        let next = self.pieces.recv().await;
        self.ended = next.as_ref().is_none_or(|(_, last)| *last);
        Some(next.map(|(piece, _)| piece).ok_or(BrokenOff))
    }
}

/// Why a copy is not written to its end.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error("its reader has gone")]
    Gone,
    #[error("its reader takes less than {} KiB/s", LEAST_SPEED >> 10)]
    Slow,
    #[error(transparent)]
    Failed(#[from] BackupError),
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It may be the last that has what was removed meanwhile.
        discard(self.frozen.take());
    }
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// Others are being read.
    #[error("{COPIES_AT_A_TIME} backups are being taken from this node already: ask another, or wait")]
    Busy,
    /// The node cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Slots for copies.
pub(in crate::store) fn slots() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(COPIES_AT_A_TIME))
}

impl Copy {
    /// The store's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Writes the backup, piece by piece, as they are taken.
    pub fn write(self) -> Pieces {
        let (to, pieces) = mpsc::channel(PIECES_AHEAD);
        self.threads.clone().spawn(async move {
            if let Err(error) = self.write_to(&to).await {
                tracing::warn!(%error, "backup given up");
            }
        });
        Pieces { pieces, ended: false }
    }

    async fn write_to(self, to: &mpsc::Sender<Piece>) -> Result<(), Stop> {
        let mut pace = Pace::new(PATIENCE);
        let (mut writer, first) = Writer::begin(&self.info, self.version)?;
        send(to, (first, false), &mut pace).await?;
        for record in self.frozen.iter().flat_map(|frozen| frozen.backup(self.clock)) {
            if let Some(piece) = writer.push(&record)? {
                send(to, (piece, false), &mut pace).await?;
            }
        }
        send(to, (writer.end()?, true), &mut pace).await
    }
}

/// Hands a piece on when it is wanted.
async fn send(to: &mpsc::Sender<Piece>, piece: Piece, pace: &mut Pace) -> Result<(), Stop> {
    let (began, bytes) = (Instant::now(), piece.0.len());
    let place = tokio::time::timeout(pace.left(), to.reserve()).await.map_err(|_| Stop::Slow)?;
    place.map_err(|_| Stop::Gone)?.send(piece);
    pace.waited(began.elapsed());
    pace.took(bytes);
    Ok(())
}

impl Store {
    /// A copy of everything that was acknowledged anywhere before the call.
    ///
    /// # Errors
    /// See [`CopyError`].
    pub async fn copy(&self) -> Result<Copy, CopyError> {
        let slot = self.copies.clone().try_acquire_owned().map_err(|_| CopyError::Busy)?;
        self.wait_for(Consistency::Linearizable).await?;
        let identity = self.node.identity();
        let (frozen, clock) = {
            let replica = self.node.state().read();
            (replica.keyspace.freeze_keys(), self.node.read_clock())
        };
        let info = Info {
            cluster: identity.cluster,
            member: identity.member,
            wall: wall_nanos(),
            version: env!("CARGO_PKG_VERSION").into(),
        };
        let (index, version) = (frozen.index(), frozen.version());
        Ok(Copy {
            info,
            index,
            version,
            frozen: Some(frozen),
            clock,
            threads: self.threads.answers.clone(),
            _slot: slot,
        })
    }

    /// Has one step of a restore done on all nodes; it may be repeated. Returns the store's index: after a commit, the
    /// one that the restore took.
    ///
    /// # Errors
    /// `Refused`: nothing has changed. `TimedOut`: repeat it.
    pub async fn restore(&self, step: Restore) -> Result<u64, StoreError> {
        let committed = match step {
            Restore::Commit { id, .. } => Some(id),
            Restore::Begin { .. } | Restore::Chunk { .. } | Restore::Abort { .. } => None,
        };
        let Done { index, .. } = self.propose(Command::Restore(step)).await?;
        let restored = self.node.state().read().keyspace.restored();
        Ok(restored
            .filter(|restored| Some(restored.id) == committed)
            .map_or(index, |restored| restored.index))
    }
}
