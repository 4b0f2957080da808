//! The WebSocket to the server.
//!
//! The page learns of a dead connection from the browser: when the socket closes, or when the machine
//! goes offline. Whether a silent server is still there is the node's to judge, by messages: a browser
//! answers pings by itself and shows none.

use std::cell::Cell;
use std::rc::Rc;

use gloo::timers::callback::Timeout;
use js_sys::{ArrayBuffer, Uint8Array};
use potluck_protocol::codec::MAX_SERVER_MESSAGE_BYTES;
use wasm_bindgen::JsCast as _;
use web_sys::{BinaryType, CloseEvent, EventTarget, MessageEvent, WebSocket};

use super::connection::{Listener, listen};
use super::describe;
use crate::Event;
use crate::events::{ConnectionId, EventSender};

/// Milliseconds the server may take to answer the dial.
const DIAL_MS: u32 = 10_000;
/// Bytes that may wait for the server. A node says a few hundred a second; a server this far behind
/// is not there.
const MAX_BUFFERED_BYTES: u32 = 4 * 1024 * 1024;

/// The link. Dropping it hangs up, without an event.
pub(super) struct ServerSocket {
    socket: Option<WebSocket>,
    report: Report,
    _listeners: Vec<Listener>,
    _dial: Option<Timeout>,
    offline: Option<Listener>,
}

/// Reports what happens, and the end only once.
#[derive(Clone)]
struct Report {
    events: EventSender,
    open: Rc<Cell<bool>>,
    over: Rc<Cell<bool>>,
}

impl Report {
    fn send(&self, event: Event) {
        if !self.over.get() {
            self.events.send(event);
        }
    }

    fn end(&self, reason: &str) {
        self.send(Event::ServerClosed { reason: reason.to_owned() });
        self.over.set(true);
    }
}

impl ServerSocket {
    /// Dials.
    pub(super) fn open(url: &str, events: EventSender) -> Self {
        let report = Report { events, open: Rc::default(), over: Rc::default() };
        let socket = match WebSocket::new(url) {
            Ok(socket) => socket,
            Err(thrown) => {
                report.end(&format!("could not reach the server: {}", describe(&thrown)));
                return Self {
                    socket: None,
                    report,
                    _listeners: Vec::new(),
                    _dial: None,
                    offline: None,
                };
            }
        };
        socket.set_binary_type(BinaryType::Arraybuffer);
        let listeners = watch(&socket, &report);
        let (dialling, late) = (report.clone(), socket.clone());
        let dial = Timeout::new(DIAL_MS, move || {
            if !dialling.open.get() {
                dialling.end(&format!("the server did not answer within {} s", DIAL_MS / 1000));
                // Already closing is as good.
                let _ = late.close();
            }
        });
        let offline = watch_offline(&report);
        Self { socket: Some(socket), report, _listeners: listeners, _dial: Some(dial), offline }
    }

    /// Which of the transport's connections this is.
    pub(super) fn connection(&self) -> ConnectionId {
        self.report.events.connection()
    }

    /// Sends a message; dropped if the connection is not open.
    pub(super) fn send(&self, message: &[u8]) {
        let Some(socket) = self.socket.as_ref().filter(|_| self.report.open.get()) else { return };
        if socket.buffered_amount() > MAX_BUFFERED_BYTES {
            self.report.end(&format!(
                "the server does not take messages; {} bytes were waiting",
                socket.buffered_amount()
            ));
        } else if let Err(thrown) = socket.send_with_u8_array(message) {
            self.report.end(&format!("the connection to the server broke: {}", describe(&thrown)));
        }
    }
}

impl Drop for ServerSocket {
    fn drop(&mut self) {
        self.report.over.set(true);
        if let Some(socket) = &self.socket {
            socket.set_onopen(None);
            socket.set_onmessage(None);
            socket.set_onclose(None);
            // Already closing is as good.
            let _ = socket.close();
        }
        if let (Some(offline), Ok(window)) =
            (&self.offline, js_sys::global().dyn_into::<EventTarget>())
        {
            let _ = window
                .remove_event_listener_with_callback("offline", offline.as_ref().unchecked_ref());
        }
    }
}

fn watch(socket: &WebSocket, report: &Report) -> Vec<Listener> {
    let (opened, closed, received) = (report.clone(), report.clone(), report.clone());
    vec![
        listen(
            |f| socket.set_onopen(f),
            move |_| {
                opened.open.set(true);
                opened.send(Event::ServerOpen);
            },
        ),
        listen(
            |f| socket.set_onmessage(f),
            move |event| {
                // Text is not ours.
                let data = event.unchecked_into::<MessageEvent>().data();
                let Ok(buffer) = data.dyn_into::<ArrayBuffer>() else { return };
                if buffer.byte_length() as usize > MAX_SERVER_MESSAGE_BYTES {
                    received.end(&format!(
                        "the server sent {} bytes at once, at most {MAX_SERVER_MESSAGE_BYTES} allowed",
                        buffer.byte_length()
                    ));
                } else {
                    received
                        .send(Event::ServerMessage { message: Uint8Array::new(&buffer).to_vec() });
                }
            },
        ),
        listen(
            |f| socket.set_onclose(f),
            move |event| {
                let event = event.unchecked_into::<CloseEvent>();
                closed.end(&match (event.code(), closed.open.get()) {
                    (1006, false) => "could not reach the server".to_owned(),
                    (1006, true) => "the connection to the server broke".to_owned(),
                    (code, _) => format!("the server hung up: {code} {}", event.reason()),
                });
            },
        ),
    ]
}

/// A machine that goes offline has no server, though its sockets may not notice for minutes.
fn watch_offline(report: &Report) -> Option<Listener> {
    let window: EventTarget = js_sys::global().dyn_into().ok()?;
    let report = report.clone();
    Some(listen(
        |f| {
            if let Some(f) = f {
                // A page that cannot listen for it learns of it later.
                let _ = window.add_event_listener_with_callback("offline", f);
            }
        },
        move |_| report.end("this machine is offline"),
    ))
}
