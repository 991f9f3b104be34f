//! Who may ask for what: the credentials of a request, and the check against users and roles.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use tokio::sync::watch;
use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;
use warp::reply::Response;

use super::Api;
use super::answer::{ApiError, message};
use crate::keyspace::Tally;
use crate::keyspace::auth::{Access, Auth, PasswordHash, Who};
use crate::store::{Consistency, Store};

/// How long a request that is about to be denied waits for news of users and roles from the other members.
const NEWS_TIMEOUT: Duration = Duration::from_secs(1);

/// Go's decoder, which does not mind bits behind the last byte.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Lets a request through that only root may make, or gives the answer that denies it. Everybody may while auth is off.
///
/// # Errors
/// The answer 401.
pub async fn require_root(api: &Api, headers: &HeaderMap) -> Result<(), Response> {
    admit_root(api, headers, Wish::Root).await
}

/// As [`require_root`], for what etcd has not or lets everybody do: no lookup of etcd's is counted.
///
/// # Errors
/// The answer 401.
pub async fn require_operator(api: &Api, headers: &HeaderMap) -> Result<(), Response> {
    admit_root(api, headers, Wish::Operator).await
}

async fn admit_root(api: &Api, headers: &HeaderMap, wish: Wish) -> Result<(), Response> {
    match Pass::new(&api.store, headers, wish).admitted().await {
        Ok(_) => Ok(()),
        Err(Denied) => Err(message(warp::http::StatusCode::UNAUTHORIZED, b"Insufficient credentials")),
    }
}

/// Lets a request for a key through. `path` is the key as the request wrote it: a slash at its end counts.
///
/// # Errors
/// 110.
pub async fn admit(
    api: &Api,
    headers: &HeaderMap,
    path: &[u8],
    recursive: bool,
    write: bool,
) -> Result<Pass, ApiError> {
    let wish = Wish::Key { path: path.to_vec(), recursive, write };
    Pass::new(&api.store, headers, wish).admitted().await.map_err(ApiError::from)
}

/// Denies a write of a key that would be denied whatever its parameters are, which are not known yet; ask
/// [`Early::settle`] when they are.
///
/// # Errors
/// 110.
pub async fn admit_early(api: &Api, headers: &HeaderMap, path: &[u8]) -> Result<Early, ApiError> {
    let wish = Wish::Key { path: path.to_vec(), recursive: false, write: true };
    let mut pass = Pass::new(&api.store, headers, wish);
    if pass.check().await.0 {
        return Ok(Early(pass));
    }
    pass.admitted().await.map(Early).map_err(ApiError::from)
}

/// Admission to a write but for its parameters.
pub struct Early(Pass);

impl Early {
    /// Lets the request through now that its parameters are known.
    ///
    /// # Errors
    /// 110.
    pub async fn settle(self, recursive: bool) -> Result<Pass, ApiError> {
        let Self(mut pass) = self;
        if let Wish::Key { recursive: known, .. } = &mut pass.wish {
            *known = recursive;
        }
        pass.admitted().await.map_err(ApiError::from)
    }
}

/// The request may not do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

impl From<Denied> for ApiError {
    fn from(_: Denied) -> Self {
        Self::request(110, "Insufficient credentials")
    }
}

/// What is to be done.
enum Wish {
    Key {
        path: Vec<u8>,
        recursive: bool,
        write: bool,
    },
    /// Something that etcd reserves for root.
    Root,
    /// Something that only Muster reserves for root.
    Operator,
}

/// Whom a request says that it comes from.
enum Caller {
    /// The request does not say.
    Guest,
    /// It says so in a way that cannot be read.
    Unreadable,
    /// Name and password.
    Basic(Vec<u8>, Vec<u8>),
}

/// Admission to one thing, which can be checked again later.
pub struct Pass {
    store: Arc<Store>,
    auth: watch::Receiver<Arc<Auth>>,
    wish: Wish,
    caller: Caller,
    /// What the password was compared with.
    verified: Option<PasswordHash>,
}

impl Pass {
    fn new(store: &Arc<Store>, headers: &HeaderMap, wish: Wish) -> Self {
        let caller = caller(headers);
        Self { store: store.clone(), auth: store.auth(), wish, caller, verified: None }
    }

