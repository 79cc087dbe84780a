//! What the prints of a client come to: the browser that it says it is, and what its TLS, its
//! HTTP/2 and its header fields say. Read off the connection by the edge, which knows the prints
//! themselves; recorded as they are here, so that a decision can be made again.

use serde::{Deserialize, Serialize};

/// The browsers that are told apart, by what they are built on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Browser {
    /// Chrome, Edge, Opera, Brave, Chromium and whatever embeds it.
    Chromium,
    /// Firefox but on iOS.
    Firefox,
    /// Safari, and every browser on iOS.
    WebKit,
}

impl Browser {
    /// Its name in a sentence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chromium => "Chromium",
            Self::Firefox => "Firefox",
            Self::WebKit => "WebKit",
        }
    }

    /// Whether it greases its ClientHello (RFC 8701).
    #[must_use]
    pub const fn greases(self) -> bool {
        match self {
            Self::Chromium | Self::WebKit => true,
            Self::Firefox => false,
        }
    }
}

/// Whose a print is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Look {
    /// Nobody's that is known, or there is none.
    #[default]
    Unknown,
    /// Nobody's that is known, and without grease: not of a browser that greases.
    Plain,
    /// A program's or library's, of no browser.
    Program,
    /// This browser's.
    #[serde(untagged)]
    Of(Browser),
}

/// Whether the header fields are there that the claimed browser sends with every request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fields {
    /// It sends none for sure: an old version, an embedded one, a WebSocket, or no browser at all.
    #[default]
    Unknown,
    /// Some are there.
    There,
    /// None is there.
    Missing,
}

/// What is known of a client by its prints; nothing by default, as of one behind a proxy whose
/// connection it is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct PrintFacts {
    /// The browser that its User-Agent names; none of what is honest about being a program.
    pub claim: Option<Browser>,
    /// Whose its ClientHello is.
    pub tls: Look,
    /// Whose its opening of HTTP/2 is.
    pub http2: Look,
    /// Whether the claimed browser's header fields are there.
    pub fields: Fields,
}
