//! Whole answers, for clients that do not want them piece by piece.

use potluck_protocol::page::AnswerEnd;
use serde::Serialize;

use crate::error::ApiError;
use crate::node::{Answer, Begun, Piece, Swarm};
use crate::question::{Choices, Question};

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) text: String,
    pub(crate) end: AnswerEnd,
    pub(crate) usage: Usage,
}

/// What an answer took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) prompt: u32,
    /// Of these, what was computed before.
    pub(crate) kept: u32,
    pub(crate) completion: u32,
}

/// Asks for as many answers as are wanted, all at once, and waits until each is being computed.
pub(crate) async fn begin(
    swarm: &Swarm,
    question: &Question,
    choices: Choices,
) -> Result<Vec<(Answer, Begun)>, ApiError> {
    let asked = swarm.ask(question, choices).await?.into_iter().map(|mut answer| async move {
        let begun = answer.begin().await?;
        Ok((answer, begun))
    });
    futures::future::try_join_all(asked).await
}

/// The same of one answer.
pub(crate) async fn begin_one(
    swarm: &Swarm,
    question: &Question,
    choices: Choices,
) -> Result<(Answer, Begun), ApiError> {
    let mut answer = swarm.ask_one(question, choices).await?;
    let begun = answer.begin().await?;
    Ok((answer, begun))
}

/// Waits for the whole of an answer.
pub(crate) async fn whole((mut answer, begun): (Answer, Begun)) -> Result<Whole, ApiError> {
    let mut text = String::new();
    let end = loop {
        match answer.next().await? {
            Piece::Text(more) => text.push_str(&more),
            Piece::End(end) => break end,
        }
    };
    Ok(Whole { text, end, usage: Usage::of(&answer, begun) })
}

impl Usage {
    pub(crate) fn of(answer: &Answer, begun: Begun) -> Self {
        let Begun { prompt_tokens, kept_tokens, .. } = begun;
        Self { prompt: prompt_tokens, kept: kept_tokens, completion: answer.tokens() }
    }

    /// Of several answers to one question.
    pub(crate) fn all(usages: impl IntoIterator<Item = Self>) -> Self {
        usages.into_iter().fold(Self::default(), |all, one| Self {
            prompt: one.prompt,
            kept: all.kept.max(one.kept),
            completion: all.completion + one.completion,
        })
    }
}
