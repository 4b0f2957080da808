//! What goes into the node and what comes out: inputs, actions, and the types of one step.
//!
//! A step has three types on its way: the [`StepRequest`] that a frame becomes, the engine's own
//! `Step` that borrows from it, and the [`StepResult`] that comes back with the engine's output.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use potluck_engine::engine::Output;
use potluck_model::package::{BlobRef, BlobRole, Manifest};
use potluck_model::tokenizer::Tokenizer;
use potluck_net as net;
use potluck_protocol::id::{LayerRange, ModelId, SessionId};
use potluck_protocol::page::{BackendPreference, Command, Notice};
use potluck_protocol::sampling::Sampling;

use crate::failure::{FetchFailure, LoadFailure, StepFailure};

/// When something happens, by both clocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Since the node started. It stands still while the machine sleeps, so that its own pauses count
    /// as nobody's silence.
    pub since_start: Duration,
    /// Since 1970, by the calendar. It goes on whatever the machine does: a person's yes ends on the
    /// day that they were told. Somebody may set it.
    pub calendar: Duration,
}

/// One thing that happened.
#[derive(Debug)]
pub enum Input {
    /// The person wants something.
    Command(Command),
    /// The transport reports an event.
    Transport(net::Event),
    /// The machine finished an action.
    Machine(MachineEvent),
    /// The machine for this node's own questions finished one ([`Action::Own`]).
    Own(MachineEvent),
    /// Time passed. Comes at least every [`TICK`], but where this machine is asleep.
    Tick,
    /// This machine was asleep (a closed lid, a process that was stopped), for longer than any of
    /// the waits here can tell from a peer's silence. The time that it slept is not part of `now`.
    Woke,
}

/// How often [`Input::Tick`] comes: fine enough for the shortest time-out here, coarse enough to
/// cost nothing.
pub const TICK: Duration = Duration::from_millis(250);

/// What the machine (engine, weight store) has finished.
#[derive(Debug)]
pub enum MachineEvent {
    /// The engine runs.
    EngineReady(EngineDescription),
    /// Another engine runs in its place, with the same parts and sessions: its GPU was lost, or is
    /// too small for the model.
    EngineReplaced(EngineDescription),
    /// No engine could be started, or none can go on: nothing computes here.
    EngineFailed {
        /// What happened and what to do, for people.
        reason: String,
    },
    /// A manifest was fetched and verified, or could not be.
    Manifest {
        /// The model it describes.
        model: ModelId,
        /// The manifest, or why there is none.
        result: Result<Arc<Manifest>, FetchFailure>,
    },
    /// A tokenizer was fetched, verified and read, or could not be.
    Tokenizer {
        /// The model it belongs to.
        model: ModelId,
        /// The tokenizer, or why there is none.
        result: Result<Arc<Tokenizer>, FetchFailure>,
    },
    /// Bytes of a blob arrived.
    Progress {
        /// The part that the blob holds.
        role: BlobRole,
        /// Bytes so far.
        bytes: u64,
    },
    /// So many bytes of blobs came over the network since this was last said, whatever became of
    /// them. Copies that were here already are none of them.
    Fetched {
        /// How many.
        bytes: u64,
    },
    /// What an earlier node on this machine kept by [`Action::KeepBudget`].
    KeptBudget {
        /// The line.
        line: String,
    },
    /// A blob is verified and in the engine, or could not be had.
    Loaded {
        /// The model it is a part of.
        model: ModelId,
        /// The part that the blob holds.
        role: BlobRole,
        /// Nothing, or why it is not in the engine.
        result: Result<(), LoadFailure>,
    },
    /// A step is computed, or failed.
    Computed(StepResult),
}

/// The engine in use.
#[derive(Debug, Clone)]
pub struct EngineDescription {
    /// `webgpu`, `simd128`, …
    pub backend: String,
    /// The adapter's or processor's name.
    pub adapter: String,
    /// Something the person should know.
    pub note: Option<String>,
    /// Multiply-accumulates a millisecond, measured on forward steps.
    pub macs_per_ms: u64,
    /// What it is in this machine.
    pub device: Device,
}

