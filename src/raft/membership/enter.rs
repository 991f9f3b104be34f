//! The way of a node with an empty data folder to its part in raft: it asks all others, tells them what it is, founds
//! a cluster with them or is introduced to theirs. [`founding`](super::founding) decides.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::admission;
use super::admission::Admission;
use super::founding;
use super::founding::{Charter, Decision, Heard, Known, Patience, Scene, Waiting, Word, majority};
use super::inquiry::{self, Missed};
use crate::raft::identity::Identity;
use crate::raft::peer::card::Card;
use crate::raft::peer::lobby::Lobby;
use crate::raft::peer::wire::{PeerRequest, PeerResponse};
use crate::raft::storage::Storage;
use crate::raft::types::{Peer, Ticket};

/// How long a majority of empty members waits for the others, before it founds a cluster without them.
pub const FOUND_GRACE: Duration = Duration::from_secs(5);

/// How long one that is to found a cluster alone listens first whether somebody calls who knows it, at least. A member
/// that leads calls with each heartbeat, one that has no leader about once in an election's time.
const ALONE_GRACE: Duration = Duration::from_millis(1500);

/// How long those who belong to a cluster may not know this node. A member that lags behind takes a moment to hear of
/// one that was just added.
const STRANGER_PATIENCE: Duration = Duration::from_secs(30);

/// How often each of the others is asked: at first, and later.
const ASK_EVERY: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// How many times it is asked in quick succession.
const QUICK_ROUNDS: u32 = 100;

/// How often what is waited for is said again.
const SAY_EVERY: Duration = Duration::from_secs(30);

/// Answers of others that wait to be looked at.
const ANSWERS: usize = 64;

/// A node that wants to take part.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Who it takes itself for.
    pub identity: Identity,
    /// Where other members will reach it.
    pub peer_urls: Vec<String>,
    /// The members that it asks; if it founds, they are the first members.
    pub members: BTreeMap<u64, Peer>,
    /// Whether it may found a cluster.
    pub founds: bool,
    /// Whether it founds only with all first members.
    pub with_all: bool,
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// Without a heartbeat for about this long, a follower calls an election.
    pub election: Duration,
}

/// Why a node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// It has lost its data folder.
    #[error(
        "member {0:x} has run before with another data folder, and what it had is not here: a member that forgot what \
         it promised could lose writes of others. Remove it (muster member remove {0:x}) and add it anew (muster member \
         add, or --join), or give its data back"
    )]
    Lost(u64),
    /// It was removed.
    #[error("member {0:x} was removed from its cluster for good")]
    Removed(u64),
    /// The cluster does not know it.
    #[error(
        "the cluster does not know member {0:x}: start this node with --join, which adds it if nobody has yet (muster \
         member add)"
    )]
    Unknown(u64),
    /// The cluster has gone on to a version that this one does not know.
    #[error("{0}")]
    Outgrown(String),
    /// There is nobody to ask.
    #[error("the data is a copy that belongs to no cluster: start it once with --force-new-cluster")]
    Nobody,
    /// The disk fails.
    #[error("{0}")]
    Disk(#[from] io::Error),
}

/// Waits until the node may take part, as long as it takes; what it is told is on disk before it is answered.
/// Meanwhile others are answered on `listeners`.
///
/// # Errors
/// See [`EnterError`].
pub async fn enter(
    storage: &mut Storage,
    listeners: &[Arc<TcpListener>],
    candidate: Candidate,
) -> Result<Admission, EnterError> {
    if candidate.members.is_empty() {
        return Err(EnterError::Nobody);
    }
    let me = candidate.identity.member;
    let folder = storage.folder_id;
    let bound = admission::bound(&storage.identity_store)?;
    let ticket = Ticket { node: me, session: storage.run, seq: 1 };
    // A run of its own, below the one whose batches come after it.
    storage.run = storage.identity_store.next_run(ticket.session)?;
    let card = Card {
        cluster: candidate.identity.cluster,
        member: me,
        incarnation: 0,
        folder,
        run: storage.run,
        previous: storage.previous,
    };
    let lobby = Arc::new(Lobby::new(card, word(folder, bound.as_ref())));
    let mut tasks = JoinSet::new();
    for listener in listeners {
        tasks.spawn(lobby.clone().serve(listener.clone()));
    }
    let run = storage.run;
    let mut entrance =
        Entrance { candidate, folder, run, bound, lobby, ticket, together: None, founded: None, said: None };
    let admitted = entrance.wait(storage).await;
    // Whoever serves the listeners next must find every connection.
    tasks.shutdown().await;
    admitted
}

