//! A WebRTC connection by webrtc-rs, with its two data channels.
//!
//! Both channels are negotiated in advance: each side makes them with the ids of
//! [`Channel::stream_id`], so nothing is announced and no channel of the peer's own making is ever
//! looked at.

use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::IceServer;
use rtc::ice::mdns::MulticastDnsMode;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection as WebRtc, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfigurationBuilder, RTCIceCandidateInit, RTCIceServer, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, RTCSessionDescription, SettingEngineBuilder,
};

use super::{NetConfig, interfaces};
use crate::Role;
use crate::events::EventSender;
use crate::session::negotiation::{self, Channels, PeerConnection, Platform, Reporter, negotiate};
use crate::session::{
    Candidate, HIGH_WATER_BYTES, Input, Networks, PathState, Surroundings, TICK, ice_servers,
};

/// Bytes a channel may have under way, sent and not acknowledged; the sender waits beyond it. 20
/// Mbit/s over a path of 50 ms.
///
/// With 1 MiB, which SCTP's own window allows, two of nine transfers of 12 MiB to Chromium on
/// loopback collapsed into retransmissions and took 7 s and 18 s; with this, none of twenty-four
/// took 2 s.
const MAX_UNACKNOWLEDGED_BYTES: usize = 128 * 1024;

/// How long a path found by the peer's own packets waits for a better one. It is as good as any,
/// and the default of 1 s is what opening a connection to a browser then takes: its packets arrive
/// before its candidates, which go through the server.
const LEARNED_PATH_WAIT: Duration = Duration::ZERO;

/// How often the search for a path takes a step, as RFC 8445 has it; it takes two. A new
/// requester's first token came 630 ms after its route with the default of 200 ms, on loopback, and comes after
/// 310 with this; so does the next one of an answer that goes on with a new stage.
const PATH_CHECK: Duration = Duration::from_millis(50);
/// Steps before a path counts as none: as long as browsers try.
const MAX_PATH_CHECKS: u16 = 100;

/// How long a peer's hidden address is asked for, which is as long as a path is searched; without
/// an end this machine would ask its network every second for as long as the connection lives.
const NAME_SEARCH: Duration = Duration::from_secs(15);

/// How long a channel's last chunks may take before a connection that the node closed is torn down.
const FLUSH: Duration = Duration::from_millis(200);

/// One peer of a native transport.
pub(super) type Peer = negotiation::Peer<Stack>;

/// Begins a connection to `id` and spawns the task that works for it.
pub(super) fn open_peer(
    id: NodeId,
    role: Role,
    ice_servers: &[IceServer],
    networks: Networks,
    config: &Arc<NetConfig>,
    events: EventSender,
) -> Arc<Peer> {
    let ice_servers = ice_servers::usable(ice_servers);
    let surroundings = Surroundings::new(networks, &ice_servers);
    let stack = Stack {
        config: Arc::clone(config),
        ice_servers,
        started: Instant::now(),
        frame_read: Notify::new(),
    };
    let (peer, task) = Peer::open(id, role, config.limits, surroundings, stack, events);
    let (working, ticking) = (Arc::clone(&peer), Arc::clone(&peer));
    tokio::spawn(async move {
        tokio::select! {
            () = negotiate(working, task) => {}
            () = tick(&ticking) => {}
        }
    });
    peer
}

/// The node took a frame: there may be room for the next one.
pub(super) fn frame_read(peer: &Peer, bytes: usize) {
    peer.handle(Input::Read(bytes));
    peer.platform().frame_read.notify_waiters();
}

/// Tells a session that time passes, for as long as it is polled.
async fn tick(peer: &Peer) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        peer.handle(Input::Tick);
    }
}

/// Makes connections to one peer.
#[derive(Debug)]
pub(super) struct Stack {
    config: Arc<NetConfig>,
    ice_servers: Vec<IceServer>,
    started: Instant,
    /// Woken when the node takes a frame.
    frame_read: Notify,
}

impl Platform for Stack {
    type Connection = Connection;
    type Channels = Writers;

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn connect(&self, reporter: Reporter<Self>) -> Result<(Connection, Writers), Error> {
        // A task of its own, because whoever waits for it may hang up at any moment, and a stack
        // that is dropped halfway keeps its sockets for ever.
        let building = build(reporter.clone(), Arc::clone(&self.config), self.ice_servers.clone());
        let stack = tokio::spawn(building).await.map_err(|_| Error::Unbuilt)??;
        let mut tasks = JoinSet::new();
        let (control_sender, control_chunks) = mpsc::unbounded_channel();
        let (activations_sender, activations_chunks) = mpsc::unbounded_channel();
        let control = open_channel(stack.get(), Channel::Control).await?;
        let activations = open_channel(stack.get(), Channel::Activations).await?;
        for (channel, handle, chunks) in [
            (Channel::Control, &control, control_chunks),
            (Channel::Activations, &activations, activations_chunks),
        ] {
            tasks.spawn(read(reporter.clone(), channel, Arc::clone(handle)));
            tasks.spawn(write(reporter.clone(), channel, Arc::clone(handle), chunks));
        }
        let writers = Writers { control: control_sender, activations: activations_sender };
        let connection = Connection { stack, local: None, tasks, channels: [control, activations] };
        Ok((connection, writers))
    }
}

