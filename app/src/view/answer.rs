//! The answer as it is written, who computes it, and what is needed to compute it again.

use potluck_protocol::id::NodeId;
use potluck_protocol::page::{AnswerEnd, AnswerEvent, Link, StageView};
use yew::{Callback, Html, Properties, function_component, html};

use crate::state::Action;
use crate::state::asking::{Asking, Exchange, Phase};
use crate::state::numbers;

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
                <h3 class="visually-hidden">{ "Question" }</h3>
                <p class="question">{ exchange.prompt.clone() }</p>
                <h3 class="visually-hidden">{ "Answer" }</h3>
            }
            <p class={if has_text { "answer" } else { "visually-hidden" }} data-testid="answer" aria-live="polite"
                aria-busy={open.to_string()}>{ latest.map(|exchange| exchange.text.clone()).unwrap_or_default() }</p>
            <p class={status_class(latest)} data-testid="answer-status" role="status">
                { latest.map(|exchange| status(exchange, props.link.as_ref())).unwrap_or_default() }
            </p>
            if latest.is_some_and(|exchange| exchange.phase == Phase::Kept) {
                <p><button type="button" class="plain" data-testid="go-on" onclick={go_on}>{ "Go on with it" }</button></p>
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
    let tokens =
        |count: u32| if count == 1 { "1 token".to_owned() } else { format!("{count} tokens") };
    match &exchange.phase {
        Phase::Sent => match link {
            Some(Link::Open) => "Looking for seats that hold every layer.".to_owned(),
            Some(Link::Lost { .. }) => {
                "The connection is lost. The question waits until it is back.".to_owned()
            }
            _ => "Connecting.".to_owned(),
        },
        Phase::Waiting { model, missing } => format!(
            "▲ Waiting: {}. The answer starts by itself as soon as somebody pulls up a chair.",
            AnswerEvent::waiting_text(model, missing)
        ),
        Phase::Kept => {
            let so_far = tokens(exchange.tokens);
            format!(
                "▲ The page was reloaded in the middle of this answer. Its {so_far} are kept in this tab; nothing runs until you say so."
            )
        }
        Phase::Resuming { reason } => {
            format!("▲ {reason}. Nothing is lost: others go on from here.")
        }
        Phase::Computing => format!("Being computed: {} so far.", tokens(exchange.tokens)),
        Phase::Done { end, first_token_ms, decode_ms } => {
            let how = match end {
                AnswerEnd::Stop => "Done",
                AnswerEnd::Length => "Cut off at the limit of tokens",
                AnswerEnd::Cancelled => "Cancelled",
            };
            let speed = numbers::rate(exchange.tokens.saturating_sub(1), *decode_ms)
                .map(|rate| format!(", then {rate} tokens a second"))
                .unwrap_or_default();
            format!(
                "{how}: {}; the first after {first_token_ms} ms{speed}.",
                tokens(exchange.tokens)
            )
        }
        Phase::Failed { reason } => format!("✕ {reason}"),
    }
}

/// Who computed the answer, and how to get it again.
fn origin(exchange: &Exchange, you: Option<NodeId>) -> Html {
    let Some(sampling) = exchange.sampling else { return Html::default() };
    let stage = |stage: &StageView| {
        let you = if Some(stage.node) == you { " (you)" } else { "" };
        html! {
            <li>{ format!("{}{you} ", stage.node.name()) }<span class="soft">{ format!("{}: {}", stage.node.short(), stage.layers) }</span></li>
        }
    };
    html! {
        <>
            <p class="caution">{ "Computed by an AI model; it can be wrong." }</p>
            <h4>{ "Who computed it, in order" }</h4>
            <ol class="stages" data-testid="answer-nodes">{ for exchange.stages.iter().map(stage) }</ol>
            <p class="soft">
                { "Seed " }<span class="number" data-testid="seed">{ exchange.seed }</span>
                { format!(", temperature {}. ", numbers::temperature(sampling.temperature_milli)) }
                { "Whoever asks this model the same with them gets the same answer, on any computers." }
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
                <p class="question">{ exchange.prompt.clone() }</p>
                <p class="answer">{ exchange.text.clone() }</p>
                <p class="soft">{ format!("{} Seed {}.", status(exchange, None), exchange.seed) }</p>
            </li>
        }
    };
    html! {
        <details>
            <summary>{ format!("Earlier questions in this tab ({count})") }</summary>
            <ol class="earlier">{ for asking.exchanges[..count].iter().rev().map(one) }</ol>
        </details>
    }
}
