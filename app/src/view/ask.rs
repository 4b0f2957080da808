//! The form in which a question is put.

use potluck_protocol::api::ModelView;
use potluck_protocol::sampling::{MAX_TEMPERATURE_MILLI, MIN_TEMPERATURE_MILLI};
use wasm_bindgen::JsCast;
use web_sys::{HtmlInputElement, HtmlTextAreaElement};
use yew::{
    Callback, Event, Html, InputEvent, KeyboardEvent, Properties, SubmitEvent, function_component,
    html,
};

use crate::browser;
use crate::say;
use crate::state::Action;
use crate::state::asking::Asking;
use crate::state::numbers;
use crate::view::unfold::{Draw, Unfold};
use crate::view::who::WhoProps;

/// Properties of [`AskForm`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct AskFormProps {
    pub(super) asking: Asking,
    /// The model that is asked.
    pub(super) model: Option<ModelView>,
    /// True if asking is the one thing to do: the visitor lends already.
    pub(super) is_main_action: bool,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn AskForm(props: &AskFormProps) -> Html {
    let asking = &props.asking;
    let dispatch = &props.dispatch;
    let ask =
        || Action::Ask { random_seed: browser::random_seed(), asked_at_s: browser::local_time_s() };
    let submit = dispatch.reform(move |event: SubmitEvent| {
        event.prevent_default();
        ask()
    });
    let type_prompt = dispatch.reform(|event: InputEvent| Action::TypePrompt(typed(&event)));
    // A field may be cleared or filled in without a key, by a password manager or a test: that is a
    // change without an input.
    let change_prompt = dispatch.reform(|event: Event| Action::TypePrompt(typed(&event)));
    let on_key = {
        let dispatch = dispatch.clone();
        Callback::from(move |event: KeyboardEvent| {
            // While an input method composes, Enter belongs to it.
            if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
                event.prevent_default();
                dispatch.emit(ask());
            }
        })
    };
    let cancel = dispatch.reform(|_| Action::Cancel);
    let open = asking.is_open();
    let can_ask = !open && !asking.prompt.trim().is_empty();
    html! {
        <form onsubmit={submit}>
            <label for="prompt">{ say!("ask-label") }</label>
            <textarea id="prompt" data-testid="prompt" rows="3" dir="auto" value={asking.prompt.clone()} oninput={type_prompt}
                onchange={change_prompt} onkeydown={on_key} aria-describedby="prompt-hint" />
            <div class="row">
                <button type="submit" class={if props.is_main_action { "act" } else { "plain" }} data-testid="ask"
                    disabled={!can_ask}>{ say!("ask-button") }</button>
                if open {
                    <button type="button" class="plain" data-testid="cancel" onclick={cancel}>{ say!("cancel-button") }</button>
                }
                <span id="prompt-hint" class="soft">{ say!("ask-hint") }</span>
            </div>
            <div role="alert">
                if let Some(problem) = &asking.input_problem {
                    <p class="bad"><span aria-hidden="true">{ "✕ " }</span>{ problem.clone() }</p>
                }
            </div>
            { who(props) }
            <Unfold summary={say!("sampling")} hook="sampling" draw={sampling_later(props)} />
        </form>
    }
}

/// Who computes it, drawn once it is opened.
fn who(props: &AskFormProps) -> Html {
    let (part, model) = (props.asking.part, props.model.clone());
    let dispatch = props.dispatch.clone();
    let draw = Draw::new(move |it| {
        (it.who)(&WhoProps { part, model: model.clone(), dispatch: dispatch.clone() })
    });
    html! { <Unfold summary={say!("who")} hook="who" {draw} /> }
}

fn sampling_later(props: &AskFormProps) -> Draw {
    let props = props.clone();
    Draw::new(move |it| (it.sampling)(&props))
}

/// Temperature and seed. Text fields, because number fields lose what is typed with the other
/// decimal sign.
pub(super) fn sampling(props: &AskFormProps) -> Html {
    let type_temperature =
        props.dispatch.reform(|event: InputEvent| Action::TypeTemperature(typed(&event)));
    let change_temperature =
        props.dispatch.reform(|event: Event| Action::TypeTemperature(typed(&event)));
    let type_seed = props.dispatch.reform(|event: InputEvent| Action::TypeSeed(typed(&event)));
    let change_seed = props.dispatch.reform(|event: Event| Action::TypeSeed(typed(&event)));
    let range = say!(
        "temperature-hint",
        least = numbers::temperature(MIN_TEMPERATURE_MILLI),
        most = numbers::temperature(MAX_TEMPERATURE_MILLI),
    );
    html! {
        <div class="fields">
                <label for="temperature-input">{ say!("temperature") }</label>
                <input id="temperature-input" data-testid="temperature-input" type="text" inputmode="decimal" autocomplete="off"
                    value={props.asking.temperature.clone()} oninput={type_temperature} onchange={change_temperature}
                    aria-describedby="temperature-hint" />
                <p id="temperature-hint" class="soft">{ range }</p>
                <label for="seed-input">{ say!("seed") }</label>
                <input id="seed-input" data-testid="seed-input" type="text" inputmode="numeric" autocomplete="off"
                    value={props.asking.seed.clone()} oninput={type_seed} onchange={change_seed}
                    aria-describedby="seed-hint" />
                <p id="seed-hint" class="soft">{ say!("seed-hint") }</p>
        </div>
    }
}

/// What the field holds now.
pub(super) fn typed(event: &Event) -> String {
    let Some(target) = event.target() else { return String::new() };
    match target.dyn_into::<HtmlTextAreaElement>() {
        Ok(area) => area.value(),
        Err(target) => {
            target.dyn_into::<HtmlInputElement>().map(|input| input.value()).unwrap_or_default()
        }
    }
}
