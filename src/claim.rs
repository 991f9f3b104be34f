//! Whose a machine id is, by the presence in the store. The agent, its engine and the reboot coordinator of a machine ask
//! before they act under its id, so that of two machines with the same one the second touches nothing of the first's.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::client::{Client, ClientError, GetOptions, Node, PutOptions};
use crate::ids::MachineId;
use crate::model;
use crate::model::claim::{Owner, Sighting, Suspicion, owner};
use crate::model::machine::Refusal;

/// How often a presence is looked at that may be about to expire.
const POLL: Duration = Duration::from_millis(250);
/// How long the note of a refused machine stays, in seconds: a day, so that whoever looks for it finds it.
const NOTE_TTL: u64 = 24 * 60 * 60;

/// Another machine that is alive has the same id. Nothing was touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "machine id {id} is in use by the living machine {other} (boot id {boot_id}): give one of them another, with \
     `systemd-id128 new >/etc/machine-id` and a reboot"
)]
pub struct Duplicate {
    /// The id.
    pub id: MachineId,
    /// The other's host name.
    pub other: String,
    /// The other's boot id.
    pub boot_id: String,
}

/// A machine's presence as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Whom it belongs to.
    pub owner: Owner,
    /// The directory, with all below it if that was asked for.
    pub dir: Node,
    /// The index of the description's last change; `None` if it has none.
    pub described: Option<u64>,
}

impl Found {
    fn new(dir: Node, boot_id: &str) -> Self {
        let file = dir.nodes.iter().find(|node| node.key.ends_with("/info"));
        let described = file.map(|file| file.modified_index);
        let description = file.and_then(|file| serde_json::from_str(file.value.as_deref()?).ok());
        let expires = dir.ttl.is_some() || dir.expiration.is_some();
        Self { owner: owner(description, expires, boot_id), described, dir }
    }

    /// How it looks to whoever does not know the boot `boot_id` that it belongs to.
    fn sighting<'a>(&'a self, boot_id: &'a str) -> Sighting<'a> {
        let left = self.dir.ttl.and_then(|seconds| seconds.try_into().ok()).unwrap_or_default();
        let expires = self.dir.expiration.as_deref().unwrap_or_default();
        Sighting { boot_id, left: Duration::from_secs(left), expires }
    }
}

/// Whether the machine's id is its own at this moment. Whoever acts under it asks before each step: another machine may
/// have taken it while this one was cut off.
#[derive(Clone, Debug)]
pub struct Standing(watch::Receiver<Option<watch::Receiver<Instant>>>);

impl Standing {
    /// What `registrations` tells: until when the present one is certain; `None` while there is none.
    pub fn new(registrations: watch::Receiver<Option<watch::Receiver<Instant>>>) -> Self {
        Self(registrations)
    }

    /// Whether the id is certainly ours.
    pub fn holds(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|until| *until.borrow() > Instant::now())
    }

    /// Waits until there is another registration, or none any longer; for ever once there will be no change.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits for a registration. False: there will be none.
    pub async fn begun(&mut self) -> bool {
        self.0.wait_for(Option::is_some).await.is_ok()
    }
}

/// Looks for the presence of the machine `id`, from the boot `boot_id`; `None` if it is absent.
///
/// # Errors
/// The store does not answer.
pub async fn find(
    client: &Client,
    id: &MachineId,
    boot_id: &str,
    with_units: bool,
) -> Result<Option<Found>, ClientError> {
    let options = GetOptions { recursive: with_units, ..GetOptions::linearizable() };
    match client.get(&model::machine_dir(id), &options).await {
        Ok(answer) => Ok(Some(Found::new(answer.node, boot_id))),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until it is certain whether another machine that is alive has the id `id`: at once if none is present, and for
/// up to the rest of its TTL if one is, because that may be an earlier boot of this machine. A store that does not
/// answer is asked for ever. Returns what was found of a presence that is nobody else's.
///
/// # Errors
/// `Duplicate`.
pub async fn settle(
    client: &Client,
    id: &MachineId,
    boot_id: &str,
    with_units: bool,
) -> Result<Option<Found>, Duplicate> {
    let epoch = Instant::now();
    let mut suspicion = Suspicion::default();
    let mut told = false;
    loop {
        let began = epoch.elapsed();
        match find(client, id, boot_id, with_units).await {
            Ok(Some(found)) => match &found.owner {
                Owner::Nobody | Owner::Us => return Ok(Some(found)),
                Owner::Other(other) => {
                    if suspicion.confirmed_by(&found.sighting(&other.boot_id), began, epoch.elapsed()) {
                        let (other, boot_id) = (other.hostname.clone(), other.boot_id.clone());
                        return Err(Duplicate { id: id.clone(), other, boot_id });
                    }
                    if !std::mem::replace(&mut told, true) {
                        tracing::info!(
                            boot_id = other.boot_id,
                            "this machine's id is present from another boot of {}; waiting to see whether that is over",
                            other.hostname
                        );
                    }
                }
            },
            Ok(None) => return Ok(None),
            Err(error) => {
                tracing::debug!(%error, "whose this machine's id is cannot be read yet");
                suspicion.forget();
            }
        }
        sleep(POLL).await;
    }
}

/// Leaves a note for those who look at the machine that has the id `id`: who else was refused with it. Nothing depends
/// on it.
pub async fn leave_note(client: &Client, id: &MachineId, note: &Refusal) {
    let value = serde_json::to_string(note).unwrap_or_default();
    let put = PutOptions { value: Some(value), ttl: Some(NOTE_TTL), ..Default::default() };
    if let Err(error) = client.put(&model::refusal(id, &note.boot_id), &put).await {
        tracing::warn!(%error, "no note of this refusal could be left in the store");
    }
}
