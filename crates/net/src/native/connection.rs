//! A WebRTC connection by webrtc-rs, with its two data channels.
//!
//! Both channels are negotiated in advance: each side makes them with the ids of
//! [`Channel::stream_id`], so nothing is announced and no channel of the peer's own making is ever
//! looked at.

use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use potluck_protocol::codec::{MAX_CANDIDATE_BYTES, MAX_SDP_BYTES};
use potluck_protocol::peer::Channel;
use potluck_protocol::server::{IceServer, Signal};
use rtc::ice::mdns::MulticastDnsMode;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder,
    RTCIceCandidateInit, RTCIceServer, RTCPeerConnectionIceEvent, RTCPeerConnectionState,
    RTCSessionDescription, SettingEngineBuilder,
};

use super::NetConfig;
use super::peer::{Peer, Writers};
use crate::Event;
use crate::session::{Candidate, HIGH_WATER_BYTES, Input, PathState};

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

/// How often the search for a path takes a step, as RFC 8445 has it; it takes two. A new asker's
/// first token came 630 ms after its route with the default of 200 ms, on loopback, and comes after
/// 310 with this; so does the next one of an answer that goes on with a new stage.
const PATH_CHECK: Duration = Duration::from_millis(50);
/// Steps before a path counts as none: as long as browsers try.
const MAX_PATH_CHECKS: u16 = 100;

/// How long a channel's last chunks may take before a connection that the node closed is torn down.
const FLUSH: Duration = Duration::from_millis(200);

/// Opening a connection failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The stack refused; the peer's description may be at fault.
    #[error("negotiation failed: {0}")]
    Stack(#[from] webrtc::error::Error),
    /// Our own description is longer than the protocol takes.
    #[error("session description of {got} bytes, at most {MAX_SDP_BYTES} allowed")]
    DescriptionTooLong {
        /// Its length.
        got: usize,
    },
}

/// One connection.
pub(super) struct Connection {
    pub(super) generation: u64,
    stack: Arc<dyn PeerConnection>,
    /// Our description, made and not set yet.
    local: Option<RTCSessionDescription>,
    /// Readers and writers; they end with this.
    tasks: JoinSet<()>,
    outstanding: [Arc<dyn DataChannel>; 2],
}

impl Connection {
    /// Makes the connection and its channels; nothing is sent yet.
    pub(super) async fn new(
        peer: &Arc<Peer>,
        generation: u64,
        config: &NetConfig,
        ice_servers: &[IceServer],
    ) -> Result<(Self, Writers), Error> {
        let stack = build(peer, generation, config, ice_servers).await?;
        let mut tasks = JoinSet::new();
        let (control_sender, control_chunks) = mpsc::unbounded_channel();
        let (activations_sender, activations_chunks) = mpsc::unbounded_channel();
        let control = open_channel(&*stack, Channel::Control).await?;
        let activations = open_channel(&*stack, Channel::Activations).await?;
        for (channel, handle, chunks) in [
            (Channel::Control, &control, control_chunks),
            (Channel::Activations, &activations, activations_chunks),
        ] {
            tasks.spawn(read(Arc::clone(peer), generation, channel, Arc::clone(handle)));
            tasks.spawn(write(Arc::clone(peer), generation, channel, Arc::clone(handle), chunks));
        }
        let writers = Writers { control: control_sender, activations: activations_sender };
        Ok((
            Self { generation, stack, local: None, tasks, outstanding: [control, activations] },
            writers,
        ))
    }

    /// Our offer's SDP text.
    pub(super) async fn offer(&mut self) -> Result<String, Error> {
        let offer = self.stack.create_offer(None).await?;
        self.describe(offer)
    }

    /// Takes the peer's offer; our answer's SDP text.
    pub(super) async fn answer(&mut self, offer: String) -> Result<String, Error> {
        self.stack.set_remote_description(RTCSessionDescription::offer(offer)?).await?;
        let answer = self.stack.create_answer(None).await?;
        self.describe(answer)
    }

    fn describe(&mut self, description: RTCSessionDescription) -> Result<String, Error> {
        let sdp = description.sdp.clone();
        if sdp.len() > MAX_SDP_BYTES {
            return Err(Error::DescriptionTooLong { got: sdp.len() });
        }
        self.local = Some(description);
        Ok(sdp)
    }

    /// Sets our description, which starts the search for candidates. After it was told, so that the
    /// peer hears it first.
    pub(super) async fn gather(&mut self) -> Result<(), Error> {
        if let Some(local) = self.local.take() {
            self.stack.set_local_description(local).await?;
        }
        Ok(())
    }

    /// Takes the peer's answer.
    pub(super) async fn accept(&self, answer: String) -> Result<(), Error> {
        Ok(self.stack.set_remote_description(RTCSessionDescription::answer(answer)?).await?)
    }

