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
