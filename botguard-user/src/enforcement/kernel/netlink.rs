//! What XDP program an interface has, and in which mode: one RTM_GETLINK (rtnetlink(7)).
//!
//! bpf_link_info does not say either of an interface, and a foreign program has no link of ours.
//! The answer's parser is pure over bytes.

use std::io;
use std::os::fd::AsRawFd as _;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket,
};

use crate::enforcement::settings::AttachMode;

/// The XDP program of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct XdpState {
    /// Its id.
    pub(super) program_id: u32,
    /// Where it runs. A program offloaded to the card counts as native.
    pub(super) mode: AttachMode,
}

/// The question or the answer failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// A system call.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// An answer that is none.
    #[error("the answer is not an RTM_NEWLINK message")]
    Malformed,
}

/// Asks for the program of the interface with this index, in this thread's network namespace.
pub(super) fn xdp_state(interface_index: u32) -> Result<Option<XdpState>, NetlinkError> {
    let fd = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .map_err(io::Error::from)?;
    send(fd.as_raw_fd(), &request(interface_index), MsgFlags::empty()).map_err(io::Error::from)?;
    // One interface's attributes; the statistics and per-family blocks come to a few KiB.
    let mut answer = vec![0; 64 * 1024];
    let len = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty()).map_err(io::Error::from)?;
    parse(answer.get(..len).unwrap_or(&answer))
}

// linux/rtnetlink.h, linux/if_link.h, linux/netlink.h.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const XDP_ATTACHED_SKB: u8 = 2;
/// Of an attribute's type: without the nested and byte-order flags.
const TYPE_MASK: u16 = 0x3fff;
/// nlmsghdr and ifinfomsg have 16 bytes each.
const HEADERS_LEN: usize = 32;

fn request(interface_index: u32) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADERS_LEN);
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_GETLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([0; 4]);
    message.extend(interface_index.to_ne_bytes());
    message.extend([0; 8]);
    message
}

fn parse(answer: &[u8]) -> Result<Option<XdpState>, NetlinkError> {
    match read_u16(answer, 4) {
        Some(RTM_NEWLINK) => {}
        Some(NLMSG_ERROR) => {
            let code = read::<4>(answer, 16).map_or(0, i32::from_ne_bytes);
            return Err(io::Error::from_raw_os_error(code.wrapping_neg()).into());
        }
        _ => return Err(NetlinkError::Malformed),
    }
    let attributes = answer.get(HEADERS_LEN..).ok_or(NetlinkError::Malformed)?;
    let Some(xdp) = attribute(attributes, IFLA_XDP) else {
        return Ok(None);
    };
    let attached = attribute(xdp, IFLA_XDP_ATTACHED).and_then(|value| value.first().copied());
    let program_id = attribute(xdp, IFLA_XDP_PROG_ID).and_then(|value| read::<4>(value, 0));
    Ok(program_id.map(|id| XdpState {
        program_id: u32::from_ne_bytes(id),
        mode: match attached {
            Some(XDP_ATTACHED_SKB) => AttachMode::Generic,
            _ => AttachMode::Native,
        },
    }))
}

/// The value of the first attribute of a type.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(read_u16(attributes, 0)?);
        let kind = read_u16(attributes, 2)? & TYPE_MASK;
        let value = attributes.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

fn read_u16(bytes: &[u8], offset: usize) -> Option<u16> {
    read::<2>(bytes, offset).map(u16::from_ne_bytes)
}

fn read<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn answer(kind: u16, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = vec![0; HEADERS_LEN];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes.extend(attributes.concat());
        bytes
    }

    #[test]
    fn answers() {
        let check = |answer: &[u8], expected| assert_eq!(parse(answer).unwrap(), expected);
        let name = attribute_of(3, b"eth0\0");
        check(&answer(RTM_NEWLINK, &[]), None);
        check(&answer(RTM_NEWLINK, std::slice::from_ref(&name)), None);
        let detached = attribute_of(IFLA_XDP | 0x8000, &attribute_of(IFLA_XDP_ATTACHED, &[0]));
        check(&answer(RTM_NEWLINK, &[name.clone(), detached]), None);
        for (attached, mode) in [(1, AttachMode::Native), (2, AttachMode::Generic)] {
            let nested = [
                attribute_of(IFLA_XDP_ATTACHED, &[attached]),
                attribute_of(IFLA_XDP_PROG_ID, &77_u32.to_ne_bytes()),
            ];
            let xdp = attribute_of(IFLA_XDP | 0x8000, &nested.concat());
            let expected = XdpState {
                program_id: 77,
                mode,
            };
            check(&answer(RTM_NEWLINK, &[name.clone(), xdp]), Some(expected));
        }
    }

    #[test]
    fn errors_are_told() {
        let mut refusal = answer(NLMSG_ERROR, &[]);
        refusal[16..20].copy_from_slice(&(-19_i32).to_ne_bytes());
        let error = parse(&refusal).unwrap_err().to_string();
        assert!(error.contains("No such device"), "{error}");
        assert!(parse(&[]).is_err());
        assert!(parse(&answer(99, &[])).is_err());
    }

    proptest! {
        #[test]
        fn random_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
            let mut message = answer(RTM_NEWLINK, &[]);
            message.extend(bytes);
            let _unused: Result<Option<XdpState>, NetlinkError> = parse(&message);
        }
    }
}