    /// Takes a candidate of the peer's.
    pub(super) async fn add_candidate(&self, candidate: Candidate) -> Result<(), Error> {
        let candidate = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_m_line_index,
            ..Default::default()
        };
        Ok(self.stack.add_ice_candidate(candidate).await?)
    }

    /// Lets the last chunks out and ends the connection.
    pub(super) async fn close(mut self) {
        let flushed = async {
            for channel in &self.outstanding {
                while channel.outstanding_bytes().await.is_ok_and(|bytes| bytes > 0) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        };
        // Not in time: they are lost, as on any lost connection.
        let _ = tokio::time::timeout(FLUSH, flushed).await;
        self.tasks.abort_all();
        if let Err(error) = self.stack.close().await {
            tracing::debug!(%error, "closing a connection");
        }
    }
}

async fn build(
    peer: &Arc<Peer>,
    generation: u64,
    config: &NetConfig,
    ice_servers: &[IceServer],
) -> Result<Arc<dyn PeerConnection>, Error> {
    let ice_servers: Vec<RTCIceServer> = ice_servers
        .iter()
        .map(|server| RTCIceServer {
            urls: server.urls.clone(),
            username: server.username.clone().unwrap_or_default(),
            credential: server.credential.clone().unwrap_or_default(),
        })
        .collect();
    let builder = |settings: SettingEngineBuilder| {
        PeerConnectionBuilder::new()
            .with_configuration(
                RTCConfigurationBuilder::new().with_ice_servers(ice_servers.clone()).build(),
            )
            .with_setting_engine(
                settings
                    .with_prflx_acceptance_min_wait(Some(LEARNED_PATH_WAIT))
                    .with_ice_connection_attempts(Some(PATH_CHECK), Some(MAX_PATH_CHECKS))
                    .build(),
            )
            .with_handler(Arc::new(Handler { peer: Arc::clone(peer), generation }))
            .with_udp_addrs(config.udp_bind.clone())
            .with_data_channel_send_buffer_limit(MAX_UNACKNOWLEDGED_BYTES)
    };
    if !config.loopback_only() {
        // Browsers hide local addresses behind mDNS names, which are resolved by listening on port
        // 5353; where that is taken or not allowed, such candidates are one path less.
        match builder(SettingEngineBuilder::new()).build().await {
            Ok(stack) => return Ok(Arc::new(stack)),
            Err(error) => tracing::debug!(%error, "no mDNS here"),
        }
    }
    let settings = SettingEngineBuilder::new().with_multicast_dns_mode(MulticastDnsMode::Disabled);
    Ok(Arc::new(builder(settings).build().await?))
}

async fn open_channel(
    stack: &dyn PeerConnection,
    channel: Channel,
) -> Result<Arc<dyn DataChannel>, Error> {
    let init = RTCDataChannelInit { negotiated: Some(channel.stream_id()), ..Default::default() };
    Ok(stack.create_data_channel(channel.label(), Some(init)).await?)
}

/// Takes what a channel has to say, no faster than the node reads.
async fn read(peer: Arc<Peer>, generation: u64, channel: Channel, handle: Arc<dyn DataChannel>) {
    while let Some(event) = handle.poll().await {
        match event {
            DataChannelEvent::OnOpen => peer.handle_from(generation, Input::ChannelOpen(channel)),
            DataChannelEvent::OnMessage(message) => {
                peer.handle_from(generation, Input::Chunk(channel, &message.data));
                peer.room_to_read().await;
            }
            DataChannelEvent::OnClosing | DataChannelEvent::OnClose => break,
            _ => {}
        }
    }
    peer.handle_from(generation, Input::ChannelClosed(channel));
}

/// Hands chunks to a channel, no faster than the peer acknowledges them.
async fn write(
    peer: Arc<Peer>,
    generation: u64,
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
                return peer.handle_from(generation, Input::Failed(reason));
            }
        }
        if chunks.is_empty() {
            peer.handle_from(generation, Input::Buffered(channel, 0));
        }
    }
}

/// What WebRTC reports.
struct Handler {
    peer: Arc<Peer>,
    generation: u64,
}

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
            if found.candidate.len() > MAX_CANDIDATE_BYTES {
                return;
            }
            let signal = Signal::Candidate {
                candidate: found.candidate,
                // An empty identification means "none"; the line's index says which one.
                sdp_mid: found.sdp_mid.filter(|mid| !mid.is_empty()),
                sdp_m_line_index: found.sdp_mline_index,
            };
            self.peer.tell(Event::Signal { peer: self.peer.id, signal });
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
            self.peer.handle_from(self.generation, Input::Path(path));
        })
    }
}
