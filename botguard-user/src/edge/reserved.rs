//! The paths that botguard answers itself and never forwards. The edge knows only that there are
//! some; control says what they are.

use bytes::Bytes;
use http::Response;

use super::gate::RequestHead;

/// Answers for the reserved prefix. Synchronous: nothing in it may block or wait.
pub trait ReservedRoutes: Send + Sync + 'static {
    /// Whether a decoded, dot-normalised path lies under the prefix. Such a path is never
    /// forwarded, known or not.
    fn owns(&self, path: &str) -> bool;

    /// The answer to an admitted request, which was given this id. `body` is whole, and at most
    /// [`MAX_BODY_BYTES`] long.
    fn answer(&self, request: &RequestHead<'_>, id: &str, body: Bytes) -> Response<Bytes>;

    /// The page that lets a browser through once it has solved it; its status is the edge's to
    /// say. Without one, the client gets a problem document.
    fn challenge_page(
        &self,
        _request: &RequestHead<'_>,
        _request_id: &str,
    ) -> Option<Response<Bytes>> {
        None
    }

    /// Where a browser that was not shown the page finds it.
    fn challenge_path(&self) -> Option<String> {
        None
    }

    /// The name of the cookie that is botguard's own, and that the application is not shown.
    fn own_cookie(&self) -> Option<String> {
        None
    }
}

/// Longest request body under the reserved prefix; a longer one is answered 413. A token and a
/// kind are about 150 bytes.
pub const MAX_BODY_BYTES: usize = 4_096;

/// No reserved prefix: everything is the application's.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingReserved;

impl ReservedRoutes for NothingReserved {
    fn owns(&self, _path: &str) -> bool {
        false
    }

    fn answer(&self, _request: &RequestHead<'_>, _id: &str, _body: Bytes) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        response
    }
}
