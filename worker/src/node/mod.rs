//! The node as a state machine: what happens, and when.
//!
//! `handle(input, now)` takes one thing that happened and returns what to do about it. There is no
//! I/O here, no clock and no randomness; [`crate::run`] drives it. A node has several roles at
//! once, each a type with its own state and its own file or folder:
//!
//! | file | the node as | exchanges messages with |
//! |---|---|---|
//! | `link` | a client of the server: handshake, heartbeats, coming back | server |
//! | `volunteer` | a volunteer's machine: backend, assignment, weights | server, engine |
//! | `stage` | a stage of sessions: steps in, hidden rows or tokens out | peers, engine |
//! | `requester` | a requester: prompt in, text out, receipts signed | server, peers |
//! | `receipts` | a stage that wants its work credited | peers, server |
//! | `peers` | the keeper of its connections | peers |
//! | `door` | who lets a newcomer into a room, or is let in | server, and sealed the other one |
//!
//! Roles do not know each other. Each gets a `Context` with what they share, and puts what it
//! wants into the context's outbox: actions for the loop, and events for other roles. The [`Node`]
//! routes both ways and decides nothing.

mod context;
mod door;
mod link;
mod messages;
mod outbox;
mod peers;
mod receipts;
mod requester;
mod stage;
#[cfg(test)]
mod tests;
mod volunteer;
mod window;

use std::time::Duration;

use potluck_net as net;
use potluck_protocol::codec;
use potluck_protocol::grant::GrantFault;
use potluck_protocol::id::{NodeId, SessionId};
use potluck_protocol::identity::Identity;
use potluck_protocol::page::{Command, Notice};
use potluck_protocol::peer::{Channel, PeerFrame};
use potluck_protocol::server::{FromServer, NodeKind, Session};
use potluck_protocol::ticket::SignedTicket;

use context::Context;
use door::Door;

use link::Link;
pub use link::server_origin;
pub use messages::{
    Action, Device, EngineDescription, Input, MachineEvent, Now, StepInput, StepRequest,
    StepResult, TICK,
};
use outbox::Event;
use receipts::Receipts;
use requester::Requester;
use stage::Stages;
use volunteer::{Rest, Volunteer};

/// The node.
#[derive(Debug)]
pub struct Node {
    context: Context,
    volunteer: Volunteer,
    stages: Stages,
    requester: Requester,
    receipts: Receipts,
    door: Door,
}

impl Node {
    /// A node that does nothing yet.
    #[must_use]
    pub fn new(identity: Identity, kind: NodeKind) -> Self {
        Self {
            context: Context::new(identity),
            volunteer: Volunteer::new(kind),
            stages: Stages::default(),
            requester: Requester::default(),
            receipts: Receipts::default(),
            door: Door::default(),
        }
    }

    /// The same, but known as somebody beside whoever this machine is, so that both can be connected.
    #[must_use]
    pub fn beside(mut self) -> Self {
        self.context.is_beside = true;
        self.context.enter(None);
        self
    }

