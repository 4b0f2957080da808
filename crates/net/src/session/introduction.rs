//! How two peers are introduced: their descriptions and candidates, which come as signals.
//!
//! ```text
//!   from the peer   description ──→ taken apart ──→ for the stack, once or anew
//!                   candidate ────→ counted, judged ──→ for the stack, once it has a description
//!                                                  └──→ kept: near this node, if that is there
//!   from our stack  candidate ────→ says where this node is ──→ signal to the peer
//! ```
//! It decides what the stack hears of, and in the end what to tell people where no path was found.

use std::collections::VecDeque;

use core::time::Duration;

use potluck_protocol::codec::MAX_CANDIDATE_BYTES;
use potluck_protocol::server::{IceServer, Signal};

use super::candidates::{self, Networks, Reach, Target};
use super::description::{self, Description, DescriptionError};
use super::{MAX_CANDIDATES, ice_servers};

/// Names among a peer's candidates. A browser hides each of its addresses behind one, and this node
/// asks all its network for each.
const MAX_NAMES: usize = 16;
/// Candidates of this node that a peer is told. The first to be found are its interfaces' own; a
/// machine with dozens of them has no better path by the last.
const MAX_OWN_CANDIDATES: usize = 32;
/// Connections that a peer may begin anew within [`ANEW_WINDOW`]. A page that is reloaded does it
/// once; each costs this node a stack with its sockets.
const MAX_ANEW: usize = 3;
/// See [`MAX_ANEW`]. Longer than a connection may take to open, so that no peer keeps one opening.
const ANEW_WINDOW: Duration = Duration::from_secs(30);

/// What a node knows of its own network when it begins a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Where it is.
    networks: Networks,
    /// It asks servers for its public address.
    asks_servers: bool,
}

impl Surroundings {
    /// Of a node whose server is in `networks`, and which uses these servers for ICE.
    pub(crate) fn new(networks: Networks, ice_servers: &[IceServer]) -> Self {
        Self { networks, asks_servers: ice_servers::tell_addresses(ice_servers) }
    }
}

/// An ICE candidate that this node's stack found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The `candidate:` line.
    pub(crate) candidate: String,
    /// Media stream identification, if given.
    pub(crate) sdp_mid: Option<String>,
    /// Index of the media line, if given.
    pub(crate) sdp_m_line_index: Option<u16>,
}

/// What a description of the peer means for the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Described {
    /// Nothing now: it was sent before, or comes too often and is put off.
    Nothing,
    /// It is the peer's first.
    First { sdp: String },
    /// The peer begins anew with it.
    Anew { sdp: String },
}

/// One introduction.
#[derive(Debug)]
pub(super) struct Introduction {
    surroundings: Surroundings,
    /// The description that counts, as it came.
    description: Option<String>,
    /// One that came too soon after the last.
    put_off: Option<String>,
    /// When the peer began anew.
    anew_at: VecDeque<Duration>,
    /// Candidates that came for this connection, used or not.
    came: usize,
    names: usize,
    /// Candidates that wait for the description, or for this node to learn that it is near them.
    waiting: Vec<String>,
    /// Candidates that the stack was given.
    given: usize,
    /// Candidates that this node's stack found.
    found: usize,
    /// One of them can be reached from everywhere.
    found_public: bool,
}

impl Introduction {
    pub(super) fn new(surroundings: Surroundings) -> Self {
        Self {
            surroundings,
            description: None,
            put_off: None,
            anew_at: VecDeque::new(),
            came: 0,
            names: 0,
            waiting: Vec::new(),
            given: 0,
            found: 0,
            found_public: false,
        }
    }

    /// True once there is a description of the peer.
    pub(super) fn is_described(&self) -> bool {
        self.description.is_some()
    }

    /// The peer's description came.
    ///
    /// # Errors
    /// If no node sends such a one.
    pub(super) fn describe(
        &mut self,
        sdp: String,
        now: Duration,
    ) -> Result<Described, DescriptionError> {
        if self.description.as_ref() == Some(&sdp) {
            self.put_off = None;
            return Ok(Described::Nothing);
        }
        if self.put_off.as_ref() == Some(&sdp) {
            return Ok(Described::Nothing);
        }
        let Description { sdp: kept, candidates } = description::read(&sdp)?;
        let is_anew = self.description.is_some();
        // Whatever came before is of the peer's earlier connection.
        if is_anew {
            self.forget_candidates();
        }
        for candidate in candidates {
            self.count(candidate);
        }
        if !is_anew {
            self.description = Some(sdp);
            return Ok(Described::First { sdp: kept });
        }
        if !self.may_begin_anew(now) {
            self.put_off = Some(sdp);
            return Ok(Described::Nothing);
        }
        self.begin_anew(sdp, now);
        Ok(Described::Anew { sdp: kept })
    }

