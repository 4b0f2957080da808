//! Asking the swarm: one question at a time, each on its own; the model does not see earlier ones.

use potluck_protocol::chat::Conversation;
use potluck_protocol::id::{LayerRange, RequestId};
use potluck_protocol::page::{
    AnswerEnd, AnswerEvent, Ask, Command, Own, OwnPart, SamplingChoice, StageView,
};
use potluck_protocol::sampling::{MAX_TEMPERATURE_MILLI, MIN_TEMPERATURE_MILLI, Sampling};
use serde::{Deserialize, Serialize};

use super::options::SEED_LIMIT;
use super::{Effect, State};
use crate::say;

/// Questions kept to be read again. The oldest goes first; nothing of them is stored anywhere else,
/// but for the one whose answer is not whole yet.
pub const MAX_EXCHANGES: usize = 20;

/// What is typed and what was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// The question being typed.
    pub prompt: String,
    /// The seed as typed; empty for a random one.
    pub seed: String,
    /// The temperature as typed; empty for the model's own.
    pub temperature: String,
    /// What of an answer this computer computes itself.
    pub part: Option<OwnPart>,
    /// Why the question cannot be asked as typed.
    pub input_problem: Option<String>,
    /// Questions asked, oldest first, at most [`MAX_EXCHANGES`].
    pub exchanges: Vec<Exchange>,
    next_ask: u32,
}

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What the page and its node call it.
    pub request: RequestId,
    /// What the person wrote.
    pub prompt: String,
    /// The seed of the sampling: whoever asks the same with it gets the same answer.
    pub seed: u64,
    /// What the model wrote so far.
    pub text: String,
    /// How many tokens the answer has so far.
    pub tokens: u32,
    /// The ids of these tokens: with them the answer can go on after a reload.
    pub sampled: Vec<u32>,
    /// The temperature as chosen, thousandths.
    pub temperature_milli: Option<u32>,
    /// What of it this computer computes itself, as chosen.
    pub part: Option<OwnPart>,
    /// What the person's clock showed, as in [`Ask`].
    pub asked_at_s: i64,
    /// Who computes it, in order; empty before a route is found.
    pub stages: Vec<StageView>,
    /// The sampling in force, once the route is known.
    pub sampling: Option<Sampling>,
    /// Where it stands.
    pub phase: Phase,
}

/// An answer that is not whole yet, as a tab keeps it for as long as that lasts: enough to go on
/// with it after a reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// What the person wrote.
    pub prompt: String,
    /// The seed of the sampling.
    pub seed: u64,
    /// The temperature that was chosen, thousandths.
    pub temperature_milli: Option<u32>,
    /// What the person's clock showed, as in [`Ask`].
    #[serde(default)]
    pub asked_at_s: i64,
    /// What the model wrote so far.
    pub text: String,
    /// The ids of the tokens of this text.
    pub sampled: Vec<u32>,
    /// What of it this computer computes itself: a reload gives nothing away.
    #[serde(default)]
    pub part: Option<OwnPart>,
}

/// Where a question stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The page was reloaded in the middle of it.
    Kept,
    /// Sent; nothing heard yet.
    Sent,
    /// This computer gets ready for its part of it.
    Fetching {
        /// Size of the weights for that, bytes.
        bytes: u64,
        /// Of these, what is ready.
        loaded_bytes: u64,
    },
    /// No route yet.
    Waiting {
        /// The model's name.
        model: String,
        /// Layers that nobody holds.
        missing: Vec<LayerRange>,
    },
    /// It broke off; others are asked to go on.
    Resuming {
        /// What happened.
        reason: String,
    },
    /// Being computed.
    Computing,
    /// Over.
    Done {
        /// Why it ended.
        end: AnswerEnd,
        /// Milliseconds from the route to the first token.
        first_token_ms: u32,
        /// Milliseconds from the first token to the last.
        decode_ms: u32,
    },
    /// There will be no (more) answer.
    Failed {
        /// What happened, whether anything was lost, what to do.
        reason: String,
    },
}

impl Exchange {
    /// True while an answer may still come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Done { .. } | Phase::Failed { .. } | Phase::Kept)
    }

    fn new(request: RequestId, kept: Kept, phase: Phase) -> Self {
        let Kept { prompt, seed, temperature_milli, asked_at_s, text, sampled, part } = kept;
        let tokens = u32::try_from(sampled.len()).unwrap_or(u32::MAX);
        Self {
            request,
            prompt,
            seed,
            temperature_milli,
            asked_at_s,
            text,
            tokens,
            sampled,
            part,
            stages: Vec::new(),
            sampling: None,
            phase,
        }
    }

    /// What the tab should keep of it now.
    fn to_keep(&self) -> Option<Kept> {
        (self.is_open() && !self.sampled.is_empty()).then(|| Kept {
            prompt: self.prompt.clone(),
            seed: self.seed,
            temperature_milli: self.temperature_milli,
            asked_at_s: self.asked_at_s,
            text: self.text.clone(),
            sampled: self.sampled.clone(),
            part: self.part,
        })
    }
}

