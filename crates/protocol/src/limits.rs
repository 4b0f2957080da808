//! Every limit on what comes from outside, in bytes, entries or values.
//!
//! [`codec`](crate::codec) refuses what is over them. They bound memory and time, not behaviour:
//! whether a position is the next one or a session known is checked where that is known.

use core::time::Duration;

/// Bytes of a message between node and server: a session description is the largest thing in one.
pub const MAX_SERVER_MESSAGE_BYTES: usize = 64 * 1024;
/// Rows in one step. Bounds a stage's working memory and the time a step holds a GPU; longer
/// prompts are sent in several.
pub const MAX_ROWS: usize = 128;
/// Nodes that a requester excludes from a route: those that its answer broke off at lately.
pub const MAX_EXCLUDED: usize = 8;
/// Sessions that one requester may have at once, at the server and at each stage: more than a person
/// has answers in progress, and few enough that one key cannot keep a swarm to itself.
pub const MAX_SESSIONS_PER_REQUESTER: usize = 8;
/// How long stages and server keep a session that was ended to be gone on with: as long as a person
/// reads an answer and writes what comes next.
pub const KEPT_SESSION: Duration = Duration::from_secs(300);
/// Sessions that a stage keeps so for one requester, and that a requester counts on: a conversation
/// or two, or what several programs ask in turns.
pub const MAX_KEPT_PER_REQUESTER: usize = 4;
/// Rows that the sender of a session's steps may have outstanding at a stage when the session opens:
/// two full steps, so that one is computed while the next one travels.
/// [`PeerFrame::Window`](crate::peer::PeerFrame::Window) gives room for more.
pub const INITIAL_WINDOW_ROWS: u32 = 256;
const _: () = assert!(INITIAL_WINDOW_ROWS as usize == 2 * MAX_ROWS);
/// Values in a row of the residual stream: four times the width of the widest model in reach of a
/// swarm.
pub const MAX_D_MODEL: usize = 16_384;
/// Bytes of a frame between nodes: [`MAX_ROWS`] rows of [`MAX_D_MODEL`] values at five bytes (the
/// longest variable-length `i32`), and a header.
pub const MAX_PEER_FRAME_BYTES: usize = MAX_ROWS * MAX_D_MODEL * 5 + 1024;
/// Layers a model may have: twice the deepest in use.
pub const MAX_LAYERS: u32 = 256;
/// Positions a session may have: the longest context any numerics version is defined for.
pub const MAX_POSITIONS: u32 = 32_768;
/// Stages of a route, and ranges of missing layers: at most one for each layer.
pub const MAX_STAGES: usize = MAX_LAYERS as usize;
/// Bytes of a server's origin: a scheme, a host name of at most 253 bytes, and a port.
pub const MAX_ORIGIN_BYTES: usize = 272;
/// Bytes of a sentence meant for people.
pub const MAX_REASON_BYTES: usize = 512;
/// Bytes of a session description; ours are under 1 KiB.
pub const MAX_SDP_BYTES: usize = 16 * 1024;
/// Bytes of an ICE candidate line.
pub const MAX_CANDIDATE_BYTES: usize = 512;
/// Bytes of what member and newcomer tell each other at a door: an invitation with all it can have is
/// 210 letters, and a key exchange 33 bytes.
pub const MAX_DOOR_BYTES: usize = 512;
/// Bytes of a backend's name.
pub const MAX_BACKEND_BYTES: usize = 32;
/// Models a server announces.
pub const MAX_MODELS: usize = 64;
/// ICE servers a server announces.
pub const MAX_ICE_SERVERS: usize = 8;
