//! Takes a PROXY protocol header off a socket, and not a byte more.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::{Header, HeaderError, MAX_BYTES, Source, parse};

/// Why a connection's header was not read. The peer's fault; close the connection.
#[derive(Debug, thiserror::Error)]
pub(in crate::edge) enum ReadError {
    #[error("the connection ended before its PROXY protocol header")]
    Ended,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("cannot read a PROXY protocol header: {0}")]
    Io(#[from] io::Error),
}

/// Reads the header. Takes as long as the peer does: to be limited by the caller.
pub(in crate::edge) async fn read(tcp: &mut TcpStream) -> Result<Source, ReadError> {
    let mut bytes = vec![0; MAX_BYTES];
    let mut taken = 0;
    loop {
        // What is seen is only looked at, until it is known to belong to the header.
        let room = bytes.get_mut(taken..).unwrap_or_default();
        let seen = tcp.peek(room).await?;
        if seen == 0 {
            return Err(if room.is_empty() {
                HeaderError::TooLong.into()
            } else {
                ReadError::Ended
            });
        }
        let header = parse(bytes.get(..taken + seen).unwrap_or_default())?;
        let until = match header {
            Header::Begun => taken + seen,
            Header::Whole { bytes, .. } => bytes,
        };
        let own = bytes.get_mut(taken..until).unwrap_or_default();
        tcp.read_exact(own).await?;
        taken = until;
        if let Header::Whole { source, .. } = header {
            return Ok(source);
        }
    }
}
