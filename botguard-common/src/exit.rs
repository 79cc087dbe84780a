//! The ways out of the filter, one counter each.

/// How a packet left the filter. Its number indexes the `exits` counters; numbers are stable.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u32)]
pub enum Exit {
    /// Passed: its source is in no table.
    Clean = 0,
    /// Passed: not IP (ARP, LLDP, …).
    NotIp = 1,
    /// Passed: it ends inside a header that the filter needs.
    Truncated = 2,
    /// Passed: its headers contradict each other.
    BadHeader = 3,
    /// Passed: more VLAN tags than anyone uses.
    TooManyTags = 4,
    /// Passed: every block of its source has ended.
    Expired = 5,
    /// Passed: its source is blocked and allowed, and allow beats block.
    Allowed = 6,
    /// Passed: its source is blocked, but the packet is not meant for a listener.
    OutOfScope = 7,
    /// Passed: the blocks of its source only count.
    Counted = 8,
    /// Passed: it would have been dropped, but the filter is in log mode.
    LogMode = 9,
    /// Dropped: TCP or UDP to a listener.
    DropListener = 10,
    /// Dropped: for a listener's address, with ports that cannot be read.
    DropHidden = 11,
    /// Dropped: everything of its source is.
    DropHost = 12,
}

impl Exit {
    /// How many there are.
    pub const COUNT: u32 = 13;

    /// Every exit, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT as usize] = [
        Self::Clean,
        Self::NotIp,
        Self::Truncated,
        Self::BadHeader,
        Self::TooManyTags,
        Self::Expired,
        Self::Allowed,
        Self::OutOfScope,
        Self::Counted,
        Self::LogMode,
        Self::DropListener,
        Self::DropHidden,
        Self::DropHost,
    ];

    /// Index of its counter.
    #[inline(always)]
    #[must_use]
    pub const fn index(self) -> u32 {
        self as u32
    }

    /// Whether the packet is dropped.
    #[inline(always)]
    #[must_use]
    pub const fn is_drop(self) -> bool {
        matches!(self, Self::DropListener | Self::DropHidden | Self::DropHost)
    }

    /// Stable name, a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::NotIp => "not_ip",
            Self::Truncated => "truncated",
            Self::BadHeader => "bad_header",
            Self::TooManyTags => "too_many_tags",
            Self::Expired => "expired",
            Self::Allowed => "allowed",
            Self::OutOfScope => "out_of_scope",
            Self::Counted => "counted",
            Self::LogMode => "log_mode",
            Self::DropListener => "drop_listener",
            Self::DropHidden => "drop_hidden",
            Self::DropHost => "drop_host",
        }
    }
}

/// A number that is no exit's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnknownExit(pub u32);

impl TryFrom<u32> for Exit {
    type Error = UnknownExit;

    fn try_from(index: u32) -> Result<Self, UnknownExit> {
        usize::try_from(index)
            .ok()
            .and_then(|index| Self::ALL.get(index).copied())
            .ok_or(UnknownExit(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_exits_agree() {
        for (index, exit) in (0..).zip(Exit::ALL) {
            assert_eq!(exit.index(), index);
            assert_eq!(Exit::try_from(index), Ok(exit));
        }
        assert_eq!(Exit::try_from(13), Err(UnknownExit(13)));
    }
}
