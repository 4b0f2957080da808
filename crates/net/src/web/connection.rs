//! A WebRTC connection by the browser, with its two data channels, negotiated in advance by their
//! ids.

use core::cell::RefCell;
use core::time::Duration;
use std::sync::Arc;

use js_sys::{Array, Map, Uint8Array};
use potluck_protocol::id::NodeId;
use potluck_protocol::peer::Channel;
use potluck_protocol::server::IceServer;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{
    MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelType,
    RtcIceCandidateInit, RtcIceServer, RtcPeerConnection, RtcPeerConnectionIceEvent,
    RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};
use web_time::Instant;

use super::describe;
use crate::Role;
use crate::events::EventSender;
use crate::session::negotiation::{self, Channels, PeerConnection, Platform, Reporter, negotiate};
use crate::session::path::{self, Statistic};
use crate::session::{
    Candidate, Input, LOW_WATER_BYTES, Limits, Networks, PathState, Surroundings, ice_servers,
};

/// A callback that the browser holds as long as this does.
pub(super) type Listener = Closure<dyn Fn(web_sys::Event)>;

/// Sets an event handler.
pub(super) fn listen(
    set: impl FnOnce(Option<&js_sys::Function>),
    handler: impl Fn(web_sys::Event) + 'static,
) -> Listener {
    let closure = Closure::<dyn Fn(web_sys::Event)>::new(handler);
    set(Some(closure.as_ref().unchecked_ref()));
    closure
}

/// One peer of the page's transport.
pub(super) type Peer = negotiation::Peer<Stack>;

/// Begins a connection to `id` and spawns the task that works for it.
pub(super) fn open_peer(
    id: NodeId,
    role: Role,
    ice_servers: &[IceServer],
    networks: Networks,
    limits: Limits,
    events: EventSender,
) -> Arc<Peer> {
    let ice_servers = ice_servers::usable(ice_servers);
    let surroundings = Surroundings::new(networks, &ice_servers);
    let stack = Stack { ice_servers, started: Instant::now(), newest: RefCell::default() };
    let (peer, task) = Peer::open(id, role, limits, surroundings, stack, events);
    spawn_local(negotiate(Arc::clone(&peer), task));
    peer
}

/// Makes connections to one peer.
pub(super) struct Stack {
    ice_servers: Vec<IceServer>,
    started: Instant,
    /// The connection made last, to ask about.
    newest: RefCell<Option<RtcPeerConnection>>,
}

impl Stack {
    /// As [`path::is_relayed`]; `None` too where the browser tells nothing.
    pub(super) async fn is_relayed(&self) -> Option<bool> {
        let connection = self.newest.borrow().clone()?;
        if connection.connection_state() != RtcPeerConnectionState::Connected {
            return None;
        }
        // A map by its methods, not by its class.
        let report: Map = JsFuture::from(connection.get_stats()).await.ok()?.unchecked_into();
        let mut statistics: Vec<Statistic> = Vec::new();
        report.for_each(&mut |entry, _| {
            statistics.extend(serde_wasm_bindgen::from_value(entry));
        });
        path::is_relayed(&statistics)
    }
}

impl Platform for Stack {
    type Connection = Connection;
    type Channels = DataChannels;

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    async fn connect(
        &self,
        reporter: Reporter<Self>,
    ) -> Result<(Connection, DataChannels), String> {
        let stack = RtcPeerConnection::new_with_configuration(&configuration(&self.ice_servers))
            .or_else(|thrown| {
                let error = describe(&thrown);
                tracing::warn!(error, "the ICE servers cannot be used and are left out");
                RtcPeerConnection::new_with_configuration(&configuration(&[]))
            })
            .map_err(|thrown| format!("no WebRTC here: {}", describe(&thrown)))?;
        self.newest.replace(Some(stack.clone()));
        let mut listeners =
            vec![watch_path(&reporter, &stack), watch_candidates(&reporter, &stack)];
        let mut open = |channel| {
            let handle = open_channel(&stack, channel);
            listeners.extend(watch_channel(&reporter, channel, &handle));
            handle
        };
        let channels = DataChannels {
            control: open(Channel::Control),
            activations: open(Channel::Activations),
        };
        let connection =
            Connection { stack, local: None, channels: channels.clone(), _listeners: listeners };
        Ok((connection, channels))
    }
}

/// The browser's two channels.
#[derive(Clone)]
pub(super) struct DataChannels {
    control: RtcDataChannel,
    activations: RtcDataChannel,
}

impl DataChannels {
    fn of(&self, channel: Channel) -> &RtcDataChannel {
        match channel {
            Channel::Control => &self.control,
            Channel::Activations => &self.activations,
        }
    }
}

impl Channels for DataChannels {
    fn transmit(&self, channel: Channel, chunk: Vec<u8>) -> Result<(), String> {
        self.of(channel).send_with_u8_array(&chunk).map_err(|thrown| describe(&thrown))
    }

    fn buffered_bytes(&self, channel: Channel) -> Option<usize> {
        Some(self.of(channel).buffered_amount() as usize)
    }
}

/// One connection. Dropping it closes it, and nothing is heard of it any more.
pub(super) struct Connection {
    stack: RtcPeerConnection,
    /// Our description, made and not set yet.
    local: Option<(RtcSdpType, String)>,
    channels: DataChannels,
    _listeners: Vec<Listener>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stack.set_onconnectionstatechange(None);
        self.stack.set_onicecandidate(None);
        for channel in [&self.channels.control, &self.channels.activations] {
            channel.set_onopen(None);
            channel.set_onclose(None);
            channel.set_onmessage(None);
            channel.set_onbufferedamountlow(None);
        }
        self.stack.close();
    }
}