fn word(folder: u64, bound: Option<&Charter>) -> Word {
    match bound {
        Some(charter) => Word::Bound { charter: charter.clone(), begun: false },
        None => Word::Blank { folder },
    }
}

fn begin(storage: &Storage, candidate: &Candidate, charter: Charter) -> io::Result<Admission> {
    // A folder that was made from a backup has the first membership in its snapshot.
    let founders =
        if storage.folder.newest()?.is_none() { candidate.members.clone() } else { BTreeMap::new() };
    let Charter { incarnation, folders, .. } = charter;
    let identity = candidate.identity.clone();
    Ok(Admission { identity, incarnation, folders, founds: true, founders })
}

/// What was heard of each member so far, what comes in, and the tasks that ask.
type Asking = (BTreeMap<u64, Heard>, mpsc::Receiver<(u64, Heard)>, JoinSet<()>);

struct Entrance {
    candidate: Candidate,
    folder: u64,
    run: u64,
    bound: Option<Charter>,
    lobby: Arc<Lobby>,
    ticket: Ticket,
    /// Since when a majority of empty members has been together.
    together: Option<Instant>,
    /// Since when somebody belongs to a cluster.
    founded: Option<Instant>,
    said: Option<(String, Instant)>,
}

impl Entrance {
    async fn wait(&mut self, storage: &mut Storage) -> Result<Admission, EnterError> {
        let (mut heard, mut answers, mut _askers) = self.start_asking();
        loop {
            // Looks again from time to time, because patience ends by itself.
            match tokio::time::timeout(ASK_EVERY[0], answers.recv()).await {
                Ok(Some((_, Heard::Newer(why)))) => return Err(EnterError::Outgrown(why)),
                Ok(Some((member, what))) => drop(heard.insert(member, what)),
                // There is nobody to ask.
                Ok(None) => tokio::time::sleep(ASK_EVERY[0]).await,
                Err(_) => {}
            }
            match self.decide(&heard) {
                Decision::Wait(waiting) => self.tell(&waiting, &heard),
                Decision::Begin(charter) => return Ok(begin(storage, &self.candidate, charter)?),
                Decision::Refuse(known) => return Err(refusal(known, self.candidate.identity.member)),
                Decision::Accept(charter) => self.bind(storage, Some(charter))?,
                Decision::Forget => self.bind(storage, None)?,
                Decision::Propose(folders) => {
                    let (incarnation, by) = (crate::raft::unique()?, self.candidate.identity.member);
                    self.bind(storage, Some(Charter { incarnation, by, folders }))?;
                }
                Decision::Introduce(None) => {
                    if let Some(admission) = self.introduce(&heard).await? {
                        return Ok(admission);
                    }
                    // What was heard is old by now.
                    tokio::time::sleep(ASK_EVERY[1]).await;
                }
                Decision::Introduce(Some(seat)) => {
                    self.becomes(Identity { member: seat, ..self.candidate.identity.clone() });
                    (heard, answers, _askers) = self.start_asking();
                }
                Decision::Become { cluster, member } => {
                    // That a cluster is there is certain: it founds none any more.
                    self.candidate.founds = false;
                    self.becomes(Identity { member, cluster });
                    (heard, answers, _askers) = self.start_asking();
                }
            }
        }
    }

    /// Takes itself for another member from now on.
    fn becomes(&mut self, identity: Identity) {
        self.ticket.node = identity.member;
        self.candidate.identity = identity;
        self.founded = None;
    }

