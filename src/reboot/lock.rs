//! The semaphore in the store: read with a quorum, changed by compare-and-swap, so that however many ask at once, no
//! slot is given twice.

use super::RebootError;
use super::semaphore::{Outcome, Semaphore};
use crate::client::{Client, ClientError, GetOptions, PutOptions};
use crate::ids::MachineId;
use crate::model::reboot::Group;

/// How often a change is tried again because somebody else was faster.
const TRIES: u32 = 32;

/// A group's reboot lock; cheap to clone.
#[derive(Clone, Debug)]
pub struct Lock {
    client: Client,
    group: Group,
    key: String,
}

/// The semaphore as the store had it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The document.
    pub semaphore: Semaphore,
    /// The store's index at the reading: a watch goes on from here.
    pub index: u64,
    /// `None` if it has yet to be created.
    modified: Option<u64>,
}

/// What a change came to.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Whether anything had to change.
    pub outcome: Outcome,
    /// The semaphore before.
    pub before: Semaphore,
    /// The semaphore afterwards.
    pub after: Semaphore,
}

impl Lock {
    /// The lock of `group`.
    pub fn new(client: Client, group: &Group) -> Self {
        Self { client, group: group.clone(), key: group.semaphore() }
    }

    /// The key of the document, for a watch.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The semaphore now; one free slot if nobody has written it yet.
    ///
    /// # Errors
    /// `Store`, or `Semaphore` for a document that is not understood.
    pub async fn read(&self) -> Result<Reading, RebootError> {
        match self.client.get(&self.key, &GetOptions::linearizable()).await {
            Ok(answer) => {
                let semaphore = Semaphore::parse(answer.node.value.as_deref().unwrap_or_default())?;
                let modified = Some(answer.node.modified_index);
                Ok(Reading { semaphore, index: answer.index, modified })
            }
            Err(error) if error.is_not_found() => {
                let index = error.api().map_or(0, |api| api.index);
                Ok(Reading { semaphore: Semaphore::default(), index, modified: None })
            }
            Err(cause) => Err(RebootError::store("read the reboot lock")(cause)),
        }
    }

    /// Writes the document if there is none, as every client of locksmith does when it starts: a group exists from then
    /// on.
    ///
    /// # Errors
    /// `Store`, also while it is not known whether it was written.
    pub async fn create(&self) -> Result<(), RebootError> {
        let value = Some(Semaphore::default().render());
        let options = PutOptions { value, prev_exist: Some(false), ..PutOptions::default() };
        match self.client.put(&self.key, &options).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_exists() => Ok(()),
            Err(cause) => Err(RebootError::store("create the reboot lock")(cause)),
        }
    }

    /// Makes sure that the group exists: that somebody has written its document.
    ///
    /// # Errors
    /// `NoGroup`; those of [`Lock::read`].
    pub async fn expect(&self) -> Result<(), RebootError> {
        if !self.group.is_default() && self.read().await?.modified.is_none() {
            return Err(RebootError::NoGroup(self.group.to_string()));
        }
        Ok(())
    }

    /// Takes a slot for `id`; `Outcome::None` if it has one.
    ///
    /// # Errors
    /// `Semaphore` with `Full`; `Contended`; `Store`.
    pub async fn acquire(&self, id: &MachineId) -> Result<Changed, RebootError> {
        self.change(|semaphore| Ok(semaphore.acquire(id)?)).await
    }

    /// Gives back the slot of `id`; `Outcome::None` if it has none.
    ///
    /// # Errors
    /// `Contended`; `Store`.
    pub async fn release(&self, id: &MachineId) -> Result<Changed, RebootError> {
        self.change(|semaphore| Ok(semaphore.release(id))).await
    }

    /// Changes how many may hold at once.
    ///
    /// # Errors
    /// `Semaphore` with `Max`; `Contended`; `Store`.
    pub async fn set_max(&self, max: i64) -> Result<Changed, RebootError> {
        self.change(|semaphore| Ok(semaphore.set_max(max)?)).await
    }

    /// Applies `operation` until it is written or refused. A write whose outcome is unknown is decided by reading
    /// again: then the operation finds its own doing and changes nothing.
    async fn change(
        &self,
        operation: impl Fn(&mut Semaphore) -> Result<Outcome, RebootError>,
    ) -> Result<Changed, RebootError> {
        let mut wrote = None;
        for _ in 0..TRIES {
            let reading = self.read().await?;
            let before = reading.semaphore.clone();
            let mut after = reading.semaphore;
            let outcome = operation(&mut after)?;
            if outcome == Outcome::None {
                let (outcome, before) = wrote.map_or((outcome, before), |first| (Outcome::Made, first));
                return Ok(Changed { outcome, before, after });
            }
            let options = PutOptions {
                value: Some(after.render()),
                prev_index: reading.modified,
                prev_exist: reading.modified.is_none().then_some(false),
                ..PutOptions::default()
            };
            match self.client.put(&self.key, &options).await {
                Ok(_) => return Ok(Changed { outcome, before, after }),
                Err(error) if error.is_compare_failed() || error.is_exists() || error.is_not_found() => {}
                Err(ClientError::UnknownOutcome { .. }) => wrote = Some(before),
                Err(cause) => return Err(RebootError::store("change the reboot lock")(cause)),
            }
        }
        Err(RebootError::Contended(TRIES))
    }
}
