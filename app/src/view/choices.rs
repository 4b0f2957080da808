//! What a volunteer may choose: what computes, how much of it, and when. Before lending, and while it
//! goes on; then it holds at once.

use potluck_protocol::grant::{Limits, Power};
use potluck_protocol::page::BackendPreference;
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::{Callback, Event, Html, html};

use crate::say;
use crate::state::Action;
use crate::state::numbers;

/// Amounts of memory to choose from, bytes.
const MEMORY_BYTES: [u64; 6] = [256 << 20, 512 << 20, 1 << 30, 2 << 30, 4 << 30, 8 << 30];
/// Amounts of data a day to choose from, bytes.
const DATA_BYTES: [u64; 6] = [256 << 20, 1 << 30, 2 << 30, 5 << 30, 20 << 30, 100 << 30];
/// Minutes until the page asks again; `None` until the yes itself ends.
const MINUTES: [Option<u32>; 5] = [Some(15), Some(30), Some(60), Some(240), None];
/// Days that a yes may hold.
const DAYS: [u16; 4] = [1, 7, 30, 90];
const BACKENDS: [(BackendPreference, &str); 3] = [
    (BackendPreference::Auto, "auto"),
    (BackendPreference::Gpu, "gpu"),
    (BackendPreference::Cpu, "cpu"),
];
/// Shares of the time that a processor may compute go in steps of so many percent.
const PERCENT_STEP: u8 = 5;

/// What [`choices`] draws.
#[derive(Clone, Debug)]
pub(super) struct ChoicesProps {
    pub(super) backend: BackendPreference,
    pub(super) limits: Limits,
    pub(super) days: u16,
    /// Something is lent now: what computes, and until when, is settled.
    pub(super) is_lending: bool,
    pub(super) dispatch: Callback<Action>,
}

pub(super) fn choices(props: &ChoicesProps) -> Html {
    let limits = &props.limits;
    html! {
            <div class="fields choices">
                if !props.is_lending {
                    { backend(props) }
                }
                { percent(props, "processor-choice", say!("choose-processor"), limits.processor_percent, |limits, percent| {
                    limits.processor_percent = percent;
                }) }
                { percent(props, "gpu-choice", say!("choose-gpu"), limits.gpu_percent, |limits, percent| {
                    limits.gpu_percent = percent;
                }) }
                { amount(props, "memory-choice", say!("choose-memory"), &MEMORY_BYTES, limits.memory_bytes, |limits, bytes| {
                    limits.memory_bytes = bytes;
                }) }
                { amount(props, "data-choice", say!("choose-data"), &DATA_BYTES, limits.data_bytes_a_day, |limits, bytes| {
                    limits.data_bytes_a_day = bytes;
                }) }
                { minutes(props) }
                if !props.is_lending {
                    { days(props) }
                }
                <fieldset>
                    <legend>{ say!("choose-when") }</legend>
                    { check(props, "hidden-choice", say!("choose-hidden"), limits.when_hidden, |limits, on| limits.when_hidden = on) }
                    { check(props, "battery-choice", say!("choose-battery"), limits.power == Power::Any, |limits, on| {
                        limits.power = if on { Power::Any } else { Power::MainsOnly };
                    }) }
                    { check(props, "metered-choice", say!("choose-metered"), limits.on_metered, |limits, on| limits.on_metered = on) }
                    { check(props, "phone-choice", say!("choose-phone"), limits.on_phone, |limits, on| limits.on_phone = on) }
                </fieldset>
            </div>
    }
}

/// A field with its label: a name for both, and what the browser is to draw.
fn field(id: &'static str, label: String, control: Html) -> Html {
    html! { <div class="field"><label for={id}>{ label }</label>{ control }</div> }
}

fn backend(props: &ChoicesProps) -> Html {
    let choose = props.dispatch.reform(|event: Event| {
        let chosen = value(&event);
        let backend =
            BACKENDS.iter().find(|(_, name)| *name == chosen).map(|(backend, _)| *backend);
        Action::ChooseBackend(backend.unwrap_or_default())
    });
    let one = |(backend, name): &(BackendPreference, &'static str)| {
        let text = match backend {
            BackendPreference::Auto => say!("backend-auto"),
            BackendPreference::Gpu => say!("backend-gpu"),
            BackendPreference::Cpu => say!("backend-cpu"),
        };
        html! { <option value={*name} selected={*backend == props.backend}>{ text }</option> }
    };
    let select = html! {
        <select id="backend-choice" data-testid="backend-choice" onchange={choose}>{ for BACKENDS.iter().map(one) }</select>
    };
    field("backend-choice", say!("choose-backend"), select)
}