impl Connection {
    async fn set_remote(&self, kind: RtcSdpType, sdp: &str) -> Result<(), String> {
        done(JsFuture::from(self.stack.set_remote_description(&description(kind, sdp))).await)
    }

    fn describe(
        &mut self,
        kind: RtcSdpType,
        made: Result<JsValue, JsValue>,
    ) -> Result<String, String> {
        let made = made.map_err(|thrown| failed(&thrown))?;
        let sdp = made.unchecked_into::<RtcSessionDescriptionInit>().get_sdp().unwrap_or_default();
        self.local = Some((kind, sdp.clone()));
        Ok(sdp)
    }
}

impl PeerConnection for Connection {
    type Error = String;

    async fn offer(&mut self) -> Result<String, String> {
        let made = JsFuture::from(self.stack.create_offer()).await;
        self.describe(RtcSdpType::Offer, made)
    }

    async fn answer(&mut self, offer: String) -> Result<String, String> {
        self.set_remote(RtcSdpType::Offer, &offer).await?;
        let made = JsFuture::from(self.stack.create_answer()).await;
        self.describe(RtcSdpType::Answer, made)
    }

    async fn gather(&mut self) -> Result<(), String> {
        let Some((kind, sdp)) = self.local.take() else { return Ok(()) };
        done(JsFuture::from(self.stack.set_local_description(&description(kind, &sdp))).await)
    }

    async fn accept(&mut self, answer: String) -> Result<(), String> {
        self.set_remote(RtcSdpType::Answer, &answer).await
    }

    async fn add_candidate(&mut self, candidate: String) -> Result<(), String> {
        let init = RtcIceCandidateInit::new(&candidate);
        // The peer's own word for the section is left out: stacks name it differently, or not at
        // all, and there is only one.
        init.set_sdp_m_line_index(Some(0));
        let added = self.stack.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init));
        done(JsFuture::from(added).await)
    }

    async fn close(self) {
        // The browser sends what its channels hold before they close.
        drop(self);
    }
}

fn configuration(ice_servers: &[IceServer]) -> RtcConfiguration {
    let servers = Array::new();
    for server in ice_servers {
        let entry = RtcIceServer::new();
        let urls: Array = server.urls.iter().map(JsValue::from).collect();
        entry.set_urls(&urls);
        if let Some(username) = &server.username {
            entry.set_username(username);
        }
        if let Some(credential) = &server.credential {
            entry.set_credential(credential);
        }
        servers.push(&entry);
    }
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&servers);
    configuration
}

fn open_channel(stack: &RtcPeerConnection, channel: Channel) -> RtcDataChannel {
    let init = RtcDataChannelInit::new();
    init.set_negotiated(true);
    init.set_id(channel.stream_id());
    let handle = stack.create_data_channel_with_data_channel_dict(channel.label(), &init);
    handle.set_binary_type(RtcDataChannelType::Arraybuffer);
    handle.set_buffered_amount_low_threshold(u32::try_from(LOW_WATER_BYTES).unwrap_or(u32::MAX));
    handle
}

fn watch_channel(
    reporter: &Reporter<Stack>,
    channel: Channel,
    handle: &RtcDataChannel,
) -> [Listener; 4] {
    let [opened, closed, drained, received] = core::array::from_fn(|_| reporter.clone());
    let of = handle.clone();
    [
        listen(|f| handle.set_onopen(f), move |_| opened.handle(Input::ChannelOpen(channel))),
        listen(|f| handle.set_onclose(f), move |_| closed.handle(Input::ChannelClosed(channel))),
        listen(
            |f| handle.set_onbufferedamountlow(f),
            move |_| drained.handle(Input::Buffered(channel, of.buffered_amount() as usize)),
        ),
        listen(
            |f| handle.set_onmessage(f),
            move |event| {
                let data = event.unchecked_into::<MessageEvent>().data();
                let input = data.dyn_into::<js_sys::ArrayBuffer>();
                match input.map(|buffer| Uint8Array::new(&buffer).to_vec()) {
                    Ok(chunk) => received.handle(Input::Chunk(channel, &chunk)),
                    Err(_) => received.handle(Input::Failed(
                        "it sent text where only bytes are allowed".to_owned(),
                    )),
                }
            },
        ),
    ]
}

fn watch_path(reporter: &Reporter<Stack>, stack: &RtcPeerConnection) -> Listener {
    let (reporter, of) = (reporter.clone(), stack.clone());
    listen(
        |f| stack.set_onconnectionstatechange(f),
        move |_| {
            let path = match of.connection_state() {
                RtcPeerConnectionState::Connected => PathState::Connected,
                RtcPeerConnectionState::Disconnected => PathState::Disconnected,
                RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed => {
                    PathState::Failed
                }
                _ => return,
            };
            reporter.handle(Input::Path(path));
        },
    )
}

fn watch_candidates(reporter: &Reporter<Stack>, stack: &RtcPeerConnection) -> Listener {
    let reporter = reporter.clone();
    listen(
        |f| stack.set_onicecandidate(f),
        move |event| {
            let found = event.unchecked_into::<RtcPeerConnectionIceEvent>().candidate();
            if let Some(found) = found {
                reporter.handle(Input::Found(Candidate {
                    candidate: found.candidate(),
                    sdp_mid: found.sdp_mid(),
                    sdp_m_line_index: found.sdp_m_line_index(),
                }));
            }
        },
    )
}

fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

fn done(result: Result<JsValue, JsValue>) -> Result<(), String> {
    result.map(drop).map_err(|thrown| failed(&thrown))
}

fn failed(thrown: &JsValue) -> String {
    format!("negotiation failed: {}", describe(thrown))
}
