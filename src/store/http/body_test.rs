use super::*;
use futures_util::FutureExt;

fn of(pieces: usize, bytes: usize) -> impl Pieces + Unpin {
    stream::iter((0..pieces).map(move |_| Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))))
}

/// A body of which so many bytes come, and then nothing for ever.
fn begun(bytes: usize) -> impl Pieces + Unpin {
    stream::iter([Ok::<_, Infallible>(Bytes::from(vec![0; bytes]))]).chain(stream::pending())
}

fn limits() -> Limits {
    Limits::new(1000, 1).unwrap()
}

async fn left_open(pieces: usize, expect: bool, read_all: bool) -> bool {
    let mut body = std::pin::pin!(of(pieces, 1 << 10));
    let mut body = Unread::new(body.as_mut());
    if read_all {
        read(&mut body, &HeaderMap::new(), &limits()).await.unwrap();
    }
    let headers = HeaderMap::from_iter(expect.then(|| (EXPECT, HeaderValue::from_static("100-continue"))));
    body.forget(&headers).await == Rest::Gone
}

#[tokio::test]
async fn a_connection_goes_on_behind_a_body_that_was_read_or_is_small() {
    assert!(left_open(0, false, false).await);
    assert!(left_open(200, false, false).await);
    assert!(left_open(1000, true, true).await);
    assert!(!left_open(300, false, false).await, "too much to read for nothing");
    assert!(!left_open(1, true, false).await, "the client does not send it unless it is asked");
}

#[tokio::test]
async fn what_is_announced_and_does_not_come_takes_no_room() {
    let (limits, headers) = (limits(), HeaderMap::new());
    let mut slow: Vec<_> =
        (0..100).map(|_| Box::pin(up_to(begun(100 << 10), LIMIT_BYTES, &headers, &limits))).collect();
    for body in &mut slow {
        assert!(body.now_or_never().is_none());
    }
    let large = up_to(of(160, 64 << 10), LIMIT_BYTES, &headers, &limits).now_or_never();
    assert_eq!(large.expect("nobody is waited for").expect("there is room").bytes.len(), LIMIT_BYTES);
}

#[tokio::test]
async fn who_holds_room_is_told_that_there_is_no_more_and_who_holds_none_waits() {
    let (limits, headers) = (limits(), HeaderMap::new());
    let whole = || up_to(of(160, 64 << 10), LIMIT_BYTES, &headers, &limits);
    let mut held = Vec::new();
    let refused = loop {
        match whole().now_or_never().expect("it has its first room at once") {
            Ok(body) => held.push(body),
            Err(broken) => break broken,
        }
    };
    assert_eq!((refused, held.len()), (Broken::Busy, 6));
    // Whatever is left goes to small beginnings.
    let mut small = Vec::new();
    while let Some(body) = up_to(of(1, 17 << 10), 17 << 10, &headers, &limits).now_or_never() {
        small.push(body.expect("it fits"));
    }
    let mut waits = Box::pin(up_to(of(1, 17 << 10), 17 << 10, &headers, &limits));
    assert!((&mut waits).now_or_never().is_none());
    held.pop();
    assert!(waits.await.is_ok());
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_told_apart_from_one_that_breaks_off() {
    let mut body = std::pin::pin!(begun(100));
    let watch = Stopwatch { pace: Pace::new(Duration::ZERO), timer: None };
    let impatient = Unread { stream: body.as_mut(), begun: false, ended: false, watch };
    let late = read(impatient, &HeaderMap::new(), &limits()).await.unwrap_err();
    assert_eq!((late.status().0, &late), (StatusCode::REQUEST_TIMEOUT, &Broken::Late));
    let cut = stream::iter([Err::<Bytes, _>(std::io::Error::other("gone"))]);
    let mut cut = std::pin::pin!(cut);
    let cut = read(Unread::new(cut.as_mut()), &HeaderMap::new(), &limits()).await.unwrap_err();
    assert_eq!((cut.status().0, &cut), (StatusCode::BAD_REQUEST, &Broken::Cut));
    assert_eq!(Broken::Busy.status().0, StatusCode::SERVICE_UNAVAILABLE);
}
