//! Why the application gave no response, or not the whole of it.

use std::error::Error as _;
use std::io;

/// Why there is no response. Blame: the upstream, unless another is named.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum UpstreamFailure {
    #[error("no connection to the application")]
    Unreachable(#[source] ConnectError),
    #[error("connecting to the application took too long")]
    ConnectTimeout,
    /// Blame: the load, or `max_connections`.
    #[error("the application has as many requests as it may have")]
    Busy,
    /// Blame: the configuration, which has the application speak HTTP/2 only.
    #[error("the application cannot be asked to switch protocols")]
    NoUpgrade,
    #[error("the application switched protocols without being asked")]
    UnaskedUpgrade,
    #[error("the application broke off before its response")]
    Broken(#[source] hyper::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the application did not respond in time")]
    FirstByteTimeout,
    #[error("the application stopped reading the request's body")]
    Stalled,
    /// Blame: the client.
    #[error("the request's body stopped arriving")]
    ClientStalled,
    /// Blame: the client.
    #[error("the request's body broke off, or is not framed as HTTP")]
    ClientBroke,
}

impl UpstreamFailure {
    /// What hyper says in place of a response.
    pub(super) fn of(error: hyper::Error) -> Self {
        Malformed::of(&error).map_or_else(|| Self::Broken(error), Self::Malformed)
    }

    /// The label of `botguard_upstream_failures_total`.
    pub(in crate::edge) const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::ConnectTimeout => "connect_timeout",
            Self::Busy => "busy",
            Self::NoUpgrade => "no_upgrade",
            Self::UnaskedUpgrade => "unasked_upgrade",
            Self::Broken(_) | Self::Malformed(_) => "broken",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::Stalled => "stalled",
            Self::ClientStalled => "client_stalled",
            Self::ClientBroke => "client_broke",
        }
    }

    /// Whether the blame is the client's.
    pub(in crate::edge) const fn is_by_client(&self) -> bool {
        matches!(self, Self::ClientStalled | Self::ClientBroke)
    }
}

/// Why a response could be read in more than one way, or not at all. Blame: the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(in crate::edge) enum Malformed {
    #[error("the application's response has another transfer coding than chunked")]
    TransferCoding,
    #[error("the application's response has no single Content-Length")]
    Length,
    #[error("the head of the application's response is larger than 256 KiB or 1,000 lines")]
    HeadTooLarge,
    /// h2 does not tell these apart.
    #[error("the application's response is malformed, or its head is larger than 256 KiB")]
    Http2,
}

impl Malformed {
    /// What hyper refused a response for, if that was it.
    fn of(error: &hyper::Error) -> Option<Self> {
        if error.is_parse_too_large() {
            return Some(Self::HeadTooLarge);
        }
        let cause = error.source()?.downcast_ref::<h2::Error>()?;
        cause.is_library().then_some(Self::Http2)
    }
}

/// Why no connection could be made. Blame: the upstream, the network, or the configuration.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ConnectError {
    #[error("its name has no address")]
    NoAddress,
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A certificate that is not trusted, for one.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("it took longer than connect_timeout")]
    Timeout,
    #[error("it does not speak HTTP/1.1, which an upgrade needs")]
    NoUpgrade,
}

impl From<ConnectError> for UpstreamFailure {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Timeout => Self::ConnectTimeout,
            ConnectError::NoUpgrade => Self::NoUpgrade,
            error => Self::Unreachable(error),
        }
    }
}

/// Why a response's body ended early. Blame: the upstream, unless another is named.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ResponseBroken {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("the application reset the stream before the end of the response")]
    Cut,
    #[error("nothing moved for longer than idle_timeout")]
    Idle,
    /// Blame: the client.
    #[error("the client took nothing of the response for longer than send_timeout")]
    Unread,
}
