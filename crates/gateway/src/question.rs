//! What is asked, whatever protocol it came by, and the fields that several protocols have.

use potluck_protocol::chat::{Conversation, MAX_STOP_BYTES, MAX_STOPS};
use potluck_protocol::page::SamplingChoice;
use potluck_protocol::sampling::{
    MAX_REPETITION_PENALTY_MILLI, MAX_TEMPERATURE_MILLI, MIN_REPETITION_PENALTY_MILLI,
    MIN_TEMPERATURE_MILLI,
};
use serde_json::Value;

use crate::error::ApiError;
use crate::fields::Fields;

/// Answers to one request at most.
pub(crate) const MAX_CHOICES: u32 = 4;
/// Seeds are below this, so that every client's numbers hold them.
const SEEDS: u64 = 1 << 53;

/// A question.
#[derive(Clone, Debug, Default)]
pub(crate) struct Question {
    pub(crate) model: Option<String>,
    pub(crate) conversation: Conversation,
    pub(crate) sampling: SamplingChoice,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) stops: Vec<String>,
    /// Only its tokens are to be counted.
    pub(crate) counts_only: bool,
}

/// How many answers to a question, and with which seeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    pub(crate) count: u32,
    seed: u64,
}

impl Choices {
    pub(crate) fn new(count: u32, seed: Option<u64>) -> Result<Self, ApiError> {
        let seed = match seed {
            Some(seed) => seed,
            None => random_seed()?,
        };
        Ok(Self { count, seed })
    }

    /// Of each answer: the first has the one that was asked for.
    pub(crate) fn seed(self, index: u32) -> u64 {
        (self.seed + u64::from(index)) % SEEDS
    }
}

fn random_seed() -> Result<u64, ApiError> {
    let failed =
        |error| ApiError::unavailable(format!("this machine has no random numbers: {error}"));
    Ok(getrandom::u64().map_err(failed)? % SEEDS)
}

/// `temperature`, `top_p`, `top_k` and a repetition penalty, as far as a protocol has them under these
/// names.
pub(crate) fn sampling(fields: &mut Fields, penalty: &str) -> Result<SamplingChoice, ApiError> {
    let temperatures = MIN_TEMPERATURE_MILLI..=MAX_TEMPERATURE_MILLI;
    let temperature_milli =
        thousandths(fields, "temperature", |milli| milli == 0 || temperatures.contains(&milli))?;
    let top_p_milli = thousandths(fields, "top_p", |milli| (1..=1000).contains(&milli))?;
    let penalties = MIN_REPETITION_PENALTY_MILLI..=MAX_REPETITION_PENALTY_MILLI;
    let repetition_penalty_milli =
        thousandths(fields, penalty, |milli| penalties.contains(&milli))?;
    // Some clients say -1 for all.
    let top_k = fields.take::<i64>("top_k")?;
    let top_k = top_k.map(|top_k| match top_k {
        -1 => Ok(0),
        top_k => u32::try_from(top_k)
            .map_err(|_| ApiError::field("top_k", format!("`top_k` is {top_k}; use 0 for all"))),
    });
    let top_k = top_k.transpose()?;
    let seed = 0;
    Ok(SamplingChoice { temperature_milli, top_k, top_p_milli, repetition_penalty_milli, seed })
}

fn thousandths(
    fields: &mut Fields,
    name: &str,
    is_possible: impl Fn(u32) -> bool,
) -> Result<Option<u32>, ApiError> {
    let Some(value) = fields.take::<f64>(name)? else { return Ok(None) };
    let milli = (value * 1000.0).round();
    let wrong = || {
        let possible = match name {
            "temperature" => "0 (the likeliest token), or 0.05 to 5",
            "top_p" => "above 0 and at most 1",
            _ => "0.5 to 2; 1 is none",
        };
        ApiError::field(name, format!("`{name}` is {value}; it can be {possible}"))
    };
    if !(0.0..=f64::from(u32::MAX)).contains(&milli) {
        return Err(wrong());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number within these bounds"
    )]
    let milli = milli as u32;
    if is_possible(milli) { Ok(Some(milli)) } else { Err(wrong()) }
}

/// A seed, if one is asked for.
pub(crate) fn seed(fields: &mut Fields) -> Result<Option<u64>, ApiError> {
    let Some(seed) = fields.take::<i64>("seed")? else { return Ok(None) };
    let possible = u64::try_from(seed).ok().filter(|seed| *seed < SEEDS);
    let wrong = || {
        let message = format!("`seed` is {seed}; it can be 0 to {}", SEEDS - 1);
        ApiError::field("seed", message)
    };
    possible.map(Some).ok_or_else(wrong)
}

