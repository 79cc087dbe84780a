//! Whose a print is: botguard's own tables, of what was captured from real clients
//! (`tests/data/README.md`). Small on purpose, and what is not in them is unknown, which is no
//! evidence: the parts that are compared stay the same over many versions of a client.

use crate::edge::header_shape::{Known, Presence};
use crate::edge::ja4::Ja4;
use crate::engine::prints::{Browser, Fields, Look};

/// The hash of the cipher suites in JA4 (its second part).
///
/// | whose | captured from |
/// |---|---|
/// | Chromium | Chromium 156; profiles of Chrome 124 and 150, Edge 101 |
/// | Firefox | profile of Firefox 147 |
/// | WebKit | profiles of Safari 26 on macOS and iOS |
/// | program | Python 3.11's ssl (requests, httpx, urllib, aiohttp); Node.js; Go (ffuf); h2load; OpenSSL's default (wrk, ab); Twisted (scrapy) |
const CIPHERS: [(&str, Look); 9] = [
    ("8daaf6152771", Look::Of(Browser::Chromium)),
    ("5b57614c22b0", Look::Of(Browser::Firefox)),
    ("a09f3c656075", Look::Of(Browser::WebKit)),
    ("85036bcba153", Look::Program),
    ("a33745022dd6", Look::Program),
    ("9dc949149365", Look::Program),
    ("df115388da38", Look::Program),
    ("e8f1e7e78f70", Look::Program),
    ("1d37bd780c83", Look::Program),
];

/// Window and order of an opening of HTTP/2, from the same clients; Safari 18's window and order
/// by httpcloak.dev/fingerprinting/akamai-shorthand.
const OPENINGS: [(&str, &str, Browser); 5] = [
    ("15663105", "m,a,s,p", Browser::Chromium),
    ("12517377", "m,p,a,s", Browser::Firefox),
    ("10420225", "m,s,a,p", Browser::WebKit),
    ("10485760", "m,s,a,p", Browser::WebKit),
    ("10485760", "m,s,p,a", Browser::WebKit),
];

/// Orders of pseudo-header fields that some browser has had. Any other is a program's.
const BROWSER_ORDERS: [&str; 4] = ["m,a,s,p", "m,p,a,s", "m,s,a,p", "m,s,p,a"];

/// Whose a ClientHello is.
pub(super) fn of_tls(ja4: &Ja4, has_grease: bool) -> Look {
    let known = CIPHERS.iter().find(|(hash, _look)| *hash == ja4.ciphers());
    match known {
        // The ciphers of a browser that greases, and no grease: a copy of its list.
        Some((_, Look::Of(browser))) if browser.greases() && !has_grease => Look::Plain,
        Some((_, look)) => *look,
        None if has_grease => Look::Unknown,
        None => Look::Plain,
    }
}

/// Whose an opening of HTTP/2 is.
pub(super) fn of_http2(fingerprint: &str) -> Look {
    let mut parts = fingerprint.rsplit('|');
    let (Some(order), Some(_priority), Some(window)) = (parts.next(), parts.next(), parts.next())
    else {
        return Look::Unknown;
    };
    let known = OPENINGS
        .iter()
        .find(|(a, b, _)| (*a, *b) == (window, order));
    match known {
        Some((_, _, browser)) => Look::Of(*browser),
        None if order.len() < FOUR_NAMES || BROWSER_ORDERS.contains(&order) => Look::Unknown,
        None => Look::Program,
    }
}

/// Four letters and their commas: fewer were not read to the end.
const FOUR_NAMES: usize = 7;

/// A browser as a User-Agent names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Claim {
    pub(super) browser: Browser,
    /// Major version; 0 where it is not named.
    version: u16,
    /// As the browser itself says it, and not something that embeds it.
    is_plain: bool,
}

/// The browser that a User-Agent names; none where it names something else as well, as crawlers do
/// with `compatible;` and an address.
pub(super) fn claim(user_agent: &str) -> Option<Claim> {
    if !user_agent.starts_with("Mozilla/5.0 (")
        || ["compatible;", "+http", "bot/", "Bot/"]
            .iter()
            .any(|mark| user_agent.contains(mark))
    {
        return None;
    }
    let is_ios = ["(iPhone;", "(iPad;", "(iPod"]
        .iter()
        .any(|device| user_agent.contains(device));
    let version = |product: &str| version(user_agent, product);
    let (browser, version) = if is_ios {
        // Apple lets no other engine in; the few exceptions since are not told apart.
        (Browser::WebKit, version("Version/").unwrap_or(0))
    } else if let Some(version) = version("Chrome/") {
        (Browser::Chromium, version)
    } else if let Some(version) = version("Firefox/") {
        (Browser::Firefox, version)
    } else if user_agent.contains("Safari/") {
        (Browser::WebKit, version("Version/")?)
    } else {
        return None;
    };
    let is_plain = !EMBEDDERS.iter().any(|mark| user_agent.contains(mark));
    Some(Claim {
        browser,
        version,
        is_plain,
    })
}

