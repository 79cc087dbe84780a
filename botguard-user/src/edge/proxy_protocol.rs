//! The header that a proxy sends before anything else, to say whose connection it passes on: the
//! PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`). Pure; trusts nobody by
//! itself.
//!
//! Bytes come from `reading`, which asks how many of them belong to the header, so that none of
//! what follows is taken. TLVs are passed over: what they say of TLS is the proxy's TLS, not ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::words::address::canonical;

pub(super) mod reading;

/// What the begin of a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Header {
    /// The begin of a header; all of the bytes belong to it.
    Begun,
    /// A header of so many bytes.
    Whole {
        /// Where what the client itself sent begins.
        bytes: usize,
        /// Whom it names.
        source: Source,
    },
}

/// Whom a header names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The client's address, canonical.
    Address(IpAddr),
    /// Nobody: the peer speaks for itself (`LOCAL`).
    Peer,
    /// A client whose address it does not know (`UNKNOWN`), or that has none (Unix sockets, families
    /// to come). What the connection carries is that client's word, not the proxy's.
    Unnamed,
}

/// Bytes that no header begins with. The peer's fault, or that of whoever trusts it to send one:
/// close the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// Neither signature.
    #[error("no PROXY protocol header")]
    Signature,
    /// Version 1, but not as its section 2.1 says.
    #[error("a malformed PROXY protocol header, version 1")]
    Version1,
    /// Version 2, but not as its section 2.2 says.
    #[error("a malformed PROXY protocol header, version 2")]
    Version2,
    /// Longer than [`MAX_BYTES`].
    #[error("a PROXY protocol header of more than {MAX_BYTES} bytes")]
    TooLong,
}

/// The longest header that is read. Version 2 may claim 64 KiB; with the TLVs of the usual clouds
/// and proxies, a client certificate's names included, they are well below 1 KiB.
pub const MAX_BYTES: usize = 4 * 1_024;

/// Reads the begin of a connection.
///
/// Errors: [`HeaderError`], as soon as no continuation could make it a header.
pub fn parse(bytes: &[u8]) -> Result<Header, HeaderError> {
    if begins(bytes, SIGNATURE) {
        version2(bytes)
    } else if begins(bytes, PREFIX) {
        version1(bytes)
    } else {
        Err(HeaderError::Signature)
    }
}

/// Whether `bytes` are a begin of `signature`, or begin with it.
fn begins(bytes: &[u8], signature: &[u8]) -> bool {
    let common = bytes.len().min(signature.len());
    bytes.get(..common) == signature.get(..common)
}

fn version1(bytes: &[u8]) -> Result<Header, HeaderError> {
    let longest = bytes.get(..V1_MAX_BYTES).unwrap_or(bytes);
    let Some(end) = longest.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < V1_MAX_BYTES {
            Ok(Header::Begun)
        } else {
            Err(HeaderError::Version1)
        };
    };
    let line = bytes.get(..end).unwrap_or_default();
    let source = line
        .strip_prefix(PREFIX)
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .and_then(words)
        .ok_or(HeaderError::Version1)?;
    Ok(Header::Whole {
        bytes: end + 2,
        source,
    })
}

/// `TCP4 SOURCE DESTINATION PORT PORT`, or `UNKNOWN` and anything.
fn words(line: &str) -> Option<Source> {
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Source::Unnamed);
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    let source: IpAddr = words.next()?.parse().ok()?;
    let destination: IpAddr = words.next()?.parse().ok()?;
    let is_whole = port(words.next()?) && port(words.next()?) && words.next().is_none();
    let is_family = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    (is_whole && is_family).then(|| Source::Address(canonical(source)))
}

fn port(text: &str) -> bool {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    is_decimal && (text == "0" || !text.starts_with('0')) && text.parse::<u16>().is_ok()
}

fn version2(bytes: &[u8]) -> Result<Header, HeaderError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<V2_FIXED_BYTES>() else {
        return Ok(Header::Begun);
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(HeaderError::Version2),
    };
    if V2_FIXED_BYTES + length > MAX_BYTES {
        return Err(HeaderError::TooLong);
    }
    let Some(block) = rest.get(..length) else {
        return Ok(Header::Begun);
    };
    // Of a local connection, and of families that are not known, the block is passed over.
    let source = match family {
        _ if is_local => Source::Peer,
        0x11 | 0x12 => Source::Address(IpAddr::V4(Ipv4Addr::from(source::<4>(block, 12)?))),
        0x21 | 0x22 => {
            let source = Ipv6Addr::from(source::<16>(block, 36)?);
            Source::Address(canonical(IpAddr::V6(source)))
        }
        _ => Source::Unnamed,
    };
    Ok(Header::Whole {
        bytes: V2_FIXED_BYTES + length,
        source,
    })
}

/// The source of an address block, which has at least `least` bytes.
fn source<const N: usize>(block: &[u8], least: usize) -> Result<[u8; N], HeaderError> {
    block
        .first_chunk()
        .filter(|_| block.len() >= least)
        .copied()
        .ok_or(HeaderError::Version2)
}

const PREFIX: &[u8] = b"PROXY ";

/// With the CRLF (section 2.1).
const V1_MAX_BYTES: usize = 107;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family, length.
const V2_FIXED_BYTES: usize = 16;

#[cfg(test)]
mod tests;
