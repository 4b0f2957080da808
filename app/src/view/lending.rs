//! What this computer is doing for others, in words and numbers, and the way out.

use potluck_protocol::consent::{Line, words};
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{Granted, Lending, LendingPhase, Link, PauseReason};
use yew::{Callback, Html, Properties, function_component, html};

use super::awake::Awake;
use crate::state::Action;
use crate::state::lending::{Intent, Volunteer};
use crate::state::numbers;

/// Properties of [`LendingStatus`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct LendingStatusProps {
    pub(super) volunteer: Volunteer,
    /// The worker's link to the server.
    pub(super) link: Option<Link>,
    /// This tab.
    pub(super) node: Option<NodeId>,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn LendingStatus(props: &LendingStatusProps) -> Html {
    let volunteer = &props.volunteer;
    let lending = &volunteer.lending;
    let stop = props.dispatch.reform(|_| Action::Stop);
    let class = match lending.phase {
        LendingPhase::Serving => "ok",
        LendingPhase::Retrying { .. } => "warn",
        _ => "",
    };
    html! {
        <>
            <p class="phase" role="status">
                <strong data-testid="phase" {class}>{ volunteer.phase_text() }</strong>
                <span data-testid="phase-explained">{ explanation(volunteer) }</span>
            </p>
            if let Some(Link::Lost { reason, retry_ms }) = &props.link {
                <p class="warn" role="status">
                    <span aria-hidden="true">{ "▲ " }</span>
                    <span data-testid="link-lost">{ format!(
                        "The connection to the server is lost ({reason}). What is being computed goes on; trying again in {}.",
                        numbers::seconds(*retry_ms)
                    ) }</span>
                </p>
            }
            if lending.phase == LendingPhase::Fetching {
                { progress(lending) }
            }
            if let Some(note) = &lending.note {
                <p class="warn"><span aria-hidden="true">{ "▲ " }</span><span data-testid="backend-note">{ note.clone() }</span></p>
            }
            { facts(props) }
            if let Some(granted) = &volunteer.grant {
                { agreed(granted) }
            }
            <Awake keeps_awake={volunteer.keeps_awake} dispatch={props.dispatch.clone()} />
            { pause_button(props) }
            <button type="button" class="plain" data-testid="stop" onclick={stop}>{ "Stop" }</button>
        </>
    }
}

/// What the person agreed to, in words and as a record to keep.
pub(crate) fn agreed(granted: &Granted) -> Html {
    let lines = words(&granted.signed.grant);
    let encoded = String::from(js_sys::encode_uri_component(&granted.record));
    html! {
        <details data-testid="agreed">
            <summary>{ "What I agreed to" }</summary>
            <dl>
                { for lines.into_iter().map(|Line { about, says }| html! {
                    <><dt>{ about }</dt><dd>{ says }</dd></>
                }) }
            </dl>
            <a data-testid="consent-record" download={granted.file_name()}
                href={format!("data:application/json,{encoded}")}>{ "Keep a copy" }</a>
        </details>
    }
}

/// The one button about pauses that is of use now: none while nothing can be paused.
fn pause_button(props: &LendingStatusProps) -> Html {
    let (hook, action, text) = match (props.volunteer.intent, &props.volunteer.lending.phase) {
        (Intent::Yes, LendingPhase::Paused { why: PauseReason::TimeIsUp }) => {
            ("extend", Action::Extend, "Go on for as long again")
        }
        (Intent::Yes, LendingPhase::Paused { why: PauseReason::Asked }) => {
            ("resume", Action::Resume, "Go on")
        }
        (Intent::Yes, _) => ("pause", Action::Pause, "Pause"),
        _ => return Html::default(),
    };
    let press = props.dispatch.reform(move |_| action.clone());
    html! {
        <button type="button" class="plain" data-testid={hook} onclick={press}>{ text }</button>
    }
}

