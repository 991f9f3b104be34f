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
use hyper::{Method, Request, Response};

use super::framing::Framing;
use super::target::BodyLength;
use crate::store::http::handed_over::{HandedOver, Work};
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

/// Work and how its bytes are written.
pub struct Parked {
    /// The work.
    pub work: Work,
    /// How the body is written.
    pub framing: Framing,
}

/// How far the exchange on one connection has come. Only its own task looks at it.
#[derive(Default)]
pub struct Progress {
    /// A request is being answered.
    busy: AtomicBool,
    /// Bytes of the next request have come, and its head is not complete.
    head_open: AtomicBool,
    /// Work was handed over, the head of its answer is written, and nothing of the request is left.
    waiting: AtomicBool,
    /// All that is written has gone out since.
    flushed: AtomicBool,
    /// How long the body is of a head that was read since somebody asked.
    body: Mutex<Option<BodyLength>>,
    parked: Mutex<Option<Parked>>,
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

    /// Whether what was handed over is all that is left to do.
    pub fn is_handed_over(&self) -> bool {
        self.flushed.load(Ordering::Relaxed)
    }

    /// Whether work waits until what comes before it has gone out.
    pub fn is_parked(&self) -> bool {
        self.parked.lock().expect("handed over work lock poisoned").is_some()
    }

    /// What was handed over, once.
    pub fn take_parked(&self) -> Option<Parked> {
        self.parked.lock().expect("handed over work lock poisoned").take()
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

    fn park(&self, parked: Parked) {
        *self.parked.lock().expect("handed over work lock poisoned") = Some(parked);
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
            let work = response.extensions_mut().remove::<HandedOver>().and_then(HandedOver::take);
            let route = if matches!(work, Some(Work::Watch(..))) { Route::Watch } else { route };
            pages.store().metrics().http.answered(route, &method, response.status(), began.elapsed());
            let waits = work.is_some();
            // To HEAD there is no body, and so nothing to hand over.
            if let Some(work) = work.filter(|_| method != Method::HEAD) {
                let framing = framing.under(response.headers());
                progress.park(Parked { work, framing });
            }
            Ok(response.map(|page| match waits {
                true => Outbound::Elsewhere { progress },
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
    Elsewhere {
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
            Self::Elsewhere { progress } => {
                progress.waiting.store(true, Ordering::Relaxed);
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page { page, .. } => page.is_end_stream(),
            Self::Elsewhere { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page { page, .. } => page.size_hint(),
            Self::Elsewhere { .. } => SizeHint::default(),
        }
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        let (Self::Page { progress, .. } | Self::Elsewhere { progress }) = self;
        progress.busy.store(false, Ordering::Relaxed);
    }
}
