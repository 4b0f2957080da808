//! The widget's three faces after a yes: lent (which may be paused), stopped, and not possible.

use potluck_protocol::page::{Lending, LendingPhase, Link};
use yew::{Callback, Html, html};

use crate::browser;
use crate::say;
use crate::state::Action;
use crate::state::lending::{Intent, Volunteer};
use crate::state::numbers;
use crate::view::{agreed, explanation};
use crate::words;

/// Lending goes on, or rests.
pub(super) fn lent(
    volunteer: &Volunteer,
    link: Option<&Link>,
    dispatch: &Callback<Action>,
) -> Html {
    let lending = &volunteer.lending;
    let (state, class, title) = match lending.phase {
        LendingPhase::Paused { .. } => ("paused", "warn", say!("widget-resting")),
        LendingPhase::Serving => ("lending", "ok", say!("widget-lending")),
        _ => ("lending", "", say!("widget-lending")),
    };
    let is_lost = matches!(link, Some(Link::Lost { .. }));
    let lost = if is_lost { say!("widget-lost") } else { String::new() };
    let said = html! {
        <p role="status">
            <b data-testid="phase" {class}>{ phase(volunteer) }</b>
            { " · " }<span data-testid="phase-explained">{ explained(volunteer) + &lost }</span>
        </p>
    };
    let buttons = html! {
        <>
            if volunteer.is_out_of_time() {
                { button("extend", say!("extend-button"), Action::Extend, dispatch) }
            }
            { button("stop", say!("stop-button"), Action::Stop, dispatch) }
        </>
    };
    let agreed = volunteer.grant.as_deref().map(agreed);
    let said = html! { <>{ said }{ facts(lending) }{ for agreed }</> };
    face(state, title, lending.tokens, said, buttons)
}

/// The visitor has stopped.
pub(super) fn stopped(dispatch: &Callback<Action>) -> Html {
    let said = html! { <p role="status" data-testid="phase">{ say!("widget-stopped") }</p> };
    let again = button("again", say!("widget-again"), Action::Lend, dispatch);
    face("stopped", say!("widget-stopped-title"), 0, said, again)
}

/// It cannot go on, for this reason.
pub(super) fn failed(text: &str, dispatch: &Callback<Action>) -> Html {
    let said = html! { <p role="alert" data-testid="phase">{ text }</p> };
    let again = button("again", say!("widget-try-again"), Action::Lend, dispatch);
    face("unavailable", say!("widget-failed"), 0, said, again)
}

fn face(state: &'static str, title: String, steps: u64, said: Html, buttons: Html) -> Html {
    html! {
        <div data-state={state}>
            <h1>{ logo(steps) }<span>{ title }</span></h1>
            { said }
            <div class="row">{ buttons }</div>
        </div>
    }
}

fn button(hook: &'static str, text: String, action: Action, dispatch: &Callback<Action>) -> Html {
    let onclick = dispatch.reform(move |_| action.clone());
    html! { <button type="button" data-testid={hook} {onclick}>{ text }</button> }
}

/// Where lending stands, in a word or two. It begins as soon as it is drawn.
fn phase(volunteer: &Volunteer) -> String {
    match volunteer.intent {
        Intent::No => say!("phase-starting"),
        _ => volunteer.phase_text(),
    }
}

fn explained(volunteer: &Volunteer) -> String {
    let lending = &volunteer.lending;
    match lending.phase {
        LendingPhase::Fetching => say!(
            "fetched-of",
            here = numbers::bytes(lending.loaded_bytes.min(lending.total_bytes)),
            all = numbers::bytes(lending.total_bytes)
        ),
        _ => explanation(volunteer),
    }
}

/// What, for whom, how much, and at what cost.
fn facts(lending: &Lending) -> Html {
    let what = lending.layers.map(|layers| match &lending.model {
        Some(model) => {
            say!("widget-what-value", layers = words::layers(layers), model = model)
        }
        None => words::layers(layers),
    });
    let done = say!(
        "widget-done-value",
        tokens = say!("tokens", tokens = lending.tokens),
        credit = numbers::gmac(lending.credit_macs)
    );
    let energy = say!("widget-energy-value", hours = numbers::watt_hours(lending.milliwatt_hours));
    let data = say!(
        "widget-data-value",
        received = numbers::bytes(lending.received_bytes),
        sent = numbers::bytes(lending.sent_bytes)
    );
    let whom = say!("widget-for-value", host = browser::host());
    let rows = [
        ("layers", say!("widget-what"), what),
        ("for", say!("widget-for"), Some(whom)),
        ("done", say!("widget-done"), Some(done)),
        ("energy", say!("widget-energy"), Some(energy)),
        ("data", say!("widget-data"), Some(data)),
    ];
    let row = |(hook, name, text): (&'static str, String, String)| {
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
