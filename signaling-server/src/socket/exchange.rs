//! Messages in both directions between a node that proved its key and the hub.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::ws::WebSocket;
use futures::FutureExt as _;
use potluck_protocol::api::HardwareClass;
use potluck_protocol::codec::clip_reason;
use potluck_protocol::door::ToDoor;
use potluck_protocol::grant::{GrantFault, Place, SignedGrant};
use potluck_protocol::id::SiteKey;
use potluck_protocol::invitation::TicketFault;
use potluck_protocol::server::{FromServer, NodeKind, Signal, ToServer};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::doors::Visitor;
use super::frames::{Received, decode, receive_frame, send};
use super::rate::{Bucket, Offers, Rate};
use super::receipts::{Giver, Receipts};
use super::silence::Silence;
use crate::app::App;
use crate::calendar::unix_now_s;
use crate::ending::Ending;
use crate::hub::Member;
use crate::rooms::Room;
use crate::sites::{Visit, WhyNot};

/// What the hub does to a connection.
#[derive(Debug)]
pub(super) struct FromHub {
    /// Messages for the node.
    pub(super) inbox: mpsc::Receiver<Box<FromServer>>,
    /// The way into `inbox` for what is answered here. It is weak, so that nothing but the hub holds
    /// the connection.
    pub(super) answers: mpsc::WeakSender<Box<FromServer>>,
    /// Resolves when the hub lets the connection go.
    pub(super) end: oneshot::Receiver<Ending>,
}

/// A node that has proved its key.
#[derive(Debug)]
pub(super) struct Arrived {
    /// This server, as the node dialled it.
    pub(super) origin: String,
    /// What is counted as one visitor's place.
    pub(super) address: Option<IpAddr>,
    /// When its pass to the room ends, seconds since 1970.
    pub(super) until_s: Option<u64>,
}

/// How many times the messages of a second may come at once, as the configuration says.
const BURST: u32 = 4;

/// Passes messages on until either side, or the hub, ends the connection.
pub(super) async fn exchange(
    socket: &mut WebSocket,
    app: &Arc<App>,
    (room, member): (&Arc<Room>, &Member),
    arrived: Arrived,
    from_hub: FromHub,
) -> Ending {
    let FromHub { inbox, answers, mut end } = from_hub;
    let now = Instant::now();
    let side = Side {
        app,
        room,
        member,
        arrived,
        answers,
        rate: rate(app.config.max_messages_per_second),
        bucket: Bucket::full(now),
        offers: Offers::new(now),
        receipts: Receipts::default(),
        kind: None,
        class: None,
        credentials_since_s: unix_now_s(),
        visit: None,
        door: None,
    };
    tokio::select! {
        // First: whom the hub lets go is not served any more, however much it has to say.
        biased;
        ending = &mut end => ending.unwrap_or(Ending::Gone),
        ended = side.talk(socket, inbox) => match ended {
            Ok(never) => match never {},
            Err(ending) => ending,
        },
    }
}

/// Our side of a connection.
struct Side<'a> {
    app: &'a Arc<App>,
    room: &'a Arc<Room>,
    member: &'a Member,
    arrived: Arrived,
    answers: mpsc::WeakSender<Box<FromServer>>,
    rate: Rate,
    bucket: Bucket,
    offers: Offers,
    receipts: Receipts,
    /// What the node said that it is.
    kind: Option<NodeKind>,
    /// What computes there, by that.
    class: Option<HardwareClass>,
    /// When it was told its credentials for relays, seconds since 1970: those of the welcome have
    /// just been made.
    credentials_since_s: u64,
    /// The site that its volunteer said yes at, if it was in a widget.
    visit: Option<Visit>,
    /// Its place at doors, once it had to do with one.
    door: Option<Visitor>,
}