    /// Asks each of the others again and again.
    fn start_asking(&self) -> Asking {
        let Identity { member: me, cluster } = self.candidate.identity;
        let (tell, told) = mpsc::channel(ANSWERS);
        let mut askers = JoinSet::new();
        let mut heard = BTreeMap::new();
        let mine = &self.candidate.peer_urls;
        let others = self.candidate.members.iter().filter(|(id, peer)| **id != me && peer.peer_urls != *mine);
        for (id, peer) in others {
            heard.insert(*id, Heard::Nothing);
            let (id, at, tell) = (*id, peer.peer_urls.clone(), tell.clone());
            let (folder, peer_urls) = (self.folder, mine.clone());
            let request = PeerRequest::Inquire { cluster, member: me, folder, peer_urls };
            askers.spawn(async move {
                for round in 0_u32.. {
                    if tell.send((id, hear(cluster, &at, &request).await)).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(ASK_EVERY[usize::from(round >= QUICK_ROUNDS)]).await;
                }
            });
        }
        (heard, told, askers)
    }

    fn decide(&mut self, heard: &BTreeMap<u64, Heard>) -> Decision {
        let listed: BTreeSet<u64> = self.candidate.members.keys().copied().collect();
        let here = |heard: &&Heard| matches!(heard, Heard::Said(Word::Blank { .. } | Word::Bound { .. }));
        let enough = 1 + heard.values().filter(here).count() >= majority(listed.len());
        self.together = self.together.filter(|_| enough).or_else(|| enough.then(Instant::now));
        let grace = match listed.len() {
            1 => ALONE_GRACE.max(self.candidate.heartbeat * 3).max(self.candidate.election * 3 / 2),
            _ => FOUND_GRACE,
        };
        let patience = match self.together.map(|since| since.elapsed()) {
            Some(waited) if waited >= grace * 3 => Patience::LongOver,
            Some(waited) if waited >= grace => Patience::Over,
            _ => Patience::Fresh,
        };
        let mut callers = self.lobby.callers();
        callers.retain(|caller, _| !listed.contains(caller));
        let is_founded = heard.values().any(|heard| matches!(heard, Heard::Said(Word::Founded { .. })));
        self.founded = self.founded.filter(|_| is_founded).or_else(|| is_founded.then(Instant::now));
        founding::decide(&Scene {
            me: self.candidate.identity.member,
            folder: self.folder,
            listed: &listed,
            founds: self.candidate.founds,
            with_all: self.candidate.with_all,
            bound: self.bound.as_ref(),
            heard,
            callers: &callers,
            patience,
            unknown_for_long: self.founded.is_some_and(|since| since.elapsed() >= STRANGER_PATIENCE),
        })
    }

    /// Accepts a charter or gives it up: on disk first, then others may know.
    fn bind(&mut self, storage: &Storage, charter: Option<Charter>) -> io::Result<()> {
        admission::bind(&storage.identity_store, charter.as_ref())?;
        match &charter {
            Some(Charter { incarnation, folders, .. }) => {
                let with: Vec<String> = folders.keys().map(|id| format!("{id:x}")).collect();
                let incarnation = format!("{incarnation:x}");
                tracing::info!(with = with.join(","), incarnation, "founding a cluster");
            }
            None => tracing::info!("not enough members found a cluster with this one, starting over"),
        }
        self.bound = charter;
        self.lobby.say(word(self.folder, self.bound.as_ref()));
        Ok(())
    }

    /// Asks one after the other of those who belong to the cluster to introduce this node.
    async fn introduce(&mut self, heard: &BTreeMap<u64, Heard>) -> Result<Option<Admission>, EnterError> {
        let identity = self.candidate.identity.clone();
        let member = identity.member;
        let request = PeerRequest::Enter { member, folder: self.folder, run: self.run, ticket: self.ticket };
        for (id, what) in heard {
            let Heard::Said(Word::Founded { .. }) = what else { continue };
            let Some(peer) = self.candidate.members.get(id) else { continue };
            let problem = match inquiry::ask_for_long(&peer.peer_urls, &request).await {
                Ok(PeerResponse::Entered(pass)) => {
                    tracing::info!(member = format!("{member:x}"), "introduced to the cluster");
                    let (incarnation, folders) = (pass.incarnation, pass.folders);
                    let founders = BTreeMap::new();
                    return Ok(Some(Admission { identity, incarnation, folders, founds: false, founders }));
                }
                // It may have been added anew as another one: whoever answered knows by now.
                Ok(PeerResponse::NotEntered(Known::Removed)) => "it was removed".into(),
                Ok(PeerResponse::NotEntered(known)) => return Err(refusal(known, member)),
                Err(Missed::Outgrown(why)) => return Err(EnterError::Outgrown(why)),
                Ok(PeerResponse::Failed(why)) => why,
                Ok(other) => format!("unexpected answer {other:?}"),
                Err(missed) => missed.to_string(),
            };
            self.say(format!("waiting for the cluster to take this member: {problem}"));
        }
        Ok(None)
    }

