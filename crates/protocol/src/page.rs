//! Messages between the page and the node in its worker. The native command line uses the same
//! ones.

mod key;

use serde::{Deserialize, Serialize};

use crate::chat::Conversation;
use crate::door::{DoorCommand, DoorNotice};
use crate::grant::{Limits, SignedGrant, Terms};
use crate::id::{LayerRange, NodeId, RequestId};
use crate::invitation::Invitation;
use crate::sampling::Sampling;

pub use key::{KeyNotice, KeyTask, SecretText};

/// What a person has the node do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Connect to a server. Nothing is lent by this.
    Connect {
        /// `http://` or `https://` address of the server, without a path.
        server: String,
        /// The room to be in; none is the public swarm.
        room: Option<Invitation>,
    },
    /// The person said yes: offer this machine. The node makes and signs the grant, as it alone has
    /// the key.
    Lend {
        /// What may compute.
        backend: BackendPreference,
        /// What the person said yes to.
        terms: Terms,
    },
    /// Stop computing for others, at once. The grant is taken back.
    StopLending,
    /// Ask the swarm.
    Ask(Ask),
    /// Give up on a question.
    Cancel {
        /// As in [`Ask`].
        request: RequestId,
    },
    /// Offer this machine under the grant of an earlier time, which holds still.
    LendAgain {
        /// What may compute.
        backend: BackendPreference,
        /// This node's own.
        grant: Box<SignedGrant>,
    },
    /// The person wants other limits: a new grant takes the old one's place, and ends when that one
    /// would have.
    SetLimits(Limits),
    /// Rest until the person says otherwise; the machine stays lent.
    Pause,
    /// Go on after [`Command::Pause`].
    Resume,
    /// Go on for another [`Limits::minutes`].
    Extend,
    /// What is seen of the machine now.
    Conditions(Conditions),
    /// Let somebody into a room, or be let in.
    Door(DoorCommand),
    /// Something about the key, which is where the node is and nowhere else.
    Key(KeyTask),
}

/// What the page, or the program, sees of the machine that is lent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// The page is not to be seen.
    pub hidden: bool,
    /// It runs on its battery; `None` where that cannot be known.
    pub on_battery: Option<bool>,
    /// The person asked their browser to save data.
    pub save_data: bool,
    /// The connection is paid by the amount; `None` where that cannot be known.
    pub metered: Option<bool>,
    /// How much it has to do.
    pub pressure: Pressure,
    /// The page could not be drawn in time lately.
    pub dropping_frames: bool,
    /// It is a phone.
    pub phone: bool,
}

/// How much a machine has to do, in the words of the Compute Pressure API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Pressure {
    /// Little, or nobody knows.
    #[default]
    Nominal,
    /// Some; it copes.
    Fair,
    /// Much; it gets hot, or slow.
    Serious,
    /// Too much.
    Critical,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// What this connection of the requester calls it; commands and notices name it by this.
    pub request: RequestId,
    /// The model's name; `None` is the swarm's first.
    pub model: Option<String>,
    /// What was said so far; the answer is what comes next.
    pub conversation: Conversation,
    /// What the person's clock shows: seconds from 1970-01-01 00:00 as it reads there. Some models want
    /// to know the day.
    pub asked_at_s: i64,
    /// `None`: the model's own defaults with this seed.
    pub sampling: SamplingChoice,
    /// Tokens to sample at most; `None` is the model's default.
    pub max_tokens: Option<u32>,
    /// Texts at which the answer ends, at most [`MAX_STOPS`](crate::chat::MAX_STOPS): none of them is in it.
    pub stops: Vec<String>,
    /// Tokens of the same answer that were sampled before, by a page that was reloaded since, or up to
    /// a limit: it goes on behind them.
    pub sampled: Vec<u32>,
    /// What the asker's own machine computes of the answer; `None` leaves all of it to the swarm.
    pub own: Option<Own>,
    /// More will be said: its stages keep what they computed for a while, so that an answer to a
    /// conversation that begins with this one need not compute it again.
    pub keeps: bool,
    /// Nobody is asked: how many tokens it would be is all that is wanted.
    pub counts_only: bool,
}

/// What of its answer the asker's own machine computes, as its person chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Own {
    /// Which layers.
    pub part: OwnPart,
    /// What may compute them.
    pub backend: BackendPreference,
    /// Memory that their weights may take, bytes.
    pub memory_bytes: u64,
}

/// Layers that an asker computes on its own machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnPart {
    /// The embedding and so many layers at the beginning, so many at the end and the head: nobody
    /// else gets words or draws tokens.
    Ends {
        /// Layers at each end, at least 1.
        layers: u32,
    },
    /// All of them: nothing of the question leaves the machine.
    All,
}

/// Sampling as a person chooses it: what is left out comes from the model's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplingChoice {
    /// Temperature in thousandths; 0 is greedy.
    pub temperature_milli: Option<u32>,
    /// As in [`Sampling`].
    pub top_k: Option<u32>,
    /// As in [`Sampling`].
    pub top_p_milli: Option<u32>,
    /// As in [`Sampling`].
    pub repetition_penalty_milli: Option<u32>,
    /// Seed; below 2^53, so that a JavaScript number holds it.
    pub seed: u64,
}