    /// The description that was put off, once enough time has passed.
    pub(super) fn tick(&mut self, now: Duration) -> Option<String> {
        if self.put_off.is_none() || !self.may_begin_anew(now) {
            return None;
        }
        let sdp = self.put_off.take()?;
        let kept = description::read(&sdp).ok()?.sdp;
        self.begin_anew(sdp, now);
        Some(kept)
    }

    /// A candidate of the peer came.
    pub(super) fn candidate(&mut self, candidate: String) {
        self.count(candidate);
    }

    /// The candidates that the stack may be given now.
    pub(super) fn release(&mut self) -> Vec<String> {
        if self.description.is_none() || self.put_off.is_some() {
            return Vec::new();
        }
        let networks = self.surroundings.networks;
        let (released, kept) = core::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|line| candidates::target(line).is_ok_and(|target| networks.allow(&target)));
        self.waiting = kept;
        let released: Vec<String> = released;
        self.given += released.len();
        released
    }

    /// This node's stack found a candidate; what to tell the peer. Left out is one that is empty,
    /// which says that there are no more, one longer than the protocol takes, and what is too much.
    pub(super) fn found(&mut self, found: Candidate) -> Option<Signal> {
        let Candidate { candidate, sdp_mid, sdp_m_line_index } = found;
        if candidate.is_empty() || candidate.len() > MAX_CANDIDATE_BYTES {
            return None;
        }
        if let Ok(target) = candidates::target(&candidate) {
            self.surroundings.networks.learn(&target);
            self.found_public |= matches!(target, Target::Address { address, .. }
                if Reach::of(address) == Some(Reach::Public));
        }
        self.found += 1;
        if self.found > MAX_OWN_CANDIDATES {
            return None;
        }
        // An empty identification means "none"; the line's index says which one it is.
        let sdp_mid = sdp_mid.filter(|mid| !mid.is_empty());
        Some(Signal::Candidate { candidate, sdp_mid, sdp_m_line_index })
    }

    /// Why there is no path, for people.
    pub(super) fn no_path(&self) -> String {
        let cause = if self.surroundings.asks_servers && !self.found_public {
            "your network lets no direct connection through: no server could tell this machine its \
             public address, so UDP seems to be blocked here"
        } else if self.given == 0 {
            "its network lets no direct connection through: it named no address that this machine \
             could reach"
        } else {
            "your network or its own lets no direct connection through: no packet got across"
        };
        format!("{cause}. Another network helps, or a relay (TURN) at the server")
    }

    fn count(&mut self, candidate: String) {
        self.came += 1;
        if self.came > MAX_CANDIDATES {
            return; // enough of them are there already
        }
        match candidates::target(&candidate) {
            Ok(Target::Name) if self.names >= MAX_NAMES => {}
            Ok(target) => {
                self.names += usize::from(target == Target::Name);
                self.waiting.push(candidate);
            }
            Err(why) => tracing::debug!(candidate, %why, "leaving out a candidate"),
        }
    }

    fn forget_candidates(&mut self) {
        self.came = 0;
        self.names = 0;
        self.given = 0;
        self.waiting.clear();
    }

    fn may_begin_anew(&self, now: Duration) -> bool {
        self.anew_at.len() < MAX_ANEW
            || self.anew_at.front().is_some_and(|at| now.saturating_sub(*at) >= ANEW_WINDOW)
    }

    fn begin_anew(&mut self, sdp: String, now: Duration) {
        if self.anew_at.len() >= MAX_ANEW {
            self.anew_at.pop_front();
        }
        self.anew_at.push_back(now);
        self.description = Some(sdp);
        self.put_off = None;
        // Its stack searches again.
        self.found = 0;
        self.found_public = false;
    }
}

#[cfg(test)]
#[path = "introduction_tests.rs"]
mod tests;
