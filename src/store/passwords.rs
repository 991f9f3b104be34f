//! Passwords: hashed where the request comes in, checked off the async threads, and not twice in a row.
//!
//! A check takes some 50 ms of a processor on purpose. So what came of one is remembered for a while: the hash, and a
//! digest of the password under a key that this process drew. A changed password has another hash, so it counts at once.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::keyspace::auth::PasswordHash;

/// bcrypt's cost, the one that etcd uses: 2 to the power of this many rounds.
const COST: u32 = 10;

/// How long the outcome of a check is remembered.
const REMEMBERED: Duration = Duration::from_secs(300);

/// Outcomes that are remembered, good and bad ones each.
const REMEMBERED_CHECKS: usize = 1024;

/// The hash could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct HashError(String);

/// What names a password without holding it.
type Fingerprint = [u8; 32];

/// Hashes and checks passwords.
pub struct Passwords {
    /// Checks that may run at a time; others wait, so that requests without credentials go on being served.
    slots: Arc<Semaphore>,
    /// Drawn at the start, so that a digest means nothing elsewhere.
    key: [u64; 2],
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    good: HashMap<Fingerprint, Instant>,
    bad: HashMap<Fingerprint, Instant>,
}

impl Passwords {
    /// None checked yet.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new() -> io::Result<Self> {
        let slots = std::thread::available_parallelism().map_or(1, |count| (count.get() / 2).max(1));
        let key = [crate::raft::unique()?, crate::raft::unique()?];
        Ok(Self { slots: Arc::new(Semaphore::new(slots)), key, memory: Mutex::default() })
    }

    /// The hash of a new password.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub async fn hash(&self, password: String) -> Result<PasswordHash, HashError> {
        let failed = |error: &dyn std::fmt::Display| HashError(error.to_string());
        let _slot = self.slots.acquire().await.map_err(|e| failed(&e))?;
        let work = move || bcrypt::hash(password, COST);
        let hash = tokio::task::spawn_blocking(work).await.map_err(|e| failed(&e))?;
        hash.map(|hash| PasswordHash::new(&hash)).map_err(|e| failed(&e))
    }

    /// Whether `password` is the one that `hash` was made of.
    pub async fn check(&self, hash: &PasswordHash, password: &[u8]) -> bool {
        let fingerprint = self.fingerprint(hash, password);
        if let Some(known) = self.memory().recall(&fingerprint) {
            return known;
        }
        let Ok(_slot) = self.slots.acquire().await else { return false };
        // Somebody may have checked the same while this one waited.
        if let Some(known) = self.memory().recall(&fingerprint) {
            return known;
        }
        let (text, password) = (hash.as_str().to_string(), password.to_vec());
        let work = move || bcrypt::verify(password, &text);
        let good = match tokio::task::spawn_blocking(work).await {
            Ok(Ok(good)) => good,
            Ok(Err(error)) => {
                tracing::warn!(%error, "a password hash cannot be read");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "a password was not checked");
                return false;
            }
        };
        self.memory().remember(fingerprint, good);
        good
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().expect("password memory lock poisoned")
    }

    fn fingerprint(&self, hash: &PasswordHash, password: &[u8]) -> Fingerprint {
        let digest =
            self.key.iter().fold(Sha256::new(), |digest, part| digest.chain_update(part.to_le_bytes()));
        digest.chain_update(hash.as_str()).chain_update([0]).chain_update(password).finalize().into()
    }
}

impl Memory {
    fn recall(&self, fingerprint: &Fingerprint) -> Option<bool> {
        let fresh = |at: &Instant| at.elapsed() < REMEMBERED;
        let good = self.good.get(fingerprint).is_some_and(fresh);
        (good || self.bad.get(fingerprint).is_some_and(fresh)).then_some(good)
    }

    fn remember(&mut self, fingerprint: Fingerprint, good: bool) {
        let outcomes = if good { &mut self.good } else { &mut self.bad };
        if outcomes.len() >= REMEMBERED_CHECKS {
            outcomes.retain(|_, at| at.elapsed() < REMEMBERED);
        }
        if outcomes.len() >= REMEMBERED_CHECKS
            && let Some(oldest) = outcomes.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key)
        {
            outcomes.remove(&oldest);
        }
        outcomes.insert(fingerprint, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_right_password_is_known_and_the_second_check_is_quick() {
        let passwords = Passwords::new().unwrap();
        let hash = passwords.hash("secret\0ä".into()).await.unwrap();
        assert!(passwords.check(&hash, "secret\0ä".as_bytes()).await);
        assert!(!passwords.check(&hash, b"secret").await);
        assert!(!passwords.check(&hash, b"").await);
        let began = Instant::now();
        for _ in 0..100 {
            assert!(passwords.check(&hash, "secret\0ä".as_bytes()).await);
            assert!(!passwords.check(&hash, b"secret").await);
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn another_hash_of_the_same_password_is_checked_anew() {
        let passwords = Passwords::new().unwrap();
        let (one, other) =
            (passwords.hash("a".into()).await.unwrap(), passwords.hash("b".into()).await.unwrap());
        assert!(passwords.check(&one, b"a").await);
        assert!(!passwords.check(&other, b"a").await);
    }

    #[tokio::test]
    async fn hashes_of_etcd_are_understood() {
        // As etcd 3.4.23 wrote it for the password "p".
        let hash = PasswordHash::new("$2a$10$Nswzsie2QquyaqkQSCoG2uojgPcepFB/xU1NODDoIHRIKE5O91k9G");
        assert!(Passwords::new().unwrap().check(&hash, b"p").await);
        assert!(!Passwords::new().unwrap().check(&hash, b"wrong").await);
        assert!(!Passwords::new().unwrap().check(&PasswordHash::new("no hash"), b"wrong").await);
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let mut memory = Memory::default();
        let name = |n: usize| {
            let mut name = [0; 32];
            name[..8].copy_from_slice(&n.to_le_bytes());
            name
        };
        for n in 0..=REMEMBERED_CHECKS {
            memory.remember(name(n), n % 2 == 0);
            memory.remember(name(n + 1_000_000), true);
        }
        assert!(memory.good.len() <= REMEMBERED_CHECKS && memory.bad.len() <= REMEMBERED_CHECKS);
        assert_eq!(memory.recall(&name(0)), None);
        assert_eq!(memory.recall(&name(REMEMBERED_CHECKS + 1_000_000)), Some(true));
        assert_eq!(memory.recall(&name(1)), Some(false));
    }
}