    /// Checks; before it denies, it makes sure that this node knows of every change of users and roles that was
    /// acknowledged, so that a user who was just added on another node is not turned away here.
    async fn admitted(mut self) -> Result<Self, Denied> {
        let (allowed, lookups) = self.check().await;
        if !matches!(self.wish, Wish::Operator) {
            self.store.count_gets(lookups);
        }
        if allowed {
            return Ok(self);
        }
        let news = self.store.wait_for(Consistency::Linearizable);
        // Without a quorum there is no news, and what is known here decides.
        let _ = tokio::time::timeout(NEWS_TIMEOUT, news).await;
        if self.auth.has_changed().unwrap_or(false) && self.check().await.0 { Ok(self) } else { Err(Denied) }
    }

    /// Checks again if users or roles have changed since the last check.
    ///
    /// # Errors
    /// It is no longer allowed.
    pub async fn confirm(&mut self) -> Result<(), Denied> {
        while self.auth.has_changed().unwrap_or(false) {
            self.renew().await?;
        }
        Ok(())
    }

    /// Resolves when users or roles have changed; then ask [`Pass::renew`].
    pub async fn shaken(&mut self) {
        if self.auth.changed().await.is_err() {
            // The store is gone; whoever holds this pass ends for that reason.
            std::future::pending().await
        }
    }

    /// Checks again.
    ///
    /// # Errors
    /// It is no longer allowed.
    pub async fn renew(&mut self) -> Result<(), Denied> {
        if self.check().await.0 { Ok(()) } else { Err(Denied) }
    }

    /// Whether it is allowed by what is known here now, and what was looked up for that.
    async fn check(&mut self) -> (bool, Tally) {
        let auth = self.auth.borrow_and_update().clone();
        let mut lookups = Tally::default();
        lookups.count(auth.is_used());
        let allowed = !auth.is_enabled() || self.judge(&auth, &mut lookups).await;
        (allowed, lookups)
    }

    async fn judge(&mut self, auth: &Auth, lookups: &mut Tally) -> bool {
        let who = match &self.caller {
            Caller::Unreadable => return false,
            Caller::Guest => Who::Guest,
            Caller::Basic(name, password) => {
                let user = auth.user(name);
                lookups.count(user.is_some());
                let Some((name, user)) = user else { return false };
                if self.verified.as_ref() != Some(&user.hash) {
                    // A pass whose password was changed is not valid any more.
                    if self.verified.is_some() || !self.store.passwords().check(&user.hash, password).await {
                        return false;
                    }
                    self.verified = Some(user.hash.clone());
                }
                Who::User(name)
            }
        };
        match (&self.wish, who) {
            (Wish::Root | Wish::Operator, Who::Guest) => false,
            (Wish::Root | Wish::Operator, Who::User(name)) => auth.is_root(name),
            (Wish::Key { path, recursive, write }, who) => {
                auth.allows(who, Access { path, recursive: *recursive, write: *write }, lookups)
            }
        }
    }
}

/// Reads the header as Go's `Request.BasicAuth` does; an empty one is as good as none.
fn caller(headers: &HeaderMap) -> Caller {
    let value = headers.get(AUTHORIZATION).map(|value| value.as_bytes()).unwrap_or_default();
    if value.is_empty() {
        return Caller::Guest;
    }
    let basic = || {
        let (scheme, encoded) = value.split_at_checked(6)?;
        let decoded = scheme.eq_ignore_ascii_case(b"Basic ").then(|| BASE64.decode(encoded).ok())??;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        Some(Caller::Basic(decoded[..colon].to_vec(), decoded[colon + 1..].to_vec()))
    };
    basic().unwrap_or(Caller::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &str) -> Caller {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        caller(&headers)
    }

    #[test]
    fn credentials_are_read_as_in_go() {
        assert!(matches!(caller(&HeaderMap::new()), Caller::Guest));
        assert!(matches!(of(""), Caller::Guest));
        for (value, name, password) in [
            ("Basic YTpi", "a", "b"),
            ("basic YTpiOmM=", "a", "b:c"),
            ("BASIC Og==", "", ""),
            ("Basic OjF=", "", "1"),
        ] {
            let Caller::Basic(n, p) = of(value) else { panic!("{value} is good") };
            assert_eq!((&n[..], &p[..]), (name.as_bytes(), password.as_bytes()), "{value}");
        }
        for value in
            ["Basic", "Basic ", "Basic YQ==", "Basic YTpiOmM", "Basic  YTpi", "Bearer YTpi", "Basic !!!!"]
        {
            assert!(matches!(of(value), Caller::Unreadable), "{value}");
        }
    }
}