    fn tell(&mut self, waiting: &Waiting, heard: &BTreeMap<u64, Heard>) {
        let named = |id: &u64| {
            let peer = self.candidate.members.get(id);
            let at = peer.map(|peer| peer.peer_urls.join(",")).unwrap_or_default();
            match peer.map(|peer| peer.name.as_str()).filter(|name| !name.is_empty()) {
                Some(name) => format!("{name} ({at})"),
                None => at,
            }
        };
        let of = |id: &u64| {
            let how = match heard.get(id) {
                Some(Heard::Late) => " takes connections, but does not answer".into(),
                Some(Heard::Foreign { cluster, .. }) => {
                    format!(" was told of other first members, or belongs to cluster {cluster:x}")
                }
                Some(Heard::Away) => " is not reached".into(),
                _ => String::new(),
            };
            named(id) + &how
        };
        self.say(match waiting {
            Waiting::Answers(missing) => {
                let missing: Vec<String> = missing.iter().map(of).collect();
                format!("waiting for other first members: {}", missing.join("; "))
            }
            Waiting::Charter(by) => format!("waiting for {} to found the cluster", of(by)),
            Waiting::Acceptance(missing) => {
                let missing: Vec<String> = missing.iter().map(of).collect();
                format!("waiting for other first members to found the cluster: {}", missing.join("; "))
            }
            Waiting::Founding(founders) => {
                let founders: Vec<String> = founders.iter().map(of).collect();
                let founders = founders.join("; ");
                format!("others found the cluster without this member; waiting until they have: {founders}")
            }
            Waiting::Strangers(members) => {
                let members: Vec<String> = members.iter().map(of).collect();
                format!(
                    "nothing is founded beside a cluster that is there already and does not know this node; correct \
                     initial_cluster, or add this node there and start it with --join: {}",
                    members.join("; ")
                )
            }
            Waiting::Recognition => {
                "the members of the cluster do not know this one yet; waiting until one does".into()
            }
            Waiting::Callers => "about to found a cluster alone, if no member of one that is there calls".into(),
            Waiting::Knowing(callers) => {
                let callers: Vec<String> = callers.iter().map(|id| format!("{id:x}")).collect();
                format!(
                    "nothing is founded: members of this cluster call that are not among the first members ({}), so it \
                     was founded before; waiting for first members that know it. If all of them are gone, remove this \
                     one (muster member remove {:x}) and start it with --join",
                    callers.join(", "),
                    self.candidate.identity.member
                )
            }
        });
    }

    /// Says what is waited for: once, and again from time to time.
    fn say(&mut self, what: String) {
        if self.said.as_ref().is_some_and(|(said, at)| *said == what && at.elapsed() < SAY_EVERY) {
            return;
        }
        tracing::info!("{what}");
        self.said = Some((what, Instant::now()));
    }
}

fn refusal(known: Known, member: u64) -> EnterError {
    match known {
        Known::Removed => EnterError::Removed(member),
        Known::Stranger => EnterError::Unknown(member),
        Known::Other | Known::Same | Known::Unintroduced => EnterError::Lost(member),
    }
}

async fn hear(mine: u64, at: &[String], request: &PeerRequest) -> Heard {
    match inquiry::ask(at, request).await {
        Ok(PeerResponse::Word { cluster, word }) if cluster == mine => Heard::Said(word),
        Ok(PeerResponse::Word { cluster, word }) => Heard::Foreign { cluster, word },
        Ok(other) => {
            tracing::debug!(?other, "unexpected answer");
            Heard::Late
        }
        Err(Missed::Outgrown(why)) => Heard::Newer(why),
        Err(Missed::Late(_)) => Heard::Late,
        Err(Missed::Away(_)) => Heard::Away,
    }
}