impl SamplingChoice {
    /// What a person chose, and for the rest a model's defaults.
    #[must_use]
    pub fn or(self, defaults: Sampling) -> Sampling {
        Sampling {
            temperature_milli: self.temperature_milli.unwrap_or(defaults.temperature_milli),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p_milli: self.top_p_milli.unwrap_or(defaults.top_p_milli),
            repetition_penalty_milli: self
                .repetition_penalty_milli
                .unwrap_or(defaults.repetition_penalty_milli),
            seed: self.seed,
        }
    }
}

/// What may compute on this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendPreference {
    /// A real GPU if there is one, else the CPU.
    #[default]
    Auto,
    /// CPU SIMD.
    Cpu,
    /// Any GPU adapter, software ones too.
    Gpu,
}

/// What the node reports to the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// The worker runs; what was posted to it before this was lost.
    Ready,
    /// Who this node is.
    Identity {
        /// Its public key.
        node: NodeId,
    },
    /// The link to the server.
    Link(Link),
    /// The models of the server, once it has welcomed the node: [`ModelSummary`]s as JSON, so that a page,
    /// which asks the server itself, need not bring what reads them.
    ///
    /// [`ModelSummary`]: crate::server::ModelSummary
    Models(String),
    /// What lending looks like now.
    Lending(Lending),
    /// Something happened to a question.
    Answer {
        /// As in [`Ask`].
        request: RequestId,
        /// What happened to it.
        event: AnswerEvent,
    },
    /// What this machine is lent under now; `None`: it is not lent.
    Grant(Option<Box<Granted>>),
    /// Something happened at a door.
    Door(DoorNotice),
    /// Something came of a [`Command::Key`].
    Key(KeyNotice),
}

/// What a machine is lent under.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// As the node signed it.
    pub signed: SignedGrant,
    /// The same as a record to keep: [`consent_record`](crate::consent::consent_record) as JSON. The
    /// node writes it, so that a page need not bring what writes JSON.
    pub record: String,
}

impl Granted {
    /// With its record.
    #[must_use]
    pub fn new(signed: SignedGrant) -> Self {
        let record = format!("{:#}", crate::consent::consent_record(&signed));
        Self { signed, record }
    }

    /// What the record is called as a file.
    #[must_use]
    pub fn file_name(&self) -> String {
        let id = self.signed.grant.id.to_string();
        format!("potluck-consent-{}.json", id.get(..8).unwrap_or(&id))
    }
}

/// The link to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// The connection is being opened, or the node proves its key.
    Connecting,
    /// The server accepted the node.
    Open,
    /// The connection is lost; the node tries again by itself.
    Lost {
        /// What happened.
        reason: String,
        /// When it tries again, milliseconds from now.
        retry_ms: u32,
    },
    /// The server does not want this node; trying again is of no use.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What a lending node does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lending {
    /// Where it stands.
    pub phase: LendingPhase,
    /// `webgpu`, `simd128`, `avx2`, …
    pub backend: String,
    /// The adapter's or processor's name.
    pub adapter: String,
    /// Something the person should know, such as "no WebGPU here".
    pub note: Option<String>,
    /// The model's name.
    pub model: Option<String>,
    /// Layers held or being fetched.
    pub layers: Option<LayerRange>,
    /// How many layers the model has.
    pub model_layers: u32,
    /// Bytes of weights here and verified.
    pub loaded_bytes: u64,
    /// Bytes of weights in all for these layers.
    pub total_bytes: u64,
    /// Rows computed since the start.
    pub tokens: u64,
    /// Rows a second over the last few seconds of work, in thousandths.
    pub milli_tokens_per_second: u64,
    /// Median time for a row, microseconds.
    pub us_per_token_p50: u32,
    /// Credit on the server, multiply-accumulates.
    pub credit_macs: u64,
    /// Receipts credited since the start.
    pub receipts: u32,
    /// Sessions being served now.
    pub sessions: u32,
    /// Energy used for lending since the start, milliwatt-hours: estimated.
    pub milliwatt_hours: u64,
    /// Bytes received for lending since the start.
    pub received_bytes: u64,
    /// Bytes sent for lending since the start.
    pub sent_bytes: u64,
    /// Share of the time that the engine may compute now, percent.
    pub share_percent: u8,
}

/// Where a lending node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LendingPhase {
    /// Not lending.
    #[default]
    Idle,
    /// Looking at what this machine can compute with.
    Starting,
    /// Offered; the server has not assigned layers yet.
    Waiting,
    /// Fetching weights.
    Fetching,
    /// Serving.
    Serving,
    /// Cannot go on.
    Failed {
        /// What happened and what to do.
        reason: String,
    },
    /// Something did not work and is tried again after a wait: the machine is still lent.
    Retrying {
        /// What happened.
        reason: String,
        /// How long the wait is, milliseconds.
        retry_ms: u32,
    },
    /// Lent, and resting: nothing is computed or fetched until the reason has passed.
    Paused {
        /// Why.
        why: PauseReason,
    },
}

