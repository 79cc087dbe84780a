//! Floor 4: listeners, TLS, HTTP/1.1 and HTTP/2 to the client, pooled connections to the upstream.
//! Asks a [`gate::Gate`] about every request and obeys.

pub mod gate;