/// What embeds a browser or descends from one, and may leave its fields out: Android's WebView,
/// applications, and those that name an old engine's heir as compatible.
const EMBEDDERS: [&str; 7] = [
    "; wv)",
    "Electron/",
    "QtWebEngine/",
    "SeaMonkey/",
    // Pale Moon and Basilisk.
    "Goanna/",
    "Waterfox/",
    "Mobile/15E148 [",
];

/// The major version of a product; 0 where it is no number.
fn version(user_agent: &str, product: &str) -> Option<u16> {
    let (_before, after) = user_agent.split_once(product)?;
    let digits = after.split(|it: char| !it.is_ascii_digit()).next();
    Some(digits.and_then(|it| it.parse().ok()).unwrap_or(0))
}

impl Claim {
    /// Whether the fields are there that this browser sends with every request to a secure origin,
    /// since the version that began with it: Fetch Metadata (`Sec-Fetch-*`, W3C), and `Sec-CH-UA` of
    /// Chromium.
    pub(super) const fn fields(&self, presence: Presence) -> Fields {
        let since = match self.browser {
            Browser::Chromium => 89,
            Browser::Firefox => 90,
            // 16.4.
            Browser::WebKit => 17,
        };
        if self.version < since || !self.is_plain {
            return Fields::Unknown;
        }
        // Either will do: a CORS preflight has no `Sec-CH-UA`.
        let has_hints = matches!(self.browser, Browser::Chromium) && presence.has(Known::SecChUa);
        if has_hints || presence.has(Known::SecFetchMode) || presence.has(Known::SecFetchSite) {
            Fields::There
        } else {
            Fields::Missing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_agents_name_browsers() {
        use Browser::{Chromium, Firefox, WebKit};
        let check = |user_agent: &str, expected: Option<(Browser, u16, bool)>| {
            let found = claim(user_agent).map(|it| (it.browser, it.version, it.is_plain));
            assert_eq!(found, expected, "{user_agent}");
        };
        let chrome = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36";
        let of = |system: &str, rest: &str| format!("Mozilla/5.0 ({system}) {rest}");
        check(&of("X11; Linux", chrome), Some((Chromium, 150, true)));
        let edge = format!("{chrome} Edg/150.0");
        check(&of("Windows NT 10.0", &edge), Some((Chromium, 150, true)));
        let wv = "Linux; Android 14; Pixel 8; wv";
        check(&of(wv, chrome), Some((Chromium, 150, false)));
        let electron = format!("{chrome} Electron/30.0");
        check(&of("X11", &electron), Some((Chromium, 150, false)));
        let firefox = "Gecko/20100101 Firefox/147.0";
        check(&of("X11; rv:147.0", firefox), Some((Firefox, 147, true)));
        for heir in [
            "Gecko/20100101 Firefox/91.0 SeaMonkey/2.53.18",
            "Goanna/6.5 Firefox/128.0 PaleMoon/33.3.1",
        ] {
            let version = version(heir, "Firefox/").unwrap();
            check(&of("X11; Linux", heir), Some((Firefox, version, false)));
        }
        let safari = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0.1 Safari/605.1.15";
        check(&of("Macintosh", safari), Some((WebKit, 26, true)));
        let ios = "AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/150.0 Mobile/15E148 Safari/604.1";
        check(&of("iPhone; CPU", ios), Some((WebKit, 0, true)));
        // Who is honest claims nothing.
        check("curl/8.0", None);
        check("python-requests/2.34.2", None);
        check("Mozilla/5.0", None);
        check("", None);
        let google = "AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/150.0.0.0 Safari/537.36";
        check(&of("Linux", google), None);
        check(&of("compatible; Googlebot/2.1", ""), None);
        check(&of("compatible; Whatever", chrome), None);
        check(&of("X11", "Chrome/x Safari/1"), Some((Chromium, 0, true)));
    }

    #[test]
    fn openings_are_of_browsers_or_of_programs() {
        let check = |fingerprint: &str, expected| {
            assert_eq!(of_http2(fingerprint), expected, "{fingerprint}");
        };
        check("1:1|15663105|0|m,a,s,p", Look::Of(Browser::Chromium));
        check("1:1|12517377|0|m,p,a,s", Look::Of(Browser::Firefox));
        check("1:1|10420225|0|m,s,a,p", Look::Of(Browser::WebKit));
        // Another version of some browser, or a program with the same order.
        check("1:1|16777216|0|m,a,s,p", Look::Unknown);
        check("3:100|33488897|0|m,p,s,a", Look::Program);
        check("1:1|00|0|a,m,p,s", Look::Program);
        check("1:1|00|0|m,p", Look::Unknown);
        check("", Look::Unknown);
    }
}