/// The part of a machine that computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Its processor, or a part of it.
    Processor {
        /// Threads that compute.
        threads: u32,
        /// Threads that the processor has.
        cores: u32,
    },
    /// Its graphics processor.
    Graphics,
}

/// A step to be computed; its shape has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRequest {
    /// The session it continues.
    pub session: SessionId,
    /// Position of its first row.
    pub position: u32,
    /// Rows, 1 to [`MAX_ROWS`](potluck_protocol::codec::MAX_ROWS).
    pub rows: u32,
    /// What the rows are.
    pub input: StepInput,
    /// If set, the node with the head samples the next token with this; the others pass it on.
    pub sampling: Option<Sampling>,
    /// The tokens of the text so far, at the node with the head, if the sampling minds repetition.
    pub seen: Option<Arc<BTreeSet<u32>>>,
}

/// What a step starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepInput {
    /// Token ids, one a row.
    Tokens(Vec<u32>),
    /// `[rows, d_model]` residual rows.
    Hidden(Vec<i32>),
}

/// A computed step.
#[derive(Debug)]
pub struct StepResult {
    /// The session it continued.
    pub session: SessionId,
    /// Position of its first row.
    pub position: u32,
    /// Rows, as in the request.
    pub rows: u32,
    /// As in the request.
    pub sampling: Option<Sampling>,
    /// What the engine made of it.
    pub output: Result<Output, StepFailure>,
    /// How long it took: its share, by rows, of the batch it was computed in.
    pub elapsed: Duration,
}

/// One thing to do.
#[derive(Debug)]
pub enum Action {
    /// For the transport.
    Transport(net::Command),
    /// For the person.
    Notice(Notice),
    /// Find out what computes here, and measure it.
    StartEngine {
        /// What may compute.
        backend: BackendPreference,
    },
    /// Drop the engine with all it holds, whatever it is doing, and stop fetching parts for it. No
    /// event of any of it follows.
    StopEngine,
    /// Fetch and verify a manifest.
    FetchManifest {
        /// The model it describes.
        model: ModelId,
    },
    /// Fetch, verify and read a model's tokenizer.
    FetchTokenizer {
        /// The model it belongs to.
        model: ModelId,
        /// Its hash and size.
        blob: BlobRef,
    },
    /// Fetch and verify a blob, and put it into the engine.
    FetchBlob {
        /// The model it is a part of.
        model: ModelId,
        /// The model's manifest.
        manifest: Arc<Manifest>,
        /// The part that the blob holds.
        role: BlobRole,
        /// Its hash and size.
        blob: BlobRef,
        /// False if only a copy that is here already will do.
        may_download: bool,
    },
    /// Keep this line of the day's bytes where copies of weights are kept; losing it harms nobody.
    KeepBudget {
        /// The line.
        line: String,
    },
    /// The engine computes so much of the time from now on, and rests in the rest of it.
    SetShare {
        /// Of the time, 1 to 100.
        percent: u8,
    },
    /// Stop fetching a manifest; no event of it follows.
    CancelManifest {
        /// The model it describes.
        model: ModelId,
    },
    /// Stop fetching a blob. If it is on its way into the engine already, that is still reported.
    CancelBlob {
        /// The model it is a part of.
        model: ModelId,
        /// The part that the blob holds.
        role: BlobRole,
    },
    /// Drop a part from the engine.
    Unload {
        /// Which part.
        role: BlobRole,
    },
    /// Make room for a session.
    OpenSession {
        /// Its name.
        session: SessionId,
        /// Layers computed in it here.
        layers: LayerRange,
        /// A session that was kept, over the same layers: this one has its keys and values, up to
        /// where its own first step begins. If it is not there any more, that step fails.
        continues: Option<SessionId>,
    },
    /// Nobody computes in a session now, but it may be gone on with. The first to go where there is
    /// no room.
    KeepSession {
        /// Its name.
        session: SessionId,
    },
    /// Forget a session.
    CloseSession {
        /// Its name.
        session: SessionId,
    },
    /// Compute a step.
    Compute(StepRequest),
    /// One for the machine that computes this node's own questions: another engine than the one that
    /// is lent. Never one for the transport or the person.
    Own(Box<Self>),
}
