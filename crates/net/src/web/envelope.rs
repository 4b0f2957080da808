//! What page and worker post to each other: `{meta, bytes}`.
//!
//! `meta` is the message without its frame, as plain JavaScript; `bytes` is the frame as a
//! `Uint8Array` whose memory is handed over, not copied. A frame inside `meta` would be an array of
//! numbers, ten times its size.

use js_sys::{Array, Object, Reflect, Uint8Array};
use potluck_protocol::id::NodeId;
use potluck_protocol::page;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_wasm_bindgen::Serializer;
use wasm_bindgen::{JsCast as _, JsValue};

use super::describe;
use crate::{Command, Event};

/// From the page.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// From its transport.
    Net(Event),
    /// From the person.
    Page(page::Command),
}

/// From the worker.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromWorker {
    /// To the page's transport.
    Net(Command),
    /// To the person.
    Page(page::Notice),
    /// The node took a frame of so many bytes.
    Read { peer: NodeId, bytes: u32 },
}

/// A message that may hold a frame.
pub(super) trait Envelope: Serialize + DeserializeOwned {
    /// Where the frame is.
    fn frame(&mut self) -> Option<&mut Vec<u8>>;
}

impl Envelope for ToWorker {
    fn frame(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Net(Event::ServerMessage { message }) => Some(message),
            Self::Net(Event::PeerFrame { frame, .. }) => Some(frame),
            _ => None,
        }
    }
}

impl Envelope for FromWorker {
    fn frame(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Net(Command::SendServer { message }) => Some(message),
            Self::Net(Command::SendPeer { frame, .. }) => Some(frame),
            _ => None,
        }
    }
}

/// The message as something to post, and what of it to hand over.
pub(super) fn seal(mut message: impl Envelope) -> Result<(JsValue, Array), String> {
    let envelope = Object::new();
    let handed_over = Array::new();
    if let Some(frame) = message.frame() {
        let bytes = Uint8Array::from(&core::mem::take(frame)[..]);
        handed_over.push(&bytes.buffer());
        put(&envelope, "bytes", &bytes);
    }
    // Big integers, because credit passes 2^53 one day and numbers do not.
    let serializer = Serializer::new().serialize_large_number_types_as_bigints(true);
    let meta = message.serialize(&serializer).map_err(|error| error.to_string())?;
    put(&envelope, "meta", &meta);
    Ok((envelope.into(), handed_over))
}

/// The message in what was posted.
pub(super) fn open<T: Envelope>(posted: &JsValue) -> Result<T, String> {
    let field = |name: &str| Reflect::get(posted, &name.into()).map_err(|thrown| describe(&thrown));
    let mut message: T =
        serde_wasm_bindgen::from_value(field("meta")?).map_err(|error| error.to_string())?;
    if let Some(frame) = message.frame() {
        *frame =
            field("bytes")?.dyn_into::<Uint8Array>().map_err(|_| "no bytes".to_owned())?.to_vec();
    }
    Ok(message)
}

fn put(object: &Object, name: &str, value: &JsValue) {
    // Setting a property of an object made here cannot fail.
    let _ = Reflect::set(object, &name.into(), value);
}