impl Asking {
    /// Nothing asked yet but for what a reload broke off, with a seed typed in if there is one.
    #[must_use]
    pub fn new(seed: Option<u64>, kept: Option<Kept>) -> Self {
        let exchanges: Vec<Exchange> =
            kept.map(|kept| Exchange::new(RequestId(0), kept, Phase::Kept)).into_iter().collect();
        let seed = seed.map(|seed| seed.to_string()).unwrap_or_default();
        Self { seed, next_ask: u32::from(!exchanges.is_empty()), exchanges, ..Self::default() }
    }

    /// The latest question.
    #[must_use]
    pub fn latest(&self) -> Option<&Exchange> {
        self.exchanges.last()
    }

    /// True while an answer may still come.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.latest().is_some_and(Exchange::is_open)
    }

    pub(super) fn cancel(&self) -> Vec<Effect> {
        self.latest()
            .filter(|exchange| exchange.is_open())
            .map(|exchange| Effect::Send(Command::Cancel { request: exchange.request }))
            .into_iter()
            .collect()
    }

    pub(super) fn fail_open(&mut self, reason: &str) {
        if let Some(exchange) = self.exchanges.last_mut().filter(|exchange| exchange.is_open()) {
            exchange.phase = Phase::Failed { reason: reason.to_owned() };
        }
    }

    pub(super) fn answer(&mut self, request: RequestId, event: AnswerEvent) -> Vec<Effect> {
        let open = |one: &&mut Exchange| one.request == request && one.is_open();
        let Some(exchange) = self.exchanges.iter_mut().find(open) else { return Vec::new() };
        let (is_token, is_whole) =
            (matches!(event, AnswerEvent::Token { .. }), matches!(event, AnswerEvent::Done { .. }));
        match event {
            AnswerEvent::Waiting { model, missing } => {
                exchange.phase = Phase::Waiting { model, missing }
            }
            AnswerEvent::Route { stages, sampling, .. } => {
                exchange.stages = stages;
                exchange.seed = sampling.seed;
                exchange.sampling = Some(sampling);
                exchange.phase = Phase::Computing;
            }
            AnswerEvent::Resuming { reason } => exchange.phase = Phase::Resuming { reason },
            AnswerEvent::Token { token, text } => {
                exchange.tokens = exchange.tokens.saturating_add(1);
                exchange.sampled.push(token);
                exchange.text.push_str(&text);
            }
            AnswerEvent::Done { end, first_token_ms, decode_ms, tokens } => {
                exchange.tokens = tokens;
                exchange.phase = Phase::Done { end, first_token_ms, decode_ms };
            }
            AnswerEvent::Failed { reason, .. } => exchange.phase = Phase::Failed { reason },
            AnswerEvent::Counted { .. } => {}
            AnswerEvent::Own { bytes, loaded_bytes, .. } => {
                exchange.phase = Phase::Fetching { bytes, loaded_bytes };
            }
        }
        // One that failed stays: after a reload it can be tried again.
        if is_token || is_whole { vec![Effect::Keep(exchange.to_keep())] } else { Vec::new() }
    }
}

impl State {
    pub(super) fn ask(&mut self, random_seed: u64, asked_at_s: i64) -> Vec<Effect> {
        let asking = &mut self.asking;
        let prompt = asking.prompt.trim().to_owned();
        if prompt.is_empty() || asking.is_open() {
            return Vec::new();
        }
        let (seed, temperature_milli) =
            match (parse_seed(&asking.seed), parse_temperature(&asking.temperature)) {
                (Ok(seed), Ok(temperature)) => (seed.unwrap_or(random_seed), temperature),
                (Err(problem), _) | (_, Err(problem)) => {
                    asking.input_problem = Some(problem);
                    return Vec::new();
                }
            };
        asking.input_problem = None;
        asking.prompt.clear();
        let ask = asking.next_ask;
        asking.next_ask = ask.wrapping_add(1);
        if asking.exchanges.len() == MAX_EXCHANGES {
            asking.exchanges.remove(0);
        }
        let begun = Kept {
            prompt,
            seed,
            temperature_milli,
            asked_at_s,
            text: String::new(),
            sampled: Vec::new(),
            part: asking.part,
        };
        asking.exchanges.push(Exchange::new(RequestId(ask), begun.clone(), Phase::Sent));
        self.send(RequestId(ask), begun)
    }

