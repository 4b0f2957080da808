//! What a volunteer may choose before lending: what computes, and how much memory it may use.

use potluck_protocol::page::BackendPreference;
use wasm_bindgen::JsCast;
use web_sys::HtmlSelectElement;
use yew::{Callback, Event, Html, Properties, function_component, html};

use crate::state::Action;
use crate::state::numbers;
use crate::state::options::DEFAULT_MEMORY_MIB;

/// Amounts of memory to choose from, MiB.
const MEMORY_MIB: [u64; 5] = [256, 512, DEFAULT_MEMORY_MIB, 2048, 4096];
const BACKENDS: [(BackendPreference, &str, &str); 3] = [
    (BackendPreference::Auto, "auto", "The graphics processor if there is one, else the CPU"),
    (BackendPreference::Gpu, "gpu", "The graphics processor (WebGPU)"),
    (BackendPreference::Cpu, "cpu", "The CPU"),
];

/// Properties of [`Choices`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct ChoicesProps {
    pub(super) backend: BackendPreference,
    pub(super) memory_mib: u64,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn Choices(props: &ChoicesProps) -> Html {
    let choose_backend = props.dispatch.reform(|event: Event| {
        let chosen = value(&event);
        let backend =
            BACKENDS.iter().find(|(_, name, _)| *name == chosen).map(|(backend, _, _)| *backend);
        Action::ChooseBackend(backend.unwrap_or_default())
    });
    let choose_memory = props.dispatch.reform(|event: Event| {
        Action::ChooseMemory(value(&event).parse().unwrap_or(DEFAULT_MEMORY_MIB))
    });
    let mut amounts = MEMORY_MIB.to_vec();
    if !amounts.contains(&props.memory_mib) {
        // Chosen by the page's address.
        amounts.push(props.memory_mib);
        amounts.sort_unstable();
    }
    let backend = |(backend, name, text): &(BackendPreference, &'static str, &'static str)| {
        html! { <option value={*name} selected={*backend == props.backend}>{ *text }</option> }
    };
    let memory = |mib: u64| {
        html! { <option value={mib.to_string()} selected={mib == props.memory_mib}>{ numbers::memory(mib) }</option> }
    };
    html! {
        <details>
            <summary>{ "What may be used" }</summary>
            <div class="fields">
                <label for="backend-choice">{ "Compute with" }</label>
                <select id="backend-choice" data-testid="backend-choice" onchange={choose_backend}>
                    { for BACKENDS.iter().map(backend) }
                </select>
                <label for="memory-choice">{ "Memory at most" }</label>
                <select id="memory-choice" data-testid="memory-choice" onchange={choose_memory}>
                    { for amounts.into_iter().map(memory) }
                </select>
            </div>
        </details>
    }
}

/// What was chosen.
fn value(event: &Event) -> String {
    let select = event.target().and_then(|target| target.dyn_into::<HtmlSelectElement>().ok());
    select.map(|select| select.value()).unwrap_or_default()
}