impl Side<'_> {
    async fn talk(
        mut self,
        socket: &mut WebSocket,
        mut inbox: mpsc::Receiver<Box<FromServer>>,
    ) -> Result<Infallible, Ending> {
        let timeouts = self.app.config.timeouts;
        let mut silence = Silence::default();
        let first = Instant::now() + timeouts.silence_tick;
        let mut ticks = interval_at(first, timeouts.silence_tick);
        // A pause, however long, is one tick.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = inbox.recv() => {
                    let Some(message) = message else { return Err(Ending::Gone) };
                    send(socket, &message, || inbox.try_recv().ok(), timeouts.send).await?;
                }
                received = receive_frame(socket) => {
                    self.take(socket, received?).await?;
                    // Only now: the time that this waited for the hub is ours.
                    silence.heard();
                }
                why = forbidden(&mut self.visit) => {
                    return Err(Ending::for_good(why.to_string()));
                }
                _ = ticks.tick() => {
                    if silence.tick(timeouts.silence_ticks) {
                        // What has come in by now counts, however late it is looked at.
                        let Some(received) = receive_frame(socket).now_or_never() else {
                            return Err(Ending::soon("no sign of life"));
                        };
                        self.take(socket, received?).await?;
                        silence.heard();
                    }
                    if self.arrived.until_s.is_some_and(|until_s| until_s <= unix_now_s()) {
                        return Err(Ending::for_good(format!(
                            "{}; whoever made the room can give you another", TicketFault::Ended
                        )));
                    }
                    self.renew_credentials(socket).await?;
                }
            }
        }
    }

    /// Tells the node new credentials for relays, where those that it has end before long.
    async fn renew_credentials(&mut self, socket: &mut WebSocket) -> Result<(), Ending> {
        if !self.app.makes_credentials() {
            return Ok(());
        }
        let now_s = unix_now_s();
        let timeouts = self.app.config.timeouts;
        if now_s < self.credentials_since_s.saturating_add(timeouts.credentials.as_secs()) {
            return Ok(());
        }
        self.credentials_since_s = now_s;
        let ice_servers = self.app.ice_servers(self.member.node(), now_s);
        send(socket, &FromServer::IceServers { ice_servers }, || None, timeouts.send).await
    }

    /// The visit at this site that goes on or begins.
    fn visit(&mut self, site: SiteKey) -> Result<Visit, Ending> {
        match self.visit.take().filter(|visit| visit.site() == site) {
            Some(visit) => Ok(visit),
            None => self.app.sites.visit(site).map_err(|why| Ending::for_good(why.to_string())),
        }
    }

    async fn take(&mut self, socket: &mut WebSocket, received: Received) -> Result<(), Ending> {
        if !self.bucket.take(self.rate, Instant::now()) {
            let rate = self.app.config.max_messages_per_second;
            return Err(Ending::busy(format!("more than {rate} messages a second")));
        }
        let Received::Message(bytes) = received else { return Ok(()) };
        match decode(&bytes)? {
            ToServer::Hello { .. } | ToServer::Prove { .. } => {
                return Err(Ending::later("the handshake is over"));
            }
            ToServer::Heartbeat => {
                let limit = self.app.config.timeouts.send;
                send(socket, &FromServer::Heartbeat, || None, limit).await?;
            }
            ToServer::Door(message) => self.at_door(message)?,
            ToServer::Signal { to, signal } => {
                let is_offer = matches!(signal.signal, Signal::Offer { .. });
                if !is_offer || self.offers.take(to, Instant::now()) {
                    self.member.signal(to, signal).await;
                }
            }
            ToServer::Receipt { receipt, ticket } => {
                let site = self.visit.as_ref().map(Visit::site);
                let from =
                    Giver { node: self.member.node(), kind: self.kind, class: self.class, site };
                self.receipts.hand_in((self.app, self.room), from, receipt, ticket, &self.answers);
            }
            message => {
                match &message {
                    ToServer::Register { capabilities, grant, .. } => {
                        if let Err(fault) = self.check(grant) {
                            return self.refuse_lending(socket, fault).await;
                        }
                        self.kind = Some(capabilities.kind);
                        let on_phone = grant.grant.limits.on_phone;
                        let class =
                            HardwareClass::of(capabilities.kind, &capabilities.backend, on_phone);
                        self.class = Some(class);
                        self.visit = match grant.grant.place {
                            Place::Widget { site } => Some(self.visit(site)?),
                            Place::Page | Place::Native => None,
                        };
                    }
                    ToServer::Deregister => self.visit = None,
                    _ => {}
                }
                self.member.receive(message).await;
            }
        }
        Ok(())
    }

    /// The node says something at a door.
    fn at_door(&mut self, message: ToDoor) -> Result<(), Ending> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).map_err(|_| Ending::busy("the server has no randomness"))?;
        let address = self.arrived.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let visitor = self
            .door
            .get_or_insert_with(|| Visitor::new(&self.app.doors, address, self.answers.clone()));
        visitor.say(message, u32::from_le_bytes(random), Instant::now());
        Ok(())
    }

    /// Whether a grant is the node's own, was given to this server, and holds now.
    fn check(&self, grant: &SignedGrant) -> Result<(), GrantFault> {
        grant.check(&self.arrived.origin, self.member.node(), unix_now_s())
    }

    /// The node is given nothing to compute; it may go on asking.
    async fn refuse_lending(
        &self,
        socket: &mut WebSocket,
        fault: GrantFault,
    ) -> Result<(), Ending> {
        let refused = FromServer::LendingRefused { reason: clip_reason(&fault.to_string()) };
        send(socket, &refused, || None, self.app.config.timeouts.send).await
    }
}

/// Waits until the site of a visit may not run any more; for ever where there is no visit.
async fn forbidden(visit: &mut Option<Visit>) -> WhyNot {
    match visit {
        Some(visit) => visit.forbidden().await,
        None => std::future::pending().await,
    }
}

fn rate(messages_per_second: u32) -> Rate {
    Rate::per_second(messages_per_second, BURST.saturating_mul(messages_per_second.max(1)))
}
