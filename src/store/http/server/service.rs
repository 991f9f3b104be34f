//! Between hyper and the pages: one request and its answer, how far they have come, and what is counted of them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::{Request, Response};

use super::target::BodyLength;
use super::watch_stream::{Framing, Watch};
use crate::store::http::accepted::Accepted;
use crate::store::http::metrics::Route;
use crate::store::http::router::Router;

/// The body that warp makes, which has no name of its own.
type Page = <warp::reply::Response as Answer>::Body;

/// Gives the body's type a name.
pub trait Answer {
    /// The body's type.
    type Body;
}

impl<B> Answer for Response<B> {
    type Body = B;
}

/// How far the exchange on one connection has come. Only its own task looks at it.
#[derive(Default)]
pub struct Progress {
    /// A request is being answered.
    busy: AtomicBool,
    /// Bytes of the next request have come, and its head is not complete.
    head_open: AtomicBool,
    /// A watch has been accepted, the head of its answer is written, and nothing of the request is left.
    waiting: AtomicBool,
    /// All that is written has gone out since.
    flushed: AtomicBool,
    /// How long the body is of a head that was read since somebody asked.
    body: Mutex<Option<BodyLength>>,
    watch: Mutex<Option<Watch>>,
}

impl Progress {
    /// Bytes have come.
    pub fn received(&self) {
        if !self.busy.load(Ordering::Relaxed) {
            self.head_open.store(true, Ordering::Relaxed);
        }
    }

    /// Everything written has gone out.
    pub fn flushed(&self) {
        self.flushed.store(self.waiting.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether a request has begun whose head is not complete.
    pub fn head_is_open(&self) -> bool {
        self.head_open.load(Ordering::Relaxed)
    }

    /// Whether a watch is all that is left to do.
    pub fn is_handed_over(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    /// The watch, once.
    pub fn take_watch(&self) -> Option<Watch> {
        self.watch.lock().expect("accepted watch lock poisoned").take()
    }

    /// How long the body is that belongs to the last head, if one has been read since the last call.
    pub fn take_body_length(&self) -> Option<BodyLength> {
        self.body.lock().expect("body length lock poisoned").take()
    }

    fn begin(&self, body: BodyLength) {
        *self.body.lock().expect("body length lock poisoned") = Some(body);
        self.busy.store(true, Ordering::Relaxed);
        self.head_open.store(false, Ordering::Relaxed);
    }

    fn park(&self, watch: Watch) {
        *self.watch.lock().expect("accepted watch lock poisoned") = Some(watch);
    }
}

/// Answers the requests of one connection.
pub struct PageService {
    pages: Arc<Router>,
    progress: Arc<Progress>,
}

impl PageService {
    /// Answers by `pages`.
    pub fn new(pages: Arc<Router>, progress: Arc<Progress>) -> Self {
        Self { pages, progress }
    }
}

impl hyper::service::Service<Request<Incoming>> for PageService {
    type Response = Response<Outbound>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.progress.begin(request.body().size_hint().exact());
        let began = Instant::now();
        let framing = Framing::of(&request);
        let route = Route::of(request.uri().path());
        let method = request.method().clone();
        let (pages, progress) = (self.pages.clone(), self.progress.clone());
        Box::pin(async move {
            let mut response = pages.answer(request).await;
            let accepted = response.extensions_mut().remove::<Accepted>().and_then(Accepted::take);
            let route = if accepted.is_some() { Route::Watch } else { route };
            pages.store().metrics().http.answered(route, &method, response.status(), began.elapsed());
            let waits = accepted.is_some();
            if let Some((subscription, pass)) = accepted {
                let framing = framing.under(response.headers());
                progress.park(Watch { subscription, pass, framing });
            }
            Ok(response.map(|page| match waits {
                true => Outbound::Watch { progress },
                false => Outbound::Page { page, progress },
            }))
        })
    }
}

/// An answer's body.
pub enum Outbound {
    /// A page.
    Page {
        /// Its bytes.
        page: Page,
        /// Told when they are gone.
        progress: Arc<Progress>,
    },
    /// Nothing yet, and of unknown length: what comes is written without hyper.
    Watch {
        /// Told when the head is written.
        progress: Arc<Progress>,
    },
}

impl Body for Outbound {
    type Data = Bytes;
    type Error = warp::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, warp::Error>>> {
        match &mut *self {
            Self::Page { page, .. } => Pin::new(page).poll_frame(cx),
            Self::Watch { progress } => {
                progress.waiting.store(true, Ordering::Relaxed);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page { page, .. } => page.is_end_stream(),
            Self::Watch { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page { page, .. } => page.size_hint(),
            Self::Watch { .. } => SizeHint::default(),
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        if let Self::Page { progress, .. } = self {
            progress.busy.store(false, Ordering::Relaxed);
        }
    }
}