fn explanation(volunteer: &Volunteer) -> String {
    let lending = &volunteer.lending;
    if volunteer.intent == Intent::Stopping {
        return "Nothing more is computed for others; your own answer is still being written. \
                Stop ends that too."
            .to_owned();
    }
    match &lending.phase {
        LendingPhase::Idle | LendingPhase::Starting => {
            "Looking at what this computer can compute with.".to_owned()
        }
        LendingPhase::Waiting => {
            "Offered. The server is about to say which layers are wanted.".to_owned()
        }
        LendingPhase::Fetching => {
            "Weights are coming in; each is checked before it is used.".to_owned()
        }
        LendingPhase::Serving => match lending.sessions {
            0 => "Ready. Nobody is asking just now.".to_owned(),
            1 => "Computing for one question.".to_owned(),
            sessions => format!("Computing for {sessions} questions."),
        },
        LendingPhase::Retrying { reason, retry_ms } => {
            format!(
                "{}. Nothing is lost; the next try is in {}.",
                capitalised(reason),
                numbers::seconds(*retry_ms)
            )
        }
        LendingPhase::Paused { why } => {
            format!("Nothing is computed while {}. Stop ends lending.", why.words())
        }
        LendingPhase::Failed { reason } => reason.clone(),
    }
}

/// A reason as the beginning of a sentence. Ours are English; every language's capitals would be 6 KB
/// more to fetch.
fn capitalised(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

/// Bytes of weights that are here and verified, of all that these layers need.
fn progress(lending: &Lending) -> Html {
    let (here, all) = (lending.loaded_bytes.min(lending.total_bytes), lending.total_bytes);
    let text = format!("{} of {}", numbers::bytes(here), numbers::bytes(all));
    html! {
        <div class="progress">
            <progress data-testid="progress" aria-label="Weights fetched" value={here.to_string()} max={all.max(1).to_string()}>
                { text.clone() }
            </progress>
            <span class="soft">{ text }</span>
        </div>
    }
}

fn facts(props: &LendingStatusProps) -> Html {
    let lending = &props.volunteer.lending;
    let name = props.node.map(|node| {
        html! {
            <><dt>{ "Your seat" }</dt><dd>{ node.name() }{ " " }<span class="soft">{ node.short() }</span></dd></>
        }
    });
    let backend = (!lending.backend.is_empty()).then(|| {
        html! {
            <>
                <dt>{ "Computes with" }</dt>
                <dd>
                    <span data-testid="backend">{ lending.backend.clone() }</span>
                    if !lending.adapter.is_empty() {
                        <span class="soft">{ " " }<span data-testid="adapter">{ lending.adapter.clone() }</span></span>
                    }
                </dd>
            </>
        }
    });
    let layers = lending.layers.map(|layers| {
        html! {
            <>
                <dt>{ "Holds" }</dt>
                <dd>
                    <span data-testid="layers">{ layers.to_string() }</span>
                    // Not known before the model's description is here.
                    if lending.model_layers > 0 {
                        <span class="soft">
                            { format!(" of {} layers", lending.model_layers) }
                            if let Some(model) = &lending.model {
                                { format!(" of {model}") }
                            }
                        </span>
                    }
                </dd>
            </>
        }
    });
    let serving = lending.phase == LendingPhase::Serving;
    html! {
        <dl class="facts">
            { for name }
            { for backend }
            { for layers }
            if serving {
                <dt>{ "Computed" }</dt>
                <dd><span data-testid="tokens">{ lending.tokens }</span><span class="soft">{ " tokens since you sat down" }</span></dd>
                <dt>{ "Speed" }</dt>
                <dd>
                    <span data-testid="rate">{ numbers::milli(lending.milli_tokens_per_second) }</span>
                    <span class="soft">{ format!(" tokens a second; {} ms each", numbers::us_as_ms(lending.us_per_token_p50)) }</span>
                </dd>
                <dt>{ "Credit" }</dt>
                <dd>
                    <span data-testid="credit">{ numbers::gmac(lending.credit_macs) }</span>
                    <span class="soft">{ format!(" GMAC; {} receipts since you sat down", lending.receipts) }</span>
                </dd>
            }
        </dl>
    }
}
