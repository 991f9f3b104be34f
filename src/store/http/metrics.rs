//! What is counted of HTTP: a fixed set of labels, each counter resolved once.

use std::array;
use std::sync::OnceLock;
use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use warp::http::{Method, StatusCode};

use crate::raft::metrics::{counter, duration, observe, registered};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v2/keys`, but for watches.
    Keys,
    /// An accepted watch.
    Watch,
    /// `/v2/members` and `/v2/machines`.
    Members,
    /// `/v2/stats`.
    Stats,
    /// `/v2/auth`.
    Auth,
    /// `/health`.
    Health,
    /// Metrics, settings at run time, version.
    Admin,
    /// Anything else.
    Other,
}

const ROUTES: [&str; 8] = ["keys", "watch", "members", "stats", "auth", "health", "admin", "other"];
const METHODS: [&str; 6] = ["GET", "HEAD", "PUT", "POST", "DELETE", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Statuses by method.
type Grid = [[OnceLock<IntCounter>; CLASSES.len()]; METHODS.len()];

impl Route {
    /// By the path as it was sent.
    pub fn of(path: &str) -> Self {
        let rest = path.strip_prefix("/v2/").unwrap_or_default();
        match rest.split('/').next().unwrap_or_default() {
            "keys" => Self::Keys,
            "members" | "machines" => Self::Members,
            "stats" => Self::Stats,
            "auth" => Self::Auth,
            _ if path == "/health" => Self::Health,
            _ if ["/metrics", "/debug/", "/config/", "/version"].iter().any(|p| path.starts_with(p)) => {
                Self::Admin
            }
            _ => Self::Other,
        }
    }
}

/// The counters.
#[derive(Debug)]
pub struct HttpMetrics {
    requests: IntCounterVec,
    grid: [Grid; ROUTES.len()],
    durations: [Histogram; ROUTES.len()],
    /// Connections that were refused because there were too many.
    pub refused: IntCounter,
    /// Connections closed because the head of a request took too long.
    pub head_timeouts: IntCounter,
    /// Connections closed because the reader of a large answer was too slow for it to be kept.
    pub slow_readers: IntCounter,
    /// Requests that were refused because too much was under way.
    pub busy: IntCounter,
}

impl HttpMetrics {
    /// Registered and at zero.
    ///
    /// # Errors
    /// Another figure has one of the names.
    pub fn new(r: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new("muster_http_requests_total", "Requests answered; watches when accepted.");
        let requests = registered(r, IntCounterVec::new(opts, &["route", "method", "status"])?)?;
        let opts = duration(
            "muster_http_request_duration_seconds",
            "From the head of a request until its answer was ready; not for watches.",
            14,
        )?;
        let durations = registered(r, HistogramVec::new(opts, &["route"])?)?;
        Ok(Self {
            requests,
            grid: array::from_fn(|_| array::from_fn(|_| array::from_fn(|_| OnceLock::new()))),
            durations: ROUTES.map(|route| durations.with_label_values(&[route])),
            refused: counter(
                r,
                "muster_http_connections_refused_total",
                "Connections refused because there were too many.",
            )?,
            head_timeouts: counter(
                r,
                "muster_http_head_timeouts_total",
                "Connections closed because the head of a request took too long.",
            )?,
            slow_readers: counter(
                r,
                "muster_http_slow_readers_total",
                "Connections closed because the reader of a large answer was too slow.",
            )?,
            busy: counter(
                r,
                "muster_http_busy_total",
                "Requests refused because too many large ones were under way.",
            )?,
        })
    }

    /// Counts an answer.
    pub fn answered(&self, route: Route, method: &Method, status: StatusCode, took: Duration) {
        let at = METHODS.iter().position(|m| *m == method.as_str()).unwrap_or(METHODS.len() - 1);
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        let labels = || [ROUTES[route as usize], METHODS[at], CLASSES[class]];
        self.grid[route as usize][at][class].get_or_init(|| self.requests.with_label_values(&labels())).inc();
        if route != Route::Watch {
            observe(&self.durations[route as usize], took);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_few_routes() {
        for (path, route) in [
            ("/v2/keys", Route::Keys),
            ("/v2/keys/a/b", Route::Keys),
            ("/v2/keysX", Route::Other),
            ("/v2/machines", Route::Members),
            ("/v2/stats/self", Route::Stats),
            ("/health", Route::Health),
            ("/metrics", Route::Admin),
            ("/debug/vars", Route::Admin),
            ("/", Route::Other),
        ] {
            assert_eq!(Route::of(path), route, "{path}");
        }
    }

    #[test]
    fn answers_are_counted_by_route_method_and_class() {
        let registry = Registry::new();
        let figures = HttpMetrics::new(&registry).unwrap();
        figures.answered(Route::Keys, &Method::PUT, StatusCode::CREATED, Duration::from_millis(2));
        figures.answered(Route::Keys, &Method::PUT, StatusCode::OK, Duration::from_millis(2));
        figures.answered(Route::Watch, &Method::from_bytes(b"FOO").unwrap(), StatusCode::OK, Duration::ZERO);
        let counted = |labels: &[&str]| figures.requests.with_label_values(labels).get();
        assert_eq!(counted(&["keys", "PUT", "2xx"]), 2);
        assert_eq!(counted(&["watch", "other", "2xx"]), 1);
        assert_eq!(figures.durations[Route::Keys as usize].get_sample_count(), 2);
    }
}
