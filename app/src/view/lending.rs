//! What this computer is doing for others, in words and numbers, and the way out.

use potluck_protocol::consent::{Line, words};
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{Granted, Lending, LendingPhase, Link, PauseReason};
use yew::{Callback, Html, html};

use super::awake::Awake;
use crate::say;
use crate::state::Action;
use crate::state::lending::{Intent, Volunteer};
use crate::state::numbers;
use crate::words;

/// What [`lending_status`] draws.
#[derive(Clone, Debug)]
pub(super) struct LendingStatusProps {
    pub(super) volunteer: Volunteer,
    /// The worker's link to the server.
    pub(super) link: Option<Link>,
    /// This tab.
    pub(super) node: Option<NodeId>,
    pub(super) dispatch: Callback<Action>,
}

pub(super) fn lending_status(props: &LendingStatusProps) -> Html {
    let volunteer = &props.volunteer;
    let lending = &volunteer.lending;
    let stop = props.dispatch.reform(|_| Action::Stop);
    let class = match lending.phase {
        LendingPhase::Serving => "ok",
        LendingPhase::Retrying { .. } | LendingPhase::Paused { .. } => "warn",
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
                    <span data-testid="link-lost">{ say!(
                        "lending-link-lost", reason = reason, wait = numbers::seconds(*retry_ms)
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
            <div class="row">
                { break_button(props) }
                <button type="button" class="plain" data-testid="stop" onclick={stop}>{ say!("stop-button") }</button>
            </div>
        </>
    }
}

/// What the person agreed to, in words and as a record to keep.
pub(crate) fn agreed(granted: &Granted) -> Html {
    let lines = words(&granted.signed.grant);
    let encoded = String::from(js_sys::encode_uri_component(&granted.record));
    html! {
        <details data-testid="agreed">
            <summary>{ say!("agreed") }</summary>
            <dl class="facts">
                { for lines.into_iter().map(|Line { about, says }| html! {
                    <><dt>{ about }</dt><dd>{ says }</dd></>
                }) }
            </dl>
            <a data-testid="consent-record" download={granted.file_name()}
                href={format!("data:application/json,{encoded}")}>{ say!("agreed-copy") }</a>
        </details>
    }
}

/// **Take a break**, or what ends it.
fn break_button(props: &LendingStatusProps) -> Html {
    let volunteer = &props.volunteer;
    if volunteer.intent != Intent::Yes {
        return Html::default();
    }
    let (hook, action, words) = if volunteer.is_out_of_time() {
        ("extend", Action::Extend, say!("extend-button"))
    } else if volunteer.is_on_a_break() {
        ("resume", Action::Resume, say!("resume-button"))
    } else {
        ("pause", Action::Pause, say!("pause-button"))
    };
    let class = if hook == "pause" { "plain" } else { "act" };
    let press = props.dispatch.reform(move |_| action.clone());
    html! { <button type="button" {class} data-testid={hook} onclick={press}>{ words }</button> }
}

/// Why it stands where it does, in a sentence.
pub(crate) fn explanation(volunteer: &Volunteer) -> String {
    let lending = &volunteer.lending;
    if volunteer.intent == Intent::Stopping {
        return say!("why-stopping");
    }
    match &lending.phase {
        LendingPhase::Idle | LendingPhase::Starting => say!("why-starting"),
        LendingPhase::Waiting => say!("why-waiting"),
        LendingPhase::Fetching => say!("why-fetching"),
        LendingPhase::Serving => say!("why-serving", sessions = lending.sessions),
        LendingPhase::Retrying { reason, retry_ms } => {
            say!("why-retrying", reason = capitalised(reason), wait = numbers::seconds(*retry_ms))
        }
        LendingPhase::Paused { why } => say!("why-paused", why = pause(*why)),
        LendingPhase::Failed { reason } => reason.clone(),
    }
}

/// What the words of a pause are chosen by.
fn pause(why: PauseReason) -> &'static str {
    match why {
        PauseReason::Asked => "asked",
        PauseReason::Hidden => "hidden",
        PauseReason::Battery => "battery",
        PauseReason::SaveData => "save-data",
        PauseReason::Metered => "metered",
        PauseReason::Pressure => "pressure",
        PauseReason::Frames => "frames",
        PauseReason::TimeIsUp => "time",
        PauseReason::Phone => "phone",
        PauseReason::DataBudget => "data",
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
    let text = say!("fetched-of", here = numbers::bytes(here), all = numbers::bytes(all));
    html! {
        <div class="progress">
            <progress data-testid="progress" aria-label={say!("fetched")} value={here.to_string()} max={all.max(1).to_string()}>
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
            <><dt>{ say!("fact-name") }</dt><dd>{ node.name() }{ " " }<span class="soft">{ node.short() }</span></dd></>
        }
    });
    let backend = (!lending.backend.is_empty()).then(|| {
        html! {
            <>
                <dt>{ say!("fact-backend") }</dt>
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
                <dt>{ say!("fact-layers") }</dt>
                <dd>
                    <span data-testid="layers">{ words::layers(layers) }</span>
                    // Not known before the model's description is here.
                    if lending.model_layers > 0 {
                        <span class="soft">
                            { say!("fact-layers-of", count = lending.model_layers) }
                            if let Some(model) = &lending.model {
                                { say!("fact-layers-of-model", model = model) }
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
                <dt>{ say!("fact-computed") }</dt>
                <dd><span data-testid="tokens">{ lending.tokens }</span><span class="soft">{ say!("fact-computed-since") }</span></dd>
                <dt>{ say!("fact-speed") }</dt>
                <dd>
                    <span data-testid="rate">{ numbers::milli(lending.milli_tokens_per_second) }</span>
                    <span class="soft">{ say!("fact-speed-each", ms = numbers::us_as_ms(lending.us_per_token_p50)) }</span>
                </dd>
                <dt>{ say!("fact-credit") }</dt>
                <dd>
                    <span data-testid="credit">{ numbers::gmac(lending.credit_macs) }</span>
                    <span class="soft">{ say!("fact-credit-receipts", receipts = lending.receipts) }</span>
                </dd>
            }
            if lending.received_bytes > 0 {
                <dt>{ say!("fact-used") }</dt>
                <dd>
                    <span data-testid="energy">{ numbers::watt_hours(lending.milliwatt_hours) }</span>
                    <span class="soft">{ say!(
                        "fact-used-data",
                        received = numbers::bytes(lending.received_bytes),
                        sent = numbers::bytes(lending.sent_bytes),
                    ) }</span>
                </dd>
            }
        </dl>
    }
}
