//! The answer as it is written, who computes it, and what is needed to compute it again.

use potluck_protocol::id::NodeId;
use potluck_protocol::page::{AnswerEnd, Link, OwnPart, StageView};
use yew::{Callback, Html, Properties, function_component, html};

use crate::say;
use crate::state::Action;
use crate::state::asking::{Asking, Exchange, Phase};
use crate::state::numbers;
use crate::words;

/// Properties of [`Answer`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct AnswerProps {
    pub(super) asking: Asking,
    /// The worker's link to the server.
    pub(super) link: Option<Link>,
    /// This tab.
    pub(super) you: Option<NodeId>,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn Answer(props: &AnswerProps) -> Html {
    let latest = props.asking.latest();
    let open = props.asking.is_open();
    let has_text = latest.is_some_and(|exchange| !exchange.text.is_empty());
    let go_on = props.dispatch.reform(|_| Action::GoOn);
    // The live regions are there before their words, else screen readers miss them.
    html! {
        <div class={if latest.is_some() { "exchange" } else { "" }}>
            if let Some(exchange) = latest {
                <h3 class="visually-hidden">{ say!("question-heading") }</h3>
                <p class="question" dir="auto">{ exchange.prompt.clone() }</p>
                <h3 class="visually-hidden">{ say!("answer-heading") }</h3>
            }
            <p class={if has_text { "answer" } else { "visually-hidden" }} data-testid="answer" dir="auto" aria-live="polite"
                aria-busy={open.to_string()}>{ latest.map(|exchange| exchange.text.clone()).unwrap_or_default() }</p>
            <p class={status_class(latest)} data-testid="answer-status" role="status">
                { latest.map(|exchange| status(exchange, props.link.as_ref())).unwrap_or_default() }
            </p>
            if latest.is_some_and(|exchange| exchange.phase == Phase::Kept) {
                <p><button type="button" class="plain" data-testid="go-on" onclick={go_on}>{ say!("go-on-button") }</button></p>
            }
            if let Some(exchange) = latest {
                { origin(exchange, props.you) }
            }
            { earlier(&props.asking) }
        </div>
    }
}

fn status_class(latest: Option<&Exchange>) -> &'static str {
    match latest.map(|exchange| &exchange.phase) {
        Some(Phase::Failed { .. }) => "bad",
        Some(Phase::Waiting { .. } | Phase::Resuming { .. } | Phase::Kept) => "warn",
        _ => "soft",
    }
}

/// Where the answer stands, in a sentence.
fn status(exchange: &Exchange, link: Option<&Link>) -> String {
    let tokens = |count: u32| say!("tokens", tokens = count);
    match &exchange.phase {
        Phase::Sent => match link {
            Some(Link::Open) => say!("answer-looking"),
            Some(Link::Lost { .. }) => say!("answer-lost-link"),
            _ => say!("answer-connecting"),
        },
        Phase::Fetching { bytes, loaded_bytes } => say!(
            "answer-fetching",
            loaded = numbers::bytes(*loaded_bytes),
            size = numbers::bytes(*bytes),
        ),
        Phase::Waiting { model, missing } => {
            let ranges: Vec<String> = missing.iter().map(|range| words::layers(*range)).collect();
            say!("answer-waiting", layers = words::list(&ranges), model = model)
        }
        Phase::Kept => say!("answer-kept", tokens = tokens(exchange.tokens)),
        Phase::Resuming { reason } => say!("answer-resuming", reason = reason),
        Phase::Computing => say!("answer-computing", tokens = tokens(exchange.tokens)),
        Phase::Done { end, first_token_ms, decode_ms } => {
            let end = match end {
                AnswerEnd::Stop | AnswerEnd::Text(_) => "stop",
                AnswerEnd::Length => "length",
                AnswerEnd::Cancelled => "cancelled",
            };
            let (tokens, ms) = (tokens(exchange.tokens), *first_token_ms);
            match numbers::rate(exchange.tokens.saturating_sub(1), *decode_ms) {
                Some(rate) => {
                    say!("answer-done-rate", end = end, tokens = tokens, ms = ms, rate = rate)
                }
                None => say!("answer-done", end = end, tokens = tokens, ms = ms),
            }
        }
        Phase::Failed { reason } => format!("✕ {reason}"),
    }
}

/// Who computed the answer, and how to get it again.
fn origin(exchange: &Exchange, you: Option<NodeId>) -> Html {
    let Some(sampling) = exchange.sampling else { return Html::default() };
    let stage = |stage: &StageView| {
        let you = if Some(stage.node) == you { say!("you") } else { String::new() };
        html! {
            <li>{ format!("{}{you} ", stage.node.name()) }<span class="soft">{ format!("{}: {}", stage.node.short(), words::layers(stage.layers)) }</span></li>
        }
    };
    html! {
        <>
            <p class="caution">{ say!("answer-caution") }</p>
            if exchange.part == Some(OwnPart::All) {
                <p class="soft">{ say!("answer-all-here") }</p>
            }
            <h4>{ say!("answer-by") }</h4>
            <ol class="stages" data-testid="answer-nodes">{ for exchange.stages.iter().map(stage) }</ol>
            <p class="soft">
                { say!("answer-seed") }{ " " }<span class="number" data-testid="seed">{ exchange.seed }</span>
                { say!("answer-again", temperature = numbers::temperature(sampling.temperature_milli)) }
            </p>
        </>
    }
}

/// Questions before the latest, newest first.
fn earlier(asking: &Asking) -> Html {
    let count = asking.exchanges.len().saturating_sub(1);
    if count == 0 {
        return Html::default();
    }
    let one = |exchange: &Exchange| {
        html! {
            <li key={exchange.request.0}>
                <p class="question" dir="auto">{ exchange.prompt.clone() }</p>
                <p class="answer" dir="auto">{ exchange.text.clone() }</p>
                <p class="soft">{ format!("{} {}", status(exchange, None), say!("earlier-seed", seed = exchange.seed.to_string())) }</p>
            </li>
        }
    };
    html! {
        <details>
            <summary>{ say!("earlier", count = count) }</summary>
            <ol class="earlier">{ for asking.exchanges[..count].iter().rev().map(one) }</ol>
        </details>
    }
}
