//! Answers side by side, as chats and texts both have them.

use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{finish_reason, usage};
use crate::collect::{Usage, Whole, begin, whole};
use crate::error::{ApiError, Dialect};
use crate::fields::Ignored;
use crate::node::{Answer, Begun, Piece, Swarm};
use crate::question::{Choices, Question};
use crate::server::{Head, ignoring};
use crate::stream::{self, Gone, Sink};

/// What a choice looks like.
pub(super) trait Form: Send + Sync + 'static {
    /// What bodies and pieces are called.
    const OBJECTS: [&'static str; 2];

    /// A whole choice.
    fn whole(&self, whole: &Whole) -> Value;

    /// What comes first of a streamed one, if anything does.
    fn first(&self) -> Option<Value>;

    /// A piece of a streamed one; the last has no text.
    fn piece(&self, text: Option<&str>) -> Value;
}

/// How a question is to be answered.
#[derive(Debug)]
pub(super) struct Manner {
    pub(super) choices: Choices,
    pub(super) stream: bool,
    /// The stream's last piece says what it took.
    pub(super) says_usage: bool,
}

/// Asks, and answers with all choices.
pub(super) async fn respond<F: Form>(
    swarm: Swarm,
    id: &str,
    (question, manner): (Question, Manner),
    form: F,
    ignored: &Ignored,
) -> Result<Response, ApiError> {
    let Manner { choices, stream, says_usage } = manner;
    let answers = begin(&swarm, &question, choices).await?;
    let head = Head::new(id, &swarm, question.model.as_deref());
    let response = if stream {
        stream::events(move |sink| streamed((head, form), answers, says_usage, sink))
    } else {
        let wholes = answers.into_iter().map(whole);
        let wholes = futures::future::try_join_all(wholes).await?;
        let listed = wholes
            .iter()
            .enumerate()
            .map(|(index, whole)| listed(index, form.whole(whole), Some(finish_reason(whole.end))));
        let mut body = head.body(F::OBJECTS[0]);
        body["choices"] = listed.collect::<Vec<Value>>().into();
        body["usage"] = usage(Usage::all(wholes.iter().map(|whole| whole.usage)));
        body["potluck"] = json!({ "seed": choices.seed(0) });
        Json(body).into_response()
    };
    Ok(ignoring(response, ignored))
}

/// A choice, or a piece of one, in its place.
fn listed(index: usize, mut choice: Value, finish: Option<&str>) -> Value {
    choice["index"] = index.into();
    choice["logprobs"] = Value::Null;
    choice["finish_reason"] = finish.into();
    choice
}

async fn streamed<F: Form>(
    (head, form): (Head, F),
    answers: Vec<(Answer, Begun)>,
    says_usage: bool,
    sink: Sink<Event>,
) -> Result<(), Gone> {
    let (head, form, sink) = (&head, &form, &sink);
    let send = |index: usize, piece: Value, finish: Option<&'static str>| async move {
        let mut body = head.body(F::OBJECTS[1]);
        body["choices"] = json!([listed(index, piece, finish)]);
        sink.data(&body).await
    };
    let each = answers.into_iter().enumerate().map(|(index, (mut answer, begun))| async move {
        if let Some(first) = form.first() {
            send(index, first, None).await?;
        }
        loop {
            match answer.next().await {
                Ok(Piece::Text(text)) if text.is_empty() => {}
                Ok(Piece::Text(text)) => send(index, form.piece(Some(&text)), None).await?,
                Ok(Piece::End(end)) => {
                    send(index, form.piece(None), Some(finish_reason(end))).await?;
                    return Ok(Ok(Usage::of(&answer, begun)));
                }
                Err(error) => {
                    return Ok(Err(error));
                }
            }
        }
    });
    let ended: Vec<Result<Usage, ApiError>> = futures::future::try_join_all(each).await?;
    match ended.into_iter().collect::<Result<Vec<Usage>, ApiError>>() {
        Ok(usages) => {
            if says_usage {
                let mut last = head.body(F::OBJECTS[1]);
                last["choices"] = json!([]);
                last["usage"] = usage(Usage::all(usages));
                sink.data(&last).await?;
            }
            sink.send(Event::default().data("[DONE]")).await
        }
        Err(error) => sink.data(&error.body(Dialect::OpenAi)).await,
    }
}
