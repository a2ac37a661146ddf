use std::io;

use futures_util::stream::{self, Stream, StreamExt};
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};

use super::*;
use crate::load::Place;

const IDLE: Duration = Duration::from_millis(10);

type Frames = Result<Frame<Bytes>, io::Error>;

/// A body of no protocol that we speak.
fn body<S: Stream<Item = Frames>>(frames: S, received: &Counter) -> RequestBody<StreamBody<S>> {
    let begin = || Place::uncounted().begin_upload(None);
    RequestBody::new(StreamBody::new(frames), IDLE, received, begin)
}

fn data(bytes: &'static str) -> Frame<Bytes> {
    Frame::data(bytes.into())
}

#[tokio::test]
async fn sec_39_a_body_is_counted_and_passes_without_its_trailers() {
    let received = Counter::default();
    let frames = [
        Ok(data("ab")),
        Ok(data("c")),
        Ok(Frame::trailers(HeaderMap::new())),
    ];
    let body = body(stream::iter(frames), &received);
    let upload = body.upload().unwrap();
    let whole = body.collect().await.unwrap();
    assert!(whole.trailers().is_none());
    assert_eq!(whole.to_bytes(), "abc");
    assert_eq!((received.get(), upload.bytes()), (3, 3));
    assert!(upload.is_finished() && !upload.was_too_slow());
}

#[tokio::test]
async fn sec_26_a_client_that_sends_no_more_is_cut_off() {
    let frames = stream::iter([Ok(data("ab"))]).chain(stream::pending());
    let mut body = body(frames, &Counter::default());
    let upload = body.upload().unwrap();
    assert!(body.frame().await.unwrap().is_ok());
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, BodyError::TooSlow), "{error}");
    assert!(upload.was_too_slow() && !upload.is_finished());
}

#[tokio::test]
async fn a_body_that_is_larger_than_it_may_be_breaks_off_before_the_byte_too_many() {
    for (most, passes) in [(2, 1), (3, 2), (4, 2), (5, 3)] {
        let frames = [Ok(data("ab")), Ok(data("c")), Ok(data("de"))];
        let body = body(stream::iter(frames), &Counter::default());
        let mut body = body.at_most(most);
        let upload = body.upload().unwrap();
        for _ in 0..passes {
            assert!(body.frame().await.unwrap().is_ok(), "{most}");
        }
        let error = body.frame().await.and_then(Result::err);
        assert_eq!(matches!(error, Some(BodyError::TooLarge)), most < 5);
        assert_eq!(upload.was_too_large(), most < 5);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_says_why_and_is_not_finished() {
    let frames = [Ok(data("ab")), Err(io::ErrorKind::ConnectionReset.into())];
    let body = body(stream::iter(frames), &Counter::default());
    let upload = body.upload().unwrap();
    let error = body.collect().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "reading the request body: connection reset"
    );
    assert!(error.source().unwrap().is::<io::Error>());
    assert!(!upload.is_finished());
}
