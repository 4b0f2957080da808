//! What is known of a node beside its own word: the work that it was credited for, and the address
//! that it comes from.

use std::net::IpAddr;
use std::time::Duration;

use potluck_protocol::id::{NodeId, SessionId};

use super::Scheduler;

/// What is known of a node when it joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// What it has earned so far, multiply-accumulates.
    pub credited_macs: u64,
    /// Where it comes from, of IPv6 the network alone; `None` if that is not known.
    pub address: Option<IpAddr>,
}

/// Credited work after which a node is no newcomer any more: a sixth of a model of a thousand
/// million weights for a page of text. It has to be done for others, at other addresses, and takes
/// as long as computing it does: more than making up another key.
pub(super) const ESTABLISHED_MACS: u64 = 100_000_000_000;
/// How many sessions of an established node one session of a newcomer weighs as, where both hold
/// the same layers. It grows less with the newcomer's work, and so its share grows.
pub(super) const NEWCOMERS_WEIGHT: u64 = 8;

impl Standing {
    /// False for a newcomer.
    pub(super) fn is_established(&self) -> bool {
        self.credited_macs >= ESTABLISHED_MACS
    }

    /// What each of its sessions weighs: 1 for an established node, up to [`NEWCOMERS_WEIGHT`].
    pub(super) fn weight(&self) -> u64 {
        let missing = ESTABLISHED_MACS.saturating_sub(self.credited_macs);
        (missing * NEWCOMERS_WEIGHT).div_ceil(ESTABLISHED_MACS).max(1)
    }

    /// The address, if it tells people apart: those behind one public address may be one person,
    /// while a private or loopback one says nothing.
    pub(super) fn public_address(&self) -> Option<IpAddr> {
        self.address.map(|address| address.to_canonical()).filter(|address| is_public(*address))
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            // RFC 6598: between a provider and its customers.
            let is_shared = first == 100 && (64..128).contains(&second);
            !(v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_unspecified()
                || is_shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_unspecified())
        }
    }
}

impl Scheduler {
    /// A receipt of `node` was credited: it has that much more standing, has shown what it can do,
    /// and the session is alive.
    pub(super) fn worked(&mut self, node: NodeId, session: SessionId, macs: u64, now: Duration) {
        let became_established = self.change(node, |state| {
            let was_established = state.standing.is_established();
            state.standing.credited_macs = state.standing.credited_macs.saturating_add(macs);
            state.shown.record(macs, now);
            state.standing.is_established() && !was_established && state.registration.is_some()
        });
        if became_established == Some(true) {
            self.settling.disturb(now);
        }
        self.sessions.touch(session, node, now);
    }

    /// False if the requester and the stage may be one person, so that what they sign for each other
    /// proves no work.
    pub(super) fn earns(&self, stage: NodeId, requester: NodeId) -> bool {
        let address =
            |node| self.nodes.get(&node).and_then(|state| state.standing.public_address());
        stage != requester
            && (self.same_address_earns
                || address(stage).is_none()
                || address(stage) != address(requester))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(credited_macs: u64) -> Standing {
        Standing { credited_macs, address: None }
    }

    #[test]
    fn a_newcomers_sessions_weigh_less_the_more_it_has_done() {
        assert_eq!(with(0).weight(), NEWCOMERS_WEIGHT);
        assert_eq!(with(ESTABLISHED_MACS / 2).weight(), NEWCOMERS_WEIGHT / 2);
        assert_eq!(with(ESTABLISHED_MACS - 1).weight(), 1);
        assert_eq!(with(u64::MAX).weight(), 1);
        assert!(!with(ESTABLISHED_MACS - 1).is_established() && with(u64::MAX).is_established());
    }

    #[test]
    fn only_public_addresses_tell_people_apart() {
        for (address, is_public) in [
            ("127.0.0.1", false),
            ("::1", false),
            ("::ffff:192.168.7.1", false),
            ("10.1.2.3", false),
            ("169.254.1.1", false),
            ("100.64.1.1", false),
            ("100.128.1.1", true),
            ("fe80::1", false),
            ("fd00::1", false),
            ("9.9.9.9", true),
            ("::ffff:9.9.9.9", true),
            ("2620:fe::", true),
        ] {
            let standing = Standing { credited_macs: 0, address: address.parse().ok() };
            assert_eq!(standing.public_address().is_some(), is_public, "{address}");
        }
    }
}
