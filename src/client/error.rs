//! What can go wrong between a caller and the store.

use std::fmt;

use serde::Deserialize;
use url::Url;

/// Key not found.
const NOT_FOUND: u32 = 100;
/// A condition of a write did not hold.
const COMPARE_FAILED: u32 = 101;
/// The key exists already.
const EXISTS: u32 = 105;
/// Whoever asks may not do that, or is not who they say.
const DENIED: u32 = 110;
/// The watched history is gone.
pub(super) const CLEARED: u32 = 401;
/// The server sits between two leaders: nothing was proposed.
const DURING_ELECTION: u32 = 301;

/// A refusal as the etcd v2 API words it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ApiError {
    /// The `errorCode`, such as 100 for a missing key.
    #[serde(rename = "errorCode")]
    pub code: u32,
    /// The code in words.
    pub message: String,
    /// What it is about, usually a key; empty when the server gave none.
    #[serde(default)]
    pub cause: String,
    /// The store's index when it refused; 0 for requests that were refused unread.
    #[serde(default)]
    pub index: u64,
}

impl ApiError {
    /// Whether a server that answered so has surely not begun to carry out a write.
    pub(super) fn left_alone(&self) -> bool {
        self.code == DURING_ELECTION || self.cause.ends_with("no leader")
    }
}

/// `CODE: MESSAGE (CAUSE) [INDEX]`, the form etcdctl prints.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}) [{}]", self.code, self.message, self.cause, self.index)
    }
}

/// An endpoint that was tried in vain, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Whom the request was sent to.
    pub endpoint: Url,
    /// What came of it, in a few words.
    pub problem: Box<str>,
    /// Whether the connection failed, rather than what came over it or did not come.
    pub disconnected: bool,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint.as_str().trim_end_matches('/'), self.problem)
    }
}

/// Why a request to the store brought no answer that can be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// The store understood the request and said no.
    #[error("{0}")]
    Refused(ApiError),

    /// The events a watch asked for are no longer kept, or the store is another one than before: read everything
    /// anew, then watch from there.
    #[error("{refusal}")]
    Cleared {
        /// The server's words (code 401).
        refusal: ApiError,
    },

    /// The store understood a request about members or users and said no, in words alone.
    #[error("{message}")]
    Declined {
        /// The HTTP status: 400, 401, 403, 404, 409, 410 or 415.
        status: u16,
        /// The server's words.
        message: String,
    },

    /// No endpoint gave an answer, and a write was surely carried out by none. Worth trying again later.
    #[error("no endpoint of the store answers: {}", list(.attempts))]
    Unavailable {
        /// What was tried, in order.
        attempts: Vec<Attempt>,
    },

    /// A write was sent and no answer came back: it may have been carried out, or may still be. Read (with
    /// `quorum`) before doing it again.
    #[error("the write may or may not have been carried out: {attempt}")]
    UnknownOutcome {
        /// Where it was sent to.
        attempt: Attempt,
    },

    /// Something answered that does not speak the etcd v2 API.
    #[error("not an answer of the etcd v2 API: {attempt}")]
    Malformed {
        /// Who answered, and what is wrong with it.
        attempt: Attempt,
    },

    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client: {problem}")]
    Setup {
        /// In the words of the HTTP library.
        problem: String,
    },
}

fn list(attempts: &[Attempt]) -> String {
    attempts.iter().map(Attempt::to_string).collect::<Vec<_>>().join("; ")
}

impl ClientError {
    /// The store's own words, when it was the store that refused.
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Refused(api) | Self::Cleared { refusal: api } => Some(api),
            Self::Declined { .. }
            | Self::Unavailable { .. }
            | Self::UnknownOutcome { .. }
            | Self::Malformed { .. }
            | Self::Setup { .. } => None,
        }
    }

    /// The key, or a directory above it, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.has_code(NOT_FOUND)
    }

    /// `prevValue` or `prevIndex` did not hold.
    pub fn is_compare_failed(&self) -> bool {
        self.has_code(COMPARE_FAILED)
    }

    /// The key should have been created and exists already.
    pub fn is_exists(&self) -> bool {
        self.has_code(EXISTS)
    }

    /// The store knows no such user with this password, or the user has no right to that.
    pub fn is_denied(&self) -> bool {
        self.has_code(DENIED)
    }

    /// Nobody answered: the state of the keys is not known, and nothing was changed.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    fn has_code(&self, code: u32) -> bool {
        self.api().is_some_and(|api| api.code == code)
    }
}