/// Queues of chunks; bounded by the session, which stops at its high water mark.
#[derive(Debug)]
pub(super) struct Writers {
    control: mpsc::UnboundedSender<Vec<u8>>,
    activations: mpsc::UnboundedSender<Vec<u8>>,
}

impl Channels for Writers {
    fn transmit(&self, channel: Channel, chunk: Vec<u8>) -> Result<(), String> {
        let writer = match channel {
            Channel::Control => &self.control,
            Channel::Activations => &self.activations,
        };
        // A writer ends only with its channel, whose close is reported on its own.
        let _ended = writer.send(chunk);
        Ok(())
    }

    fn buffered_bytes(&self, _: Channel) -> Option<usize> {
        None // each writer reports when it has drained
    }
}

/// The stack refused a step; the peer's description may be at fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A step failed.
    #[error("negotiation failed: {0}")]
    Step(#[from] webrtc::error::Error),
    /// The runtime ended first.
    #[error("negotiation failed: this node is ending")]
    Unbuilt,
}

/// A stack of webrtc-rs, which ends only when it is told to: dropping its handle would leave its
/// task running, with all its sockets.
struct OpenStack(Option<Arc<dyn WebRtc>>);

impl OpenStack {
    fn get(&self) -> &dyn WebRtc {
        self.0.as_deref().expect("only taken when this is closed or dropped")
    }

    async fn close(mut self) {
        if let Some(stack) = self.0.take() {
            close_stack(&*stack).await;
        }
    }
}

impl Drop for OpenStack {
    fn drop(&mut self) {
        // Without a runtime there is no task left that could run on.
        if let Some(stack) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { close_stack(&*stack).await });
        }
    }
}

async fn close_stack(stack: &dyn WebRtc) {
    if let Err(error) = stack.close().await {
        tracing::debug!(%error, "closing a connection");
    }
}

/// One connection.
pub(super) struct Connection {
    stack: OpenStack,
    /// Our description, made and not set yet.
    local: Option<RTCSessionDescription>,
    /// Readers and writers; they end with this.
    tasks: JoinSet<()>,
    channels: [Arc<dyn DataChannel>; 2],
}

impl Connection {
    fn describe(&mut self, description: RTCSessionDescription) -> String {
        self.local.insert(description).sdp.clone()
    }
}

impl PeerConnection for Connection {
    type Error = Error;

    async fn offer(&mut self) -> Result<String, Error> {
        let offer = self.stack.get().create_offer(None).await?;
        Ok(self.describe(offer))
    }

    async fn answer(&mut self, offer: String) -> Result<String, Error> {
        self.stack.get().set_remote_description(RTCSessionDescription::offer(offer)?).await?;
        let answer = self.stack.get().create_answer(None).await?;
        Ok(self.describe(answer))
    }

    async fn gather(&mut self) -> Result<(), Error> {
        if let Some(local) = self.local.take() {
            self.stack.get().set_local_description(local).await?;
        }
        Ok(())
    }

    async fn accept(&mut self, answer: String) -> Result<(), Error> {
        Ok(self.stack.get().set_remote_description(RTCSessionDescription::answer(answer)?).await?)
    }

    async fn add_candidate(&mut self, candidate: String) -> Result<(), Error> {
        let candidate =
            RTCIceCandidateInit { candidate, sdp_mline_index: Some(0), ..Default::default() };
        Ok(self.stack.get().add_ice_candidate(candidate).await?)
    }