/// Why a lent machine rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PauseReason {
    /// The person asked for it.
    Asked,
    /// The page is hidden.
    Hidden,
    /// It runs on its battery.
    Battery,
    /// The browser saves data.
    SaveData,
    /// The connection is paid by the amount.
    Metered,
    /// The machine has enough to do.
    Pressure,
    /// The page could not be drawn in time.
    Frames,
    /// The minutes that were agreed on are over.
    TimeIsUp,
    /// It is a phone.
    Phone,
    /// What may be fetched and sent in a day has been.
    DataBudget,
}

impl PauseReason {
    /// Why, as the end of "nothing is computed while …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Asked => "you take a break",
            Self::Hidden => "this page is hidden",
            Self::Battery => "this machine runs on its battery",
            Self::SaveData => "your browser saves data",
            Self::Metered => "your connection is paid by the amount",
            Self::Pressure => "this machine has enough to do",
            Self::Frames => "the page cannot be drawn smoothly beside it",
            Self::TimeIsUp => "the time that you gave is over",
            Self::Phone => "this is a phone, and you have not chosen to lend one",
            Self::DataBudget => "the data that you gave for today is used up",
        }
    }
}

/// Something happened to a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerEvent {
    /// No route yet: nobody holds these layers.
    Waiting {
        /// The model's name.
        model: String,
        /// The layers.
        missing: Vec<LayerRange>,
    },
    /// These nodes compute the answer.
    Route {
        /// Name of the session, for the tally.
        session: String,
        /// In order.
        stages: Vec<StageView>,
        /// Sampling parameters in force.
        sampling: Sampling,
        /// Tokens of the prompt, chat format included.
        prompt_tokens: u32,
        /// Of these, how many need not be computed, because an earlier answer's session goes on.
        kept_tokens: u32,
    },
    /// Somebody who computed the answer is gone. Nothing is lost: others are asked to go on from
    /// here.
    Resuming {
        /// What happened.
        reason: String,
    },
    /// A token was sampled; `text` may be empty while a character is incomplete.
    Token {
        /// The token.
        token: u32,
        /// The text it completes.
        text: String,
    },
    /// The answer is whole.
    Done {
        /// Why it ended.
        end: AnswerEnd,
        /// Milliseconds from the route to the first token.
        first_token_ms: u32,
        /// Milliseconds from the first token to the last.
        decode_ms: u32,
        /// Tokens sampled.
        tokens: u32,
    },
    /// There will be no (more) answer.
    Failed {
        /// What kind of failure it is, for programs.
        kind: Failure,
        /// What happened, whether anything was lost, what to do.
        reason: String,
    },
    /// So many tokens is what was asked with [`Ask::counts_only`].
    Counted {
        /// With what the model's template adds.
        tokens: u32,
    },
    /// The asker's own machine gets ready for its part. Comes before anything is fetched for it, and
    /// again as that arrives.
    Own {
        /// The layers that it computes.
        layers: Vec<LayerRange>,
        /// Size of their weights, bytes: so much is downloaded at most, as copies that are here
        /// already are not.
        bytes: u64,
        /// Of these, what is in the engine.
        loaded_bytes: u64,
    },
}

/// Why there is no answer, as far as it matters to a program what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The question is wrong, and would be at any time.
    Question,
    /// It has more tokens than the model takes.
    Length,
    /// The swarm does not have the model.
    Model,
    /// There are too many questions; later there may be fewer.
    Busy,
    /// Nobody computes it, or what was being computed broke off; later it may work.
    Swarm,
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AnswerEnd {
    /// The model ended it.
    Stop,
    /// The token limit, or the context's end.
    Length,
    /// One of the texts of [`Ask::stops`] came; which.
    Text(u32),
    /// The person cancelled.
    Cancelled,
}

/// A stage of a route, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageView {
    /// The node.
    pub node: NodeId,
    /// Its layers.
    pub layers: LayerRange,
}

impl AnswerEvent {
    /// "layers 2 to 3 of potluck-tiny have no volunteer yet".
    #[must_use]
    pub fn waiting_text(model: &str, missing: &[LayerRange]) -> String {
        let plural = missing.len() > 1 || missing.first().is_some_and(|range| range.len() > 1);
        let ranges: Vec<String> = missing.iter().map(ToString::to_string).collect();
        format!(
            "{} of {model} {} no volunteer yet",
            ranges.join(" and "),
            if plural { "have" } else { "has" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_reads_as_a_sentence() {
        let pair = [LayerRange { first: 2, end: 4 }];
        assert_eq!(
            AnswerEvent::waiting_text("potluck-tiny", &pair),
            "layers 2 to 3 of potluck-tiny have no volunteer yet"
        );
        let one = [LayerRange { first: 5, end: 6 }];
        assert_eq!(
            AnswerEvent::waiting_text("potluck-tiny", &one),
            "layer 5 of potluck-tiny has no volunteer yet"
        );
    }
}
