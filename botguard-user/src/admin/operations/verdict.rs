//! What the kernel would do with a packet, as `would-block` says it. Pure. The order of the
//! questions is that of the kernel program: allowed? blocked? meant for a listener? mode?

use std::net::SocketAddr;

use crate::admin::protocol::{Interface, Kernel};
use crate::enforcement::list::Covering;
use crate::words::block::{Allow, Effect, Scope};
use crate::words::mode::Mode;

/// A packet, and what covers its source.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    /// Its destination port; without it that of a listener.
    pub(super) port: Option<u16>,
    /// Live blocks that cover its source, most specific first.
    pub(super) blocks: &'a [Covering],
    /// Allows that cover its source.
    pub(super) allows: &'a [Allow],
    /// Where botguard listens.
    pub(super) listeners: &'a [SocketAddr],
    /// The filter.
    pub(super) kernel: &'a Kernel,
}

/// Whether it would be dropped, and why.
pub(super) fn of(question: &Question<'_>) -> (bool, String) {
    let pass = |because: &str| (false, because.to_owned());
    if let Some(allow) = question.allows.first() {
        return pass(&format!("the allow of {} beats every block", allow.network));
    }
    if question.blocks.is_empty() {
        return pass("no live block covers it");
    }
    let drops = || {
        let blocks = question.blocks.iter();
        blocks.filter(|block| block.effect == Effect::Drop)
    };
    if drops().next().is_none() {
        return pass("the blocks that cover it only count");
    }
    let is_for_a_listener = question.port.is_none_or(|port| {
        let mut listeners = question.listeners.iter();
        listeners.any(|listener| listener.port() == port)
    });
    let applies = |block: &&Covering| block.scope == Scope::Host || is_for_a_listener;
    let Some(rule) = drops().find(applies) else {
        return pass("the blocks that cover it are for the listeners, and none has this port");
    };
    let interfaces = &question.kernel.interfaces;
    if !interfaces.iter().any(Interface::is_running) {
        return pass(&format!(
            "the kernel filter is {}; the edge refuses its requests",
            question.kernel.state
        ));
    }
    if question.kernel.mode != Some(Mode::Enforce) {
        return pass("the kernel filter is in mode log");
    }
    (
        true,
        format!("the {} block of {} covers it", rule.rule, rule.network),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::block::Origin;
    use crate::words::clock::Wall;
    use crate::words::rule::Rule;

    fn block(scope: Scope, effect: Effect) -> Covering {
        Covering {
            network: "192.0.2.0/24".parse().unwrap(),
            rule: Rule::Single(Origin::Operator),
            scope,
            effect,
            created: Wall::default(),
            expires: None,
            reason: String::new(),
        }
    }

    fn kernel(mode: Mode) -> Kernel {
        Kernel {
            state: "attached".to_owned(),
            interfaces: vec![Interface {
                name: "eth0".to_owned(),
                mode: "native".to_owned(),
                program: 1,
            }],
            mode: Some(mode),
            ..Kernel::default()
        }
    }

    fn check(
        blocks: &[Covering],
        allows: &[Allow],
        port: Option<u16>,
        kernel: &Kernel,
        expected: (bool, &str),
    ) {
        let (dropped, because) = of(&Question {
            port,
            blocks,
            allows,
            listeners: &["0.0.0.0:443".parse().unwrap()],
            kernel,
        });
        assert_eq!(dropped, expected.0, "{because}");
        assert!(because.contains(expected.1), "{because}");
    }

    #[test]
    fn the_first_reason_to_pass_wins() {
        let on = &kernel(Mode::Enforce);
        let listeners = &[block(Scope::Listeners, Effect::Drop)];
        let host = &[block(Scope::Host, Effect::Drop)];
        let allow = Allow {
            network: "192.0.2.1/32".parse().unwrap(),
            created: Wall::default(),
            reason: String::new(),
        };
        check(
            listeners,
            &[],
            None,
            on,
            (true, "operator block of 192.0.2.0/24"),
        );
        check(listeners, &[], Some(443), on, (true, "operator block"));
        check(listeners, &[], Some(22), on, (false, "none has this port"));
        check(host, &[], Some(22), on, (true, "operator block"));
        check(host, &[allow], None, on, (false, "192.0.2.1/32 beats"));
        check(&[], &[], None, on, (false, "no live block"));
        check(
            &[block(Scope::Host, Effect::Count)],
            &[],
            None,
            on,
            (false, "only count"),
        );
        check(host, &[], None, &kernel(Mode::Log), (false, "mode log"));
        let off = Kernel {
            state: "not attached".to_owned(),
            ..Kernel::default()
        };
        check(host, &[], None, &off, (false, "is not attached"));
        let mut gone = kernel(Mode::Enforce);
        gone.interfaces[0].mode = Interface::GONE.to_owned();
        check(host, &[], None, &gone, (false, "the edge refuses"));
    }
}
