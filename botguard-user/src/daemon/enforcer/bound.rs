//! The upper bound of every mode: what the configuration says, unless the operator said otherwise
//! by command.

use crate::store::ModeOverride;
use crate::words::clock::Wall;
use crate::words::mode::Mode;

/// The configuration's mode and the operator's override.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bound {
    /// `mode` of the configuration.
    pub configured: Mode,
    /// Set by `botguard mode`.
    pub set: Option<ModeOverride>,
}

impl Bound {
    /// The bound that holds at `now`: the override while it lives, else the configuration.
    #[must_use]
    pub fn effective(&self, now: Wall) -> Mode {
        self.live(now).map_or(self.configured, |set| set.mode)
    }

    /// The override, if it still holds.
    #[must_use]
    pub fn live(&self, now: Wall) -> Option<ModeOverride> {
        self.set.filter(|set| set.is_live(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_holds_until_it_ends() {
        let check = |set: Option<(Mode, Option<u64>)>, now, expected| {
            let bound = Bound {
                configured: Mode::Enforce,
                set: set.map(|(mode, until)| ModeOverride {
                    mode,
                    until: until.map(Wall::from_unix_ms),
                }),
            };
            assert_eq!(bound.effective(Wall::from_unix_ms(now)), expected);
        };
        check(None, 5, Mode::Enforce);
        check(Some((Mode::Log, None)), 5, Mode::Log);
        check(Some((Mode::Log, Some(6))), 5, Mode::Log);
        check(Some((Mode::Log, Some(5))), 5, Mode::Enforce);
    }
}