    /// The node's key.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.context.me
    }

    /// True while an answer runs, or its last receipts may still come: a program that asks stays
    /// until then.
    #[must_use]
    pub fn is_settling(&self) -> bool {
        self.requester.is_settling()
    }

    /// Handles one thing that happened; returns what to do, in order.
    pub fn handle(&mut self, input: Input, now: Now) -> Vec<Action> {
        let Now { since_start: now, calendar } = now;
        self.context.now = now;
        self.context.calendar_s = calendar.as_secs();
        self.end_what_is_not_granted();
        match input {
            Input::Command(command) => self.command(command),
            Input::Transport(event) => self.transport(event),
            Input::Machine(event) => self.machine(event),
            Input::Own(event) => self.own_machine(event),
            Input::Tick => self.tick(),
            Input::Woke => self.context.link.handle_woke(now, &mut self.context.outbox),
        }
        self.handle_events();
        self.settle();
        self.volunteer.notify(self.stages.count(), &mut self.context);
        std::mem::take(&mut self.context.outbox.actions)
    }

    fn command(&mut self, command: Command) {
        let Self { context, volunteer, requester, door, .. } = self;
        match command {
            Command::Connect { server, room } => {
                let is_elsewhere = !context.is_in(room) || context.link.is_elsewhere(&server);
                if context.grant.is_some() && is_elsewhere {
                    self.end_grant(GrantFault::OtherServer);
                }
                if !self.context.is_in(room) {
                    self.context.enter(room);
                    let node = self.context.me;
                    self.context.outbox.notice(Notice::Identity { node });
                }
                let Context { link, outbox, now, .. } = &mut self.context;
                link.connect(&server, *now, outbox);
            }
            Command::Lend { backend, terms } => volunteer.lend(backend, terms, context),
            Command::LendAgain { backend, grant } => volunteer.lend_again(backend, *grant, context),
            Command::SetLimits(limits) => volunteer.set_limits(limits, context),
            Command::Pause => volunteer.pause(),
            Command::Resume => volunteer.resume(),
            Command::Extend => volunteer.extend(context),
            Command::Conditions(seen) => volunteer.handle_conditions(seen, context),
            Command::StopLending => self.end_lending("the volunteer stopped lending", None),
            Command::Ask(ask) => requester.ask(ask, context),
            Command::Cancel { request } => requester.cancel(request, context),
            Command::Door(command) => door.command(command, context),
            // Whoever keeps the key does this; the node has a copy and keeps nothing.
            Command::Key(_) => {}
        }
    }

    /// True if what waits to be computed may be, `calendar` since 1970: the volunteer's grant holds.
    #[must_use]
    pub fn may_compute(&self, calendar: Duration) -> bool {
        let granted = self.context.grant.as_ref();
        granted.is_some_and(|signed| signed.grant.holds_at(calendar.as_secs()).is_ok())
    }

    /// A yes ends on its day, whatever else happens then.
    fn end_what_is_not_granted(&mut self) {
        let Some(signed) = &self.context.grant else { return };
        if let Err(fault) = signed.grant.holds_at(self.context.calendar_s) {
            self.end_grant(fault);
        }
    }

    fn end_grant(&mut self, fault: GrantFault) {
        let reason = format!("{} is not lent any more: {fault}", self.context.me.name());
        let lent = format!("This machine is not lent any more: {fault}");
        self.end_lending(&reason, Some(lent));
    }

    /// Begins a pause, or ends one, if it is time: what is computed here goes on elsewhere.
    fn settle(&mut self) {
        let Some(Rest { reason, awaited }) = self.volunteer.settle(&mut self.context) else {
            return;
        };
        self.stages.fail_all(&reason, &mut self.context);
        self.handle_events();
        if let Some(model) = awaited {
            // A question may want the manifest that is not fetched for the volunteer any more.
            self.requester.handle_description(model, None, &mut self.context);
        }
    }

    /// Nothing is computed, fetched or offered here any more. `failure`: what the person should
    /// know, if it was not the person who ended it.
    fn end_lending(&mut self, reason: &str, failure: Option<String>) {
        if !self.volunteer.is_lending() && failure.is_some() {
            return;
        }
        self.stages.fail_all(reason, &mut self.context);
        // The last receipts and counters, before this node is a volunteer's no more.
        self.handle_events();
        if let Some(model) = self.volunteer.end(failure, &mut self.context) {
            // A question may want the manifest that is not fetched for the volunteer any more.
            self.requester.handle_description(model, None, &mut self.context);
        }
    }

    fn transport(&mut self, event: net::Event) {
        let Context { link, peers, outbox, me, now, .. } = &mut self.context;
        match event {
            net::Event::ServerOpen => Link::handle_open(*me, outbox),
            net::Event::ServerMessage { .. } if !link.note_heard() => {}
            net::Event::ServerMessage { message } => match codec::decode_from_server(&message) {
                Ok(message) => self.server_message(message),
                Err(error) => {
                    let reason = format!("the server sent something unreadable: {error}");
                    link.handle_lost(reason, *me, *now, outbox);
                }
            },
            net::Event::ServerClosed { reason } => link.handle_lost(reason, *me, *now, outbox),
            net::Event::Signal { peer, signal } => self.context.send_signal(peer, signal),
            net::Event::PeerOpen { peer } => peers.handle_open(peer, outbox),
            net::Event::PeerFrame { peer, channel, frame } => {
                // Hidden rows are most of what comes, so the stage looks at whose they are and how
                // many before anything is made of their bytes.
                let wrong_channel = || "it used the wrong channel".to_owned();
                match codec::hidden_header(&frame) {
                    Some(header)
                        if channel == Channel::Activations
                            && self.requester.awaits_rows(header.session, peer) =>
                    {
                        self.requester.handle_rows(peer, &header, &frame, &mut self.context);
                        return;
                    }
                    Some(header) if channel == Channel::Activations => {
                        self.context.traffic.received_bytes += frame.len() as u64;
                        self.stages.handle_hidden(peer, &header, frame, &mut self.context);
                        return;
                    }
                    Some(_) => return peers.drop_peer(peer, wrong_channel(), outbox),
                    None => {}
                }
                let bytes = frame.len() as u64;
                match codec::decode_peer_frame(&frame) {
                    Ok(frame) if frame.channel() == channel => {
                        // Only stages are sent these.
                        if matches!(frame, PeerFrame::Step { .. } | PeerFrame::Seen { .. }) {
                            self.context.traffic.received_bytes += bytes;
                        }
                        self.peer_frame(peer, frame);
                    }
                    Ok(_) => peers.drop_peer(peer, wrong_channel(), outbox),
                    Err(error) => {
                        let fault = format!("it sent something unreadable: {error}");
                        peers.drop_peer(peer, fault, outbox);
                    }
                }
            }
            net::Event::PeerClosed { peer, reason } => peers.handle_closed(peer, reason, outbox),
        }
    }

    fn server_message(&mut self, message: FromServer) {
        let Self { context, volunteer, requester, stages, receipts, door } = self;
        let Context { link, peers, outbox, identity, me, room, now, calendar_s, .. } = context;
        match message {
            FromServer::Challenge { nonce } => {
                link.handle_challenge(&nonce, identity, *room, outbox);
            }
            FromServer::Welcome { ice_servers, models, heartbeat_ms } => {
                link.handle_welcome(ice_servers, heartbeat_ms, outbox);
                let listed = serde_json::to_string(&models).unwrap_or_default();
                outbox.notice(Notice::Models(listed));
                context.library.models = models;
                volunteer.handle_link_open(context);
                requester.handle_link_open(context);
                receipts.send_again(context);
                door.handle_link_open(context);
            }
            FromServer::Refused { reason, retry_after_ms } => {
                link.handle_refused(reason, retry_after_ms, *me, *now, outbox);
            }
            FromServer::Assign { model, lease } => volunteer.handle_assign(model, lease, context),
            FromServer::Waiting { request, missing } => {
                requester.handle_waiting(request, missing, context);
            }
            FromServer::Route { request, session } => {
                requester.handle_route(request, session, context);
            }
            FromServer::RequestRefused { request, reason } => {
                requester.handle_refused(request, &reason, context);
            }
            FromServer::Serve { session, ticket } => self.serve(session, *ticket),
            FromServer::SessionEnded { session, reason, failed_node } => {
                stages.close(session, Some(&reason), context);
                requester.resume(session, &reason, failed_node, context);
            }
            FromServer::Signal { from, signal } => {
                peers.handle_signal(from, (*me, *room, *calendar_s), signal, *now, outbox);
            }
            FromServer::ReceiptResult { receipt, verdict } => {
                receipts.handle_verdict(receipt, verdict, context);
            }
            FromServer::LendingRefused { reason } => {
                let lent = format!("the server does not take this machine: {reason}");
                self.end_lending(&reason, Some(lent));
            }
            FromServer::Heartbeat => {} // that it came is all there is to know
            FromServer::IceServers { ice_servers } => link.set_ice_servers(ice_servers),
            FromServer::Door(message) => door.handle(message, context),
        }
    }

    fn serve(&mut self, session: Session, ticket: SignedTicket) {
        let Some(index) = session.stage_of(self.context.me) else { return };
        let (model, layers) = (session.model, session.stages[index].layers);
        let has_layers = self.volunteer.is_working()
            && self.volunteer.has_layers(model, layers, &self.context.library);
        let earns = ticket.ticket.earns;
        if self.stages.open(session, earns, has_layers, &mut self.context) && earns {
            self.receipts.open(ticket);
        }
    }

    fn machine(&mut self, event: MachineEvent) {
        let Self { context, volunteer, requester, stages, .. } = self;
        match event {
            MachineEvent::EngineReady(engine) => volunteer.handle_engine_ready(engine, context),
            MachineEvent::EngineReplaced(engine) => {
                volunteer.handle_engine_replaced(engine, context);
            }
            MachineEvent::EngineFailed { reason } => {
                let name = context.me.name();
                self.end_lending(
                    &format!("{name} cannot compute any more: {reason}"),
                    Some(reason),
                );
            }
            MachineEvent::Manifest { model, result } => {
                let failure = result
                    .map(|manifest| context.library.manifests.insert(model, manifest))
                    .err()
                    .map(|failure| failure.to_string());
                volunteer.handle_manifest(model, failure.as_deref(), context);
                requester.handle_description(model, failure.as_deref(), context);
            }
            MachineEvent::Tokenizer { model, result } => {
                let failure = result
                    .map(|tokenizer| context.library.tokenizers.insert(model, tokenizer))
                    .err()
                    .map(|failure| failure.to_string());
                requester.handle_description(model, failure.as_deref(), context);
            }
            MachineEvent::Fetched { bytes } => volunteer.handle_fetched(bytes, context),
            MachineEvent::KeptBudget { line } => volunteer.handle_kept_budget(&line, context),
            MachineEvent::Progress { role, bytes } => volunteer.handle_progress(role, bytes),
            MachineEvent::Loaded { model, role, result } => {
                volunteer.handle_loaded(model, role, result, context);
            }
            MachineEvent::Computed(result) => {
                volunteer.handle_result(&result, context);
                stages.handle_result(result, context);
            }
        }
    }

    /// The machine that computes this node's own questions has finished something.
    fn own_machine(&mut self, event: MachineEvent) {
        let Self { context, volunteer, requester, .. } = self;
        match event {
            // The day's bytes are this machine's, whatever they were fetched for.
            MachineEvent::Fetched { bytes } => volunteer.handle_own_fetched(bytes, context),
            MachineEvent::KeptBudget { line } => volunteer.handle_kept_budget(&line, context),
            event => requester.handle_own(event, context),
        }
    }

    fn peer_frame(&mut self, from: NodeId, frame: PeerFrame) {
        let Self { context, requester, stages, receipts, .. } = self;
        match frame {
            PeerFrame::Step { .. } => stages.handle_tokens(from, frame, context),
            PeerFrame::Seen { session, tokens } => {
                stages.handle_seen(from, session, tokens, context);
            }
            // None comes here: the transport's are looked at undecoded, and this node's own below.
            PeerFrame::Hidden { .. } => {}
            PeerFrame::Token { session, position, token } => {
                requester.handle_token(from, session, position, token, context);
            }
            PeerFrame::ReceiptProposal { receipt, signature } => {
                requester.handle_receipt(from, &receipt, &signature, context);
            }
            PeerFrame::ReceiptSigned { receipt, signature } => {
                receipts.handle_signed(from, receipt, signature, context);
            }
            PeerFrame::End { session, keeps } => {
                stages.handle_end(from, session, keeps, context);
                requester.handle_end(from, session);
            }
            PeerFrame::Ping { session } => stages.handle_ping(from, session, context),
            PeerFrame::Pong { session } => requester.handle_pong(from, session),
            PeerFrame::Window { session, rows } => {
                let is_stages = stages.handle_window(from, session, rows, context);
                if !requester.handle_window(from, session, rows, context) && !is_stages {
                    let fault = "it gave room in a session that it is not in".to_owned();
                    context.outbox.raise(Event::PeerMisbehaved { peer: from, fault });
                }
            }
            PeerFrame::Failed { session, reason, failed_node } => {
                self.session_failed(from, session, &reason, failed_node);
            }
        }
    }

    /// A frame of this node to itself, most of them from its requester to its stage.
    fn loop_to_stage(&mut self, frame: PeerFrame) {
        let me = self.context.me;
        let Self { context, stages, .. } = self;
        match frame {
            PeerFrame::Window { session, rows } => {
                stages.handle_window(me, session, rows, context);
            }
            PeerFrame::Hidden { .. } => {
                let frame = codec::encode(&frame);
                if let Some(header) = codec::hidden_header(&frame) {
                    stages.handle_hidden(me, &header, frame, context);
                }
            }
            frame => self.peer_frame(me, frame),
        }
    }

    /// What a stage of this node computed for its own requester, or has room for.
    fn loop_to_requester(&mut self, frame: PeerFrame) {
        let me = self.context.me;
        let Self { context, requester, .. } = self;
        match frame {
            PeerFrame::Window { session, rows } => {
                requester.handle_window(me, session, rows, context);
            }
            PeerFrame::Hidden { .. } => {
                let frame = codec::encode(&frame);
                if let Some(header) = codec::hidden_header(&frame) {
                    requester.handle_rows(me, &header, &frame, context);
                }
            }
            frame => self.peer_frame(me, frame),
        }
    }

    /// Somebody in a session found that it cannot go on.
    fn session_failed(
        &mut self,
        from: NodeId,
        session: SessionId,
        reason: &str,
        failed_node: Option<NodeId>,
    ) {
        if self.stages.is_in(session, from) {
            self.stages.close(session, Some(reason), &mut self.context);
        }
        if self.requester.is_in(session, from) {
            self.requester.resume(session, reason, failed_node, &mut self.context);
        }
    }

    fn tick(&mut self) {
        let Self { context, volunteer, requester, stages, receipts, door } = self;
        context.link.tick(context.me, context.now, &mut context.outbox);
        stages.tick(context);
        requester.tick(context);
        receipts.tick(context);
        door.tick(context);
        let is_used = |peer| stages.uses(peer) || requester.uses(peer);
        context.peers.tick(is_used, context.now, &mut context.outbox);
        volunteer.tick(context);
    }

    /// Routes what one role lets the others know, until nothing follows.
    fn handle_events(&mut self) {
        while let Some(event) = self.context.outbox.events.pop_front() {
            let Self { context, volunteer, requester, stages, receipts, door } = self;
            match event {
                Event::Loopback(frame) => self.loop_to_stage(frame),
                Event::LoopbackToRequester(frame) => self.loop_to_requester(frame),
                Event::PeerMisbehaved { peer, fault } => {
                    context.peers.drop_peer(peer, fault, &mut context.outbox);
                }
                Event::PeerLost { peer, reason } => {
                    let reason = format!("the connection to {} is gone: {reason}", peer.name());
                    stages.handle_peer_lost(peer, &reason, context);
                    requester.handle_peer_lost(peer, &reason, context);
                }
                Event::LinkLost => {
                    requester.handle_link_lost(context);
                    door.handle_link_lost(context);
                }
                Event::LinkRefused { reason } => {
                    requester.fail_all(&reason, context);
                    door.handle_link_lost(context);
                    let lent = format!("{reason}. This machine is not lent any more");
                    self.end_lending(&reason, Some(lent));
                }
                Event::CannotLend { reason } => self.end_lending(&reason.clone(), Some(reason)),
                Event::WorkDone(receipt) => receipts.propose(receipt, context),
                Event::ReceiptSigned { session, to_position } => {
                    stages.handle_signed(session, to_position);
                }
                Event::AllProposed { requester, session } => {
                    context.send_peer(requester, PeerFrame::End { session, keeps: false });
                }
                Event::SessionClosed { session } => {
                    receipts.handle_closed(session, context.now);
                    volunteer.report(context);
                    volunteer.unload_unused(stages.ranges(), context);
                }
                Event::AssignmentChanged => volunteer.unload_unused(stages.ranges(), context),
                Event::Credited { balance_macs } => volunteer.handle_credit(balance_macs),
            }
        }
    }
}
