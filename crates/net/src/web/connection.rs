//! A WebRTC connection by the browser, with its two data channels, negotiated in advance by their
//! ids.

use js_sys::{Array, Uint8Array};
use potluck_protocol::codec::{MAX_CANDIDATE_BYTES, MAX_SDP_BYTES};
use potluck_protocol::peer::Channel;
use potluck_protocol::server::{IceServer, Signal};
use std::rc::{Rc, Weak};
use wasm_bindgen::closure::Closure;
use wasm_bindgen::{JsCast as _, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelType,
    RtcIceCandidateInit, RtcIceServer, RtcPeerConnection, RtcPeerConnectionIceEvent,
    RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use super::describe;
use super::peer::Peer;
use crate::session::{Candidate, Input, LOW_WATER_BYTES, PathState};

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

/// One connection. Dropping it closes it, and nothing is heard of it any more.
pub(super) struct Connection {
    pub(super) generation: u64,
    stack: RtcPeerConnection,
    control: RtcDataChannel,
    activations: RtcDataChannel,
    _listeners: Vec<Listener>,
}

impl Connection {
    /// Makes the connection and its channels; nothing is sent yet.
    pub(super) fn new(
        peer: &Rc<Peer>,
        generation: u64,
        ice_servers: &[IceServer],
    ) -> Result<Self, String> {
        let stack = RtcPeerConnection::new_with_configuration(&configuration(ice_servers))
            .map_err(|thrown| format!("no WebRTC here: {}", describe(&thrown)))?;
        let mut listeners =
            vec![watch_path(peer, generation, &stack), watch_candidates(peer, &stack)];
        let mut open = |channel| {
            let handle = open_channel(&stack, channel);
            listeners.extend(watch_channel(peer, generation, channel, &handle));
            handle
        };
        let (control, activations) = (open(Channel::Control), open(Channel::Activations));
        Ok(Self { generation, stack, control, activations, _listeners: listeners })
    }

    /// Hands a chunk to a channel.
    pub(super) fn transmit(&self, channel: Channel, chunk: &[u8]) -> Result<(), String> {
        self.channel(channel).send_with_u8_array(chunk).map_err(|thrown| describe(&thrown))
    }

    /// Bytes that a channel holds back.
    pub(super) fn buffered_bytes(&self, channel: Channel) -> usize {
        self.channel(channel).buffered_amount() as usize
    }

    fn channel(&self, channel: Channel) -> &RtcDataChannel {
        match channel {
            Channel::Control => &self.control,
            Channel::Activations => &self.activations,
        }
    }

    /// The browser's object, for [`Negotiation`]: nothing may be borrowed while it waits.
    pub(super) fn negotiation(&self) -> Negotiation {
        Negotiation(self.stack.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stack.set_onconnectionstatechange(None);
        self.stack.set_onicecandidate(None);
        for channel in [&self.control, &self.activations] {
            channel.set_onopen(None);
            channel.set_onclose(None);
            channel.set_onmessage(None);
            channel.set_onbufferedamountlow(None);
        }
        self.stack.close();
    }
}

/// What takes time.
pub(super) struct Negotiation(RtcPeerConnection);

impl Negotiation {
    /// Our offer's SDP text, before it is set.
    pub(super) async fn offer(&self) -> Result<String, String> {
        text(JsFuture::from(self.0.create_offer()).await)
    }

    /// Takes the peer's offer; our answer's SDP text, before it is set.
    pub(super) async fn answer(&self, offer: &str) -> Result<String, String> {
        self.set_remote(RtcSdpType::Offer, offer).await?;
        text(JsFuture::from(self.0.create_answer()).await)
    }

    /// Sets our description, which starts the search for candidates. After it was told, so that the
    /// peer hears it first.
    pub(super) async fn gather(&self, kind: RtcSdpType, sdp: &str) -> Result<(), String> {
        done(JsFuture::from(self.0.set_local_description(&description(kind, sdp))).await)
    }

    /// Takes a description of the peer's.
    pub(super) async fn set_remote(&self, kind: RtcSdpType, sdp: &str) -> Result<(), String> {
        done(JsFuture::from(self.0.set_remote_description(&description(kind, sdp))).await)
    }

    /// Takes a candidate of the peer's.
    pub(super) async fn add_candidate(&self, candidate: &Candidate) -> Result<(), String> {
        let init = RtcIceCandidateInit::new(&candidate.candidate);
        init.set_sdp_mid(candidate.sdp_mid.as_deref());
        init.set_sdp_m_line_index(candidate.sdp_m_line_index);
        done(
            JsFuture::from(self.0.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init)))
                .await,
        )
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

/// Calls the peer, if it is still there.
fn reporter(peer: &Rc<Peer>, generation: u64) -> impl Fn(Input<'_>) + Clone + 'static {
    let peer: Weak<Peer> = Rc::downgrade(peer);
    move |input| {
        if let Some(peer) = peer.upgrade() {
            peer.handle_from(generation, input);
        }
    }
}

fn watch_channel(
    peer: &Rc<Peer>,
    generation: u64,
    channel: Channel,
    handle: &RtcDataChannel,
) -> [Listener; 4] {
    let report = reporter(peer, generation);
    let (opened, closed, drained, of) =
        (report.clone(), report.clone(), report.clone(), handle.clone());
    [
        listen(|f| handle.set_onopen(f), move |_| opened(Input::ChannelOpen(channel))),
        listen(|f| handle.set_onclose(f), move |_| closed(Input::ChannelClosed(channel))),
        listen(
            |f| handle.set_onbufferedamountlow(f),
            move |_| drained(Input::Buffered(channel, of.buffered_amount() as usize)),
        ),
        listen(
            |f| handle.set_onmessage(f),
            move |event| match event
                .unchecked_into::<MessageEvent>()
                .data()
                .dyn_into::<js_sys::ArrayBuffer>()
            {
                Ok(buffer) => report(Input::Chunk(channel, &Uint8Array::new(&buffer).to_vec())),
                Err(_) => {
                    report(Input::Failed("it sent text where only bytes are allowed".to_owned()))
                }
            },
        ),
    ]
}

fn watch_path(peer: &Rc<Peer>, generation: u64, stack: &RtcPeerConnection) -> Listener {
    let (report, of) = (reporter(peer, generation), stack.clone());
    listen(
        |f| stack.set_onconnectionstatechange(f),
        move |_| match of.connection_state() {
            RtcPeerConnectionState::Connected => report(Input::Path(PathState::Connected)),
            RtcPeerConnectionState::Disconnected => report(Input::Path(PathState::Disconnected)),
            RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed => {
                report(Input::Path(PathState::Failed))
            }
            _ => {}
        },
    )
}

fn watch_candidates(peer: &Rc<Peer>, stack: &RtcPeerConnection) -> Listener {
    let peer = Rc::downgrade(peer);
    listen(
        |f| stack.set_onicecandidate(f),
        move |event| {
            let found = event.unchecked_into::<RtcPeerConnectionIceEvent>().candidate();
            let (Some(peer), Some(found)) = (peer.upgrade(), found) else { return };
            let candidate = found.candidate();
            // An empty one says that there are no more, which nobody here waits for.
            if candidate.is_empty() || candidate.len() > MAX_CANDIDATE_BYTES {
                return;
            }
            peer.tell_signal(Signal::Candidate {
                candidate,
                sdp_mid: found.sdp_mid(),
                sdp_m_line_index: found.sdp_m_line_index(),
            });
        },
    )
}

fn description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}

fn text(made: Result<JsValue, JsValue>) -> Result<String, String> {
    let made = made.map_err(|thrown| failed(&thrown))?;
    let sdp = made.unchecked_into::<RtcSessionDescriptionInit>().get_sdp().unwrap_or_default();
    if sdp.len() > MAX_SDP_BYTES {
        return Err(format!(
            "session description of {} bytes, at most {MAX_SDP_BYTES} allowed",
            sdp.len()
        ));
    }
    Ok(sdp)
}

fn done(result: Result<JsValue, JsValue>) -> Result<(), String> {
    result.map(drop).map_err(|thrown| failed(&thrown))
}

fn failed(thrown: &JsValue) -> String {
    format!("negotiation failed: {}", describe(thrown))
}