    /// Goes on with an answer that a reload broke off.
    pub(super) fn go_on(&mut self) -> Vec<Effect> {
        let Some(exchange) =
            self.asking.exchanges.last_mut().filter(|one| one.phase == Phase::Kept)
        else {
            return Vec::new();
        };
        // The node reports the tokens it is given again, with their text.
        let begun = Kept {
            prompt: exchange.prompt.clone(),
            seed: exchange.seed,
            temperature_milli: exchange.temperature_milli,
            asked_at_s: exchange.asked_at_s,
            text: std::mem::take(&mut exchange.text),
            sampled: std::mem::take(&mut exchange.sampled),
            part: exchange.part,
        };
        (exchange.phase, exchange.tokens) = (Phase::Sent, 0);
        let request = exchange.request;
        self.send(request, begun)
    }

    fn send(&mut self, request: RequestId, begun: Kept) -> Vec<Effect> {
        self.problem = None;
        let Kept { prompt, seed, temperature_milli, asked_at_s, sampled, part, .. } = begun;
        // What may compute here, and in how much memory, is chosen once, for lending as well.
        let (backend, memory_bytes) = (self.volunteer.backend, self.volunteer.limits.memory_bytes);
        let own = part.map(|part| Own { part, backend, memory_bytes });
        let sampling = SamplingChoice { temperature_milli, seed, ..SamplingChoice::default() };
        let mut effects = self.connected();
        let (model, max_tokens) = (None, None);
        let ask = Ask {
            request,
            model,
            conversation: Conversation::question(prompt),
            asked_at_s,
            sampling,
            max_tokens,
            sampled,
            own,
            stops: Vec::new(),
            keeps: false,
            counts_only: false,
        };
        effects.push(Effect::Send(Command::Ask(ask)));
        effects
    }
}

/// A seed as typed: a whole number below 2^53, or `None` for nothing.
fn parse_seed(typed: &str) -> Result<Option<u64>, String> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(None);
    }
    let seed = typed.parse::<u64>().ok().filter(|seed| *seed < SEED_LIMIT);
    seed.map(Some).ok_or_else(|| say!("seed-wrong", limit = SEED_LIMIT.to_string()))
}

/// A temperature as typed, in thousandths, or `None` for nothing. Read digit by digit: a float
/// would round what the arithmetic defines exactly.
fn parse_temperature(typed: &str) -> Result<Option<u32>, String> {
    let typed = typed.trim().replace(',', ".");
    if typed.is_empty() {
        return Ok(None);
    }
    let (whole, fraction) = typed.split_once('.').unwrap_or((&typed, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_number = |text: &str| text.chars().all(|digit| digit.is_ascii_digit());
    let has_digits = typed.contains(|character: char| character.is_ascii_digit());
    let milli = (has_digits
        && whole.len() <= 1
        && fraction.len() <= 3
        && is_number(whole)
        && is_number(fraction))
    .then(|| format!("{whole}{fraction:0<3}").parse::<u32>().ok())
    .flatten();
    milli
        .filter(|milli| {
            *milli == 0 || (MIN_TEMPERATURE_MILLI..=MAX_TEMPERATURE_MILLI).contains(milli)
        })
        .map(Some)
        .ok_or_else(|| say!("temperature-wrong"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperatures_are_read_exactly() {
        assert_eq!(parse_temperature(""), Ok(None));
        assert_eq!(parse_temperature("0"), Ok(Some(0)));
        assert_eq!(parse_temperature(" 0.7 "), Ok(Some(700)));
        assert_eq!(parse_temperature("0,7"), Ok(Some(700)));
        assert_eq!(parse_temperature(".05"), Ok(Some(50)));
        assert_eq!(parse_temperature("1."), Ok(Some(1000)));
        assert_eq!(parse_temperature("0.70000"), Ok(Some(700)));
        for wrong in ["0.01", "5.001", "-1", "1e0", "0.7005", "warm", "12", "."] {
            assert!(parse_temperature(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seeds_stay_below_two_to_the_53() {
        assert_eq!(parse_seed("  "), Ok(None));
        assert_eq!(parse_seed("9007199254740991"), Ok(Some(SEED_LIMIT - 1)));
        assert!(parse_seed("9007199254740992").is_err());
        assert!(parse_seed("1.5").is_err());
    }
}
