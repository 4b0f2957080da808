//! The widget's three faces after a yes: lent (which may be paused), stopped, and not possible.

use potluck_protocol::page::{Lending, LendingPhase, Link, PauseReason};
use yew::{Callback, Html, html};

use crate::browser;
use crate::state::Action;
use crate::state::lending::Volunteer;
use crate::state::numbers;
use crate::view::agreed;

/// Lending goes on, or rests.
pub(super) fn lent(
    volunteer: &Volunteer,
    link: Option<&Link>,
    dispatch: &Callback<Action>,
) -> Html {
    let lending = &volunteer.lending;
    let (state, class, title) = match lending.phase {
        LendingPhase::Paused { .. } => ("paused", "warn", "Your computer rests"),
        LendingPhase::Serving => ("lending", "ok", "You are lending a hand"),
        _ => ("lending", "", "You are lending a hand"),
    };
    let is_lost = matches!(link, Some(Link::Lost { .. }));
    let lost = if is_lost { " The connection is lost, and is tried again." } else { "" };
    let said = html! {
        <p role="status">
            <b data-testid="phase" {class}>{ phase(lending) }</b>
            { ". " }<span data-testid="phase-explained">{ explanation(lending) + lost }</span>
        </p>
    };
    let is_over = matches!(lending.phase, LendingPhase::Paused { why: PauseReason::TimeIsUp });
    let buttons = html! {
        <>
            if is_over { { button("extend", "Go on", Action::Extend, dispatch) } }
            { button("stop", "Stop", Action::Stop, dispatch) }
        </>
    };
    let agreed = volunteer.grant.as_deref().map(agreed);
    let said = html! { <>{ said }{ facts(lending) }{ for agreed }</> };
    face(state, title, lending.tokens, said, buttons)
}

/// The visitor has stopped.
pub(super) fn stopped(dispatch: &Callback<Action>) -> Html {
    let said = html! {
        <p role="status" data-testid="phase">
            { "Nothing is computed here any more, and your yes is taken back. What you were credited with stays yours." }
        </p>
    };
    face("stopped", "Stopped", 0, said, button("again", "Lend again", Action::Lend, dispatch))
}

/// It cannot go on, for this reason.
pub(super) fn failed(text: &str, dispatch: &Callback<Action>) -> Html {
    let said = html! { <p role="alert" data-testid="phase">{ text }</p> };
    let again = button("again", "Try again", Action::Lend, dispatch);
    face("unavailable", "Not possible here", 0, said, again)
}

fn face(state: &'static str, title: &'static str, steps: u64, said: Html, buttons: Html) -> Html {
    html! {
        <div data-state={state}>
            <h1>{ logo(steps) }<span>{ title }</span></h1>
            { said }
            <div class="row">{ buttons }</div>
        </div>
    }
}

fn button(
    hook: &'static str,
    text: &'static str,
    action: Action,
    dispatch: &Callback<Action>,
) -> Html {
    let onclick = dispatch.reform(move |_| action.clone());
    html! { <button type="button" data-testid={hook} {onclick}>{ text }</button> }
}

/// Where lending stands, in a word or two.
fn phase(lending: &Lending) -> &'static str {
    match lending.phase {
        LendingPhase::Idle | LendingPhase::Starting => "Starting",
        LendingPhase::Waiting => "Waiting",
        LendingPhase::Fetching => "Fetching",
        LendingPhase::Serving => "Serving",
        LendingPhase::Retrying { .. } => "Trying again",
        LendingPhase::Paused { .. } => "Paused",
        LendingPhase::Failed { .. } => "Failed",
    }
}

fn explanation(lending: &Lending) -> String {
    match &lending.phase {
        LendingPhase::Idle | LendingPhase::Starting => {
            "Looking at what this computer can compute with.".to_owned()
        }
        LendingPhase::Waiting => "The server is about to say what is needed.".to_owned(),
        LendingPhase::Fetching => format!(
            "{} of {} are here.",
            numbers::bytes(lending.loaded_bytes.min(lending.total_bytes)),
            numbers::bytes(lending.total_bytes)
        ),
        LendingPhase::Serving => match lending.sessions {
            0 => "Nobody asks just now.".to_owned(),
            1 => "Computing for one question.".to_owned(),
            sessions => format!("Computing for {sessions} questions."),
        },
        LendingPhase::Paused { why } => format!("Nothing is computed while {}.", why.words()),
        LendingPhase::Retrying { reason, retry_ms } => {
            format!("{reason}; the next try is in {}.", numbers::seconds(*retry_ms))
        }
        LendingPhase::Failed { reason } => reason.clone(),
    }
}

/// What, for whom, how much, and at what cost.
fn facts(lending: &Lending) -> Html {
    let what = lending.layers.map(|layers| {
        let model = lending.model.as_deref().unwrap_or("the model");
        format!("{layers} of {model}")
    });
    let done = format!(
        "{} tokens; {} GMAC credited to you",
        numbers::count(lending.tokens),
        numbers::gmac(lending.credit_macs)
    );
    let data = format!(
        "{} in, {} out",
        numbers::bytes(lending.received_bytes),
        numbers::bytes(lending.sent_bytes)
    );
    let rows = [
        ("layers", "What", what),
        ("for", "For", Some(format!("people who ask at {}", browser::host()))),
        ("done", "Done", Some(done)),
        (
            "energy",
            "Energy",
            Some(format!("{} Wh, estimated", numbers::milli(lending.milliwatt_hours))),
        ),
        ("data", "Data", Some(data)),
    ];
    let row = |(hook, name, text): (&'static str, &'static str, String)| {
        html! { <><dt>{ name }</dt><dd data-testid={hook}>{ text }</dd></> }
    };
    let rows = rows.into_iter().filter_map(|(hook, name, text)| Some((hook, name, text?)));
    html! { <dl>{ for rows.map(row) }</dl> }
}

/// The table seen from above; its taken seat moves on with work that was done.
fn logo(steps: u64) -> Html {
    const SEATS: [(&str, &str); 6] = [
        ("16", "3.75"),
        ("26.6", "9.9"),
        ("26.6", "22.1"),
        ("16", "28.25"),
        ("5.4", "22.1"),
        ("5.4", "9.9"),
    ];
    let seat = |(place, (cx, cy)): (u64, &(&'static str, &'static str))| {
        let class = (place == steps % 6).then_some("on");
        html! { <circle {class} cx={*cx} cy={*cy} r="2.5" /> }
    };
    html! {
        <svg viewBox="0 0 32 32" aria-hidden="true">
            <circle cx="16" cy="16" r="8" />
            { for (0_u64..).zip(&SEATS).map(seat) }
        </svg>
    }
}