    async fn close(mut self) {
        let flushed = async {
            for channel in &self.channels {
                while channel.outstanding_bytes().await.is_ok_and(|bytes| bytes > 0) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        // What is not out in time is lost, as on any lost connection.
        let _in_time = tokio::time::timeout(FLUSH, flushed).await;
        self.tasks.abort_all();
        self.stack.close().await;
    }
}

/// The stack, with mDNS if this machine has it, and with the servers if they are to its liking: a
/// connection that needs neither is not to fail for them.
async fn build(
    reporter: Reporter<Stack>,
    config: Arc<NetConfig>,
    ice_servers: Vec<IceServer>,
) -> Result<OpenStack, Error> {
    let ice_servers: Vec<RTCIceServer> = ice_servers
        .into_iter()
        .map(|server| RTCIceServer {
            urls: server.urls,
            username: server.username.unwrap_or_default(),
            credential: server.credential.unwrap_or_default(),
        })
        .collect();
    let udp_bind = interfaces::listen_on(&config.udp_bind);
    let builder = |ice_servers: Vec<RTCIceServer>, mode| {
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(mode)
            .with_multicast_dns_timeout(Some(NAME_SEARCH));
        PeerConnectionBuilder::new()
            .with_configuration(
                RTCConfigurationBuilder::new().with_ice_servers(ice_servers).build(),
            )
            .with_setting_engine(
                settings
                    .with_prflx_acceptance_min_wait(Some(LEARNED_PATH_WAIT))
                    .with_ice_connection_attempts(Some(PATH_CHECK), Some(MAX_PATH_CHECKS))
                    .build(),
            )
            .with_handler(Arc::new(Handler(reporter.clone())))
            .with_udp_addrs(udp_bind.clone())
            .with_data_channel_send_buffer_limit(MAX_UNACKNOWLEDGED_BYTES)
    };
    // Browsers hide local addresses behind mDNS names, which are resolved by listening on port 5353;
    // where that is taken or not allowed, such candidates are one path less.
    if !config.loopback_only() {
        match builder(ice_servers.clone(), MulticastDnsMode::QueryOnly).build().await {
            Ok(stack) => return Ok(OpenStack(Some(Arc::new(stack)))),
            Err(error) => tracing::debug!(%error, "no mDNS here"),
        }
    }
    match builder(ice_servers, MulticastDnsMode::Disabled).build().await {
        Ok(stack) => return Ok(OpenStack(Some(Arc::new(stack)))),
        Err(error) => tracing::warn!(%error, "the ICE servers cannot be used and are left out"),
    }
    let stack = builder(Vec::new(), MulticastDnsMode::Disabled).build().await?;
    Ok(OpenStack(Some(Arc::new(stack))))
}

async fn open_channel(stack: &dyn WebRtc, channel: Channel) -> Result<Arc<dyn DataChannel>, Error> {
    let init = RTCDataChannelInit { negotiated: Some(channel.stream_id()), ..Default::default() };
    Ok(stack.create_data_channel(channel.label(), Some(init)).await?)
}

/// Reports what comes from a channel, no faster than the node reads.
async fn read(reporter: Reporter<Stack>, channel: Channel, handle: Arc<dyn DataChannel>) {
    while let Some(event) = handle.poll().await {
        match event {
            DataChannelEvent::OnOpen => reporter.handle(Input::ChannelOpen(channel)),
            DataChannelEvent::OnMessage(message) => {
                reporter.handle(Input::Chunk(channel, &message.data));
                let Some(peer) = reporter.peer() else { return };
                room_to_read(&peer).await;
            }
            DataChannelEvent::OnClosing | DataChannelEvent::OnClose => break,
            _ => {}
        }
    }
    reporter.handle(Input::ChannelClosed(channel));
}

/// Waits while the node has too much to read; the peer's own stack then slows down.
async fn room_to_read(peer: &Peer) {
    loop {
        let frame_read = peer.platform().frame_read.notified();
        tokio::pin!(frame_read);
        frame_read.as_mut().enable();
        if !peer.is_unread_full() {
            return;
        }
        frame_read.await;
    }
}

/// Hands chunks to a channel, no faster than the peer acknowledges them.
async fn write(
    reporter: Reporter<Stack>,
    channel: Channel,
    handle: Arc<dyn DataChannel>,
    mut chunks: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    let mut batch = Vec::new();
    // All that is there at once, so that the session is told of the drained queue once, not for
    // every chunk.
    while chunks.recv_many(&mut batch, HIGH_WATER_BYTES / 1024).await > 0 {
        for chunk in batch.drain(..) {
            if let Err(error) = handle.send(chunk.as_slice().into()).await {
                let reason = format!("could not send on the {} channel: {error}", channel.label());
                return reporter.handle(Input::Failed(reason));
            }
        }
        if chunks.is_empty() {
            reporter.handle(Input::Buffered(channel, 0));
        }
    }
}

/// Passes on what the stack reports.
struct Handler(Reporter<Stack>);

/// Written out because the trait's own macro would be a dependency for these two functions.
type Done<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

impl PeerConnectionEventHandler for Handler {
    fn on_ice_candidate<'a, 'b>(&'a self, event: RTCPeerConnectionIceEvent) -> Done<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let Ok(found) = event.candidate.to_json() else { return };
            self.0.handle(Input::Found(Candidate {
                candidate: found.candidate,
                sdp_mid: found.sdp_mid,
                sdp_m_line_index: found.sdp_mline_index,
            }));
        })
    }

    fn on_connection_state_change<'a, 'b>(&'a self, state: RTCPeerConnectionState) -> Done<'b>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let path = match state {
                RTCPeerConnectionState::Connected => PathState::Connected,
                RTCPeerConnectionState::Disconnected => PathState::Disconnected,
                RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                    PathState::Failed
                }
                _ => return,
            };
            self.0.handle(Input::Path(path));
        })
    }
}