/// What becomes of the limits when a control is moved.
fn changed<T: 'static>(
    props: &ChoicesProps,
    read: impl Fn(&Event) -> Option<T> + 'static,
    change: impl Fn(&mut Limits, T) + 'static,
) -> Callback<Event> {
    let limits = props.limits.clone();
    props.dispatch.reform(move |event: Event| {
        let mut limits = limits.clone();
        if let Some(chosen) = read(&event) {
            change(&mut limits, chosen);
        }
        Action::ChooseLimits(limits)
    })
}

fn percent(
    props: &ChoicesProps,
    id: &'static str,
    label: String,
    now: u8,
    change: impl Fn(&mut Limits, u8) + 'static,
) -> Html {
    let choose = changed(props, |event| input(event)?.value().parse().ok(), change);
    let control = html! {
        <span class="percent">
            <input {id} data-testid={id} type="range" min={PERCENT_STEP.to_string()} max="100" step={PERCENT_STEP.to_string()}
                value={now.to_string()} onchange={choose} aria-valuetext={format!("{now} %")} />
            <span class="number">{ format!("{now} %") }</span>
        </span>
    };
    field(id, label, control)
}

fn amount(
    props: &ChoicesProps,
    id: &'static str,
    label: String,
    amounts: &[u64],
    now: u64,
    change: impl Fn(&mut Limits, u64) + 'static,
) -> Html {
    let mut amounts = amounts.to_vec();
    if !amounts.contains(&now) {
        // Chosen by the page's address.
        amounts.push(now);
        amounts.sort_unstable();
    }
    let one = |bytes: u64| {
        html! { <option value={bytes.to_string()} selected={bytes == now}>{ numbers::memory(bytes >> 20) }</option> }
    };
    let choose = changed(props, |event| value(event).parse().ok(), change);
    let select = html! {
        <select {id} data-testid={id} onchange={choose}>{ for amounts.into_iter().map(one) }</select>
    };
    field(id, label, select)
}

fn minutes(props: &ChoicesProps) -> Html {
    let now = props.limits.minutes;
    let one = |minutes: Option<u32>| {
        let text = match minutes {
            Some(minutes) => say!("minutes", minutes = minutes),
            None => say!("minutes-none"),
        };
        let name = minutes.map(|minutes| minutes.to_string()).unwrap_or_default();
        html! { <option value={name} selected={minutes == now}>{ text }</option> }
    };
    let choose = changed(
        props,
        |event| Some(value(event).parse().ok()),
        |limits, minutes| {
            limits.minutes = minutes;
        },
    );
    let select = html! {
        <select id="minutes-choice" data-testid="minutes-choice" onchange={choose}>{ for MINUTES.into_iter().map(one) }</select>
    };
    field("minutes-choice", say!("choose-minutes"), select)
}

fn days(props: &ChoicesProps) -> Html {
    let now = props.days;
    let one = |days: u16| {
        html! {
            <option value={days.to_string()} selected={days == now}>{ say!("days", days = u32::from(days)) }</option>
        }
    };
    let choose = props
        .dispatch
        .reform(move |event: Event| Action::ChooseDays(value(&event).parse().unwrap_or(now)));
    let select = html! {
        <select id="days-choice" data-testid="days-choice" onchange={choose}>{ for DAYS.into_iter().map(one) }</select>
    };
    field("days-choice", say!("choose-days"), select)
}

fn check(
    props: &ChoicesProps,
    id: &'static str,
    label: String,
    now: bool,
    change: impl Fn(&mut Limits, bool) + 'static,
) -> Html {
    let choose = changed(props, |event| Some(input(event)?.checked()), change);
    html! {
        <label class="check"><input {id} data-testid={id} type="checkbox" checked={now} onchange={choose} />{ label }</label>
    }
}

/// What was chosen.
pub(super) fn value(event: &Event) -> String {
    let select = event.target().and_then(|target| target.dyn_into::<HtmlSelectElement>().ok());
    select.map(|select| select.value()).unwrap_or_default()
}

fn input(event: &Event) -> Option<HtmlInputElement> {
    event.target()?.dyn_into().ok()
}