/// A number of tokens, if one is given: at least 1.
pub(crate) fn max_tokens(fields: &mut Fields, name: &str) -> Result<Option<u32>, ApiError> {
    let Some(tokens) = fields.take::<i64>(name)? else { return Ok(None) };
    if tokens < 1 {
        let message = format!("`{name}` is {tokens}; ask for at least 1 token");
        return Err(ApiError::field(name, message));
    }
    // More than any context has is as much as fits.
    Ok(Some(u32::try_from(tokens).unwrap_or(u32::MAX)))
}

/// Texts at which an answer ends: one, or several.
pub(crate) fn stops(fields: &mut Fields, name: &str) -> Result<Vec<String>, ApiError> {
    let stops = match fields.value(name) {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(value) => serde_json::from_value(value).map_err(|_| {
            ApiError::field(name, format!("`{name}` must be a text or a list of texts"))
        })?,
    };
    let is_possible = |stop: &String| !stop.is_empty() && stop.len() <= MAX_STOP_BYTES;
    if stops.len() > MAX_STOPS || !stops.iter().all(is_possible) {
        let message =
            format!("`{name}` can have up to {MAX_STOPS} texts of 1 to {MAX_STOP_BYTES} bytes");
        return Err(ApiError::field(name, message));
    }
    Ok(stops)
}

/// How many answers.
pub(crate) fn choices(fields: &mut Fields) -> Result<u32, ApiError> {
    let count = fields.take::<i64>("n")?.unwrap_or(1);
    let possible = u32::try_from(count).ok().filter(|count| (1..=MAX_CHOICES).contains(count));
    possible.ok_or_else(|| {
        ApiError::field("n", format!("`n` is {count}; 1 to {MAX_CHOICES} answers can be had"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(body: &str) -> Fields {
        Fields::of(body.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_taken_as_the_sampler_has_them() {
        let body = r#"{"temperature": 0.7, "top_p": 0.95, "top_k": -1, "repetition_penalty": 1.1}"#;
        let choice = sampling(&mut fields(body), "repetition_penalty").unwrap();
        assert_eq!(choice.temperature_milli, Some(700));
        assert_eq!((choice.top_p_milli, choice.top_k), (Some(950), Some(0)));
        assert_eq!(choice.repetition_penalty_milli, Some(1100));
        let nothing = sampling(&mut fields("{}"), "repetition_penalty").unwrap();
        assert_eq!(nothing, SamplingChoice::default());
    }

    #[test]
    fn numbers_that_cannot_be_are_refused_by_their_field() {
        for (body, name) in [
            (r#"{"temperature": -1}"#, "temperature"),
            (r#"{"temperature": 0.01}"#, "temperature"),
            (r#"{"temperature": 1e308}"#, "temperature"),
            (r#"{"temperature": "hot"}"#, "temperature"),
            (r#"{"top_p": 0}"#, "top_p"),
            (r#"{"top_p": 1.5}"#, "top_p"),
            (r#"{"top_k": -5}"#, "top_k"),
            (r#"{"repetition_penalty": 3}"#, "repetition_penalty"),
        ] {
            let error = sampling(&mut fields(body), "repetition_penalty").unwrap_err();
            assert_eq!(error.param.as_deref(), Some(name), "{body}");
        }
        for body in [r#"{"seed": -1}"#, r#"{"seed": 9007199254740992}"#, r#"{"seed": 1.5}"#] {
            assert_eq!(seed(&mut fields(body)).unwrap_err().param.as_deref(), Some("seed"));
        }
        for body in [r#"{"n": 0}"#, r#"{"n": 5}"#, r#"{"n": -1}"#] {
            assert_eq!(choices(&mut fields(body)).unwrap_err().param.as_deref(), Some("n"));
        }
        assert!(max_tokens(&mut fields(r#"{"max_tokens": 0}"#), "max_tokens").is_err());
        let many = max_tokens(&mut fields(r#"{"max_tokens": 1000000000000}"#), "max_tokens");
        assert_eq!(many, Ok(Some(u32::MAX)));
    }

    #[test]
    fn stops_are_one_or_several() {
        let of = |body: &str| stops(&mut fields(body), "stop");
        assert_eq!(of(r#"{"stop": "x"}"#).unwrap(), ["x"]);
        assert_eq!(of(r#"{"stop": ["x", "y"]}"#).unwrap(), ["x", "y"]);
        assert_eq!(of(r#"{"stop": null}"#).unwrap(), Vec::<String>::new());
        for wrong in [r#"{"stop": ""}"#, r#"{"stop": [1]}"#, r#"{"stop": {}}"#] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_answer_has_a_seed_of_its_own() {
        let choices = Choices::new(3, Some(SEEDS - 1)).unwrap();
        assert_eq!([choices.seed(0), choices.seed(1), choices.seed(2)], [SEEDS - 1, 0, 1]);
    }
}
