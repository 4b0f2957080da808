//! A requester with connections to its stages like any other's, that says on them what no requester
//! should.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, bail};
use e2e::member::{Member, identity};
use e2e::wait::PATIENCE;
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_net::{Command, Event, Role, Transport as _};
use potluck_protocol::codec::{decode_peer_frame, encode};
use potluck_protocol::id::NodeId;
use potluck_protocol::peer::{Channel, PeerFrame};
use potluck_protocol::server::{FromServer, Session, Signal, SignedSignal, ToServer};
use tokio::time::{sleep, timeout};

/// The requester.
pub(crate) struct Rogue {
    pub(crate) member: Member,
    pub(crate) sessions: Vec<Session>,
    transport: NativeTransport,
    /// What it offered to its peers.
    offers: Vec<(NodeId, String)>,
    open: Vec<NodeId>,
}

/// How a stage lets a requester know that it has had enough.
#[derive(Debug)]
pub(crate) enum Rebuke {
    /// It closed the connection.
    Closed,
    /// It ended the session.
    Ended(String),
}

impl Rogue {
    /// Asks for so many routes and connects to every stage of them. Its key is lower than all of
    /// `below`, so that it is the one to make offers to them.
    pub(crate) async fn open(url: &str, sessions: usize, below: &[NodeId]) -> anyhow::Result<Self> {
        let lowest = below.iter().min().copied().unwrap_or(NodeId([0xff; 32]));
        let number = (1_000..2_000).find(|number| identity(*number).node() < lowest);
        let member = Member::join(url, number.context("some key is lower")?).await?;
        let me = member.node();
        let transport = NativeTransport::new(NetConfig::for_server(url));
        let (routes, offers, connected) = (Vec::new(), Vec::new(), Vec::new());
        let mut rogue = Self { member, sessions: routes, transport, offers, open: connected };
        // One after the other, as whoever waits for a route does not hear what peers signal.
        for _ in 0..sessions {
            let session = rogue.member.ask().await?.map_err(|reason| anyhow::anyhow!(reason))?;
            rogue.sessions.push(session);
            let stages = rogue.stages();
            for peer in stages.iter().copied().filter(|peer| !rogue.open.contains(peer)) {
                let role = Role::of(me, peer);
                rogue.transport.send(Command::OpenPeer { peer, role, ice_servers: Vec::new() });
            }
            while rogue.open.len() < stages.len() {
                rogue.next().await?;
            }
        }
        Ok(rogue)
    }

    /// The sessions' stages, each once.
    fn stages(&self) -> BTreeSet<NodeId> {
        let stages = self.sessions.iter().flat_map(|session| &session.stages);
        stages.map(|stage| stage.node).collect()
    }

    /// Who takes the tokens of its first session.
    pub(crate) fn first_stage(&self) -> NodeId {
        self.sessions[0].stages[0].node
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, to: NodeId, frame: &PeerFrame) {
        self.send_bytes(to, frame.channel(), encode(frame));
    }

    /// Sends what need not be a frame.
    pub(crate) fn send_bytes(&mut self, peer: NodeId, channel: Channel, frame: Vec<u8>) {
        self.transport.send(Command::SendPeer { peer, channel, frame });
    }

    /// Offers `to` a new connection, in other words than any time before.
    pub(crate) async fn offer_again(&mut self, to: NodeId, nth: u32) -> anyhow::Result<()> {
        let offered = self.offers.iter().find(|(peer, _)| *peer == to);
        let (_, sdp) = offered.context("it has made an offer to this peer")?;
        // The origin line's second word names the session; another number is another offer.
        let sdp = sdp.replacen("o=- ", &format!("o=- {nth}"), 1);
        let signal = SignedSignal::new(self.member.identity(), to, Signal::Offer { sdp }, None);
        self.member.send(&ToServer::Signal { to, signal }).await
    }

    /// Keeps its connections up until a stage has had enough of it.
    pub(crate) async fn rebuke(&mut self) -> anyhow::Result<Rebuke> {
        let rebuke = async {
            loop {
                if let Some(rebuke) = self.next().await? {
                    return Ok(rebuke);
                }
            }
        };
        timeout(PATIENCE, rebuke).await.context("the stages bear with everything")?
    }

    /// Keeps its connections up for so long, and gives up what it is told.
    pub(crate) async fn linger(&mut self, duration: Duration) -> anyhow::Result<()> {
        tokio::select! {
            () = sleep(duration) => Ok(()),
            failed = async {
                loop {
                    if let Err(error) = self.next().await {
                        return error;
                    }
                }
            } => Err(failed),
        }
    }

    /// Handles the next thing that happens.
    async fn next(&mut self) -> anyhow::Result<Option<Rebuke>> {
        let me = self.member.node();
        tokio::select! {
            event = self.transport.next_event() => match event {
                Event::PeerOpen { peer } => {
                    if !self.open.contains(&peer) {
                        self.open.push(peer);
                    }
                }
                Event::PeerClosed { peer, reason } if !self.open.contains(&peer) => {
                    bail!("no connection to {peer}: {reason}")
                }
                Event::PeerClosed { .. } => return Ok(Some(Rebuke::Closed)),
                Event::Signal { peer, signal } => {
                    if let Signal::Offer { sdp } = &signal {
                        self.offers.push((peer, sdp.clone()));
                    }
                    let signal = SignedSignal::new(self.member.identity(), peer, signal, None);
                    self.member.send(&ToServer::Signal { to: peer, signal }).await?;
                }
                Event::PeerFrame { frame, .. } => {
                    if let Ok(PeerFrame::Failed { reason, .. }) = decode_peer_frame(&frame) {
                        return Ok(Some(Rebuke::Ended(reason)));
                    }
                }
                Event::ServerOpen | Event::ServerMessage { .. } | Event::ServerClosed { .. } => {}
            },
            message = self.member.receive() => match message? {
                FromServer::Signal { from, signal } if signal.is_from(from, me, None) => {
                    let signal = signal.signal;
                    self.transport.send(Command::Signal { peer: from, signal });
                }
                FromServer::SessionEnded { reason, .. } => {
                    return Ok(Some(Rebuke::Ended(reason)));
                }
                _ => {}
            },
        }
        Ok(None)
    }
}
