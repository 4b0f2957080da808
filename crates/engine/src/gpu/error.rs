//! What can go wrong on the way to a GPU and on it. Nothing here is recovered from: another engine
//! may take over, on another GPU or on the processor.

/// Why a GPU could not be opened, filled or asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GpuError {
    /// No driver or browser offers an adapter at all.
    #[error("no graphics adapter: {reason}")]
    NoAdapter {
        /// Why, in words for people.
        reason: String,
    },
    /// The only adapter is a program on the CPU and the caller did not want one.
    #[error("the only adapter is software ({adapter})")]
    OnlySoftware {
        /// The adapter's name.
        adapter: String,
    },
    /// The adapter exists but gives no device.
    #[error("adapter {adapter} gives no device: {reason}")]
    NoDevice {
        /// The adapter's name.
        adapter: String,
        /// The driver's or browser's words.
        reason: String,
    },
    /// The adapter is too small for the kernels or for this model.
    #[error("{what} needs {needed}, the adapter allows {allowed}")]
    Limit {
        /// What is too big.
        what: &'static str,
        /// How much it needs, in bytes or counted.
        needed: u64,
        /// How much the adapter or the kernels allow.
        allowed: u64,
    },
    /// It computes something wrongly that a model needs.
    #[error(
        "{adapter} computes wrongly what this model needs (its driver fails the known-answer test)"
    )]
    Wrong {
        /// The adapter's name.
        adapter: String,
    },
    /// The device had no memory left.
    #[error("the device ran out of memory: {what}")]
    OutOfMemory {
        /// What was being allocated.
        what: String,
    },
    /// The driver reset the device, or the browser took it away. Everything on it is gone.
    #[error("the device was lost: {reason}")]
    DeviceLost {
        /// The driver's or browser's words.
        reason: String,
    },
    /// The graphics library refused an operation: a bug here or in the driver.
    #[error("the device refused an operation: {reason}")]
    Refused {
        /// The graphics library's words.
        reason: String,
    },
    /// The results could not be read back.
    #[error("reading results back failed: {reason}")]
    ReadBack {
        /// The graphics library's words.
        reason: String,
    },
    /// No model was set.
    #[error("no model was set")]
    NoModel,
    /// The model has no such layer.
    #[error("layer {index} of a model with {layers} layers")]
    NoSuchLayer {
        /// The layer asked for.
        index: u32,
        /// How many the model has.
        layers: u32,
    },
    /// A layer that a session needs is not loaded.
    #[error("layer {index} is not loaded")]
    LayerMissing {
        /// The layer.
        index: u32,
    },
    /// The head is not loaded.
    #[error("the head is not loaded")]
    HeadMissing,
    /// No session has this id.
    #[error("no session {id:032x}")]
    UnknownSession {
        /// The id asked for.
        id: u128,
    },
    /// Rows of one call belong to one session twice, or to sessions over different layers.
    #[error("session {id:032x} is in the call twice, or over other layers than those before it")]
    Apart {
        /// The session that does not belong there.
        id: u128,
    },
    /// A session with this id is open already.
    #[error("session {id:032x} is open already")]
    SessionExists {
        /// The id asked for.
        id: u128,
    },
    /// As many sessions are open as may be.
    #[error("{limit} sessions are open, which is the limit")]
    TooManySessions {
        /// The limit.
        limit: usize,
    },
    /// Input rows past what the session holds, or past the model's context.
    #[error(
        "position {position} with {rows} rows, in a session of {held} rows and a context of {max_positions}"
    )]
    Position {
        /// Where the first row was to go.
        position: u32,
        /// How many rows came.
        rows: usize,
        /// Rows that the session holds.
        held: u32,
        /// The model's context.
        max_positions: u32,
    },
    /// Input of a wrong size.
    #[error("{what}: expected {expected} values, got {got}")]
    Shape {
        /// Which input.
        what: &'static str,
        /// The size that fits (or the most that does).
        expected: usize,
        /// The size that came.
        got: usize,
    },
}
