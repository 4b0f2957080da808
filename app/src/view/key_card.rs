//! The key of this browser's node: what it is, and what can be done with it.

use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::HtmlInputElement;
use yew::{Callback, Event, Html, Properties, function_component, html};

use crate::say;
use crate::state::Action;
use crate::state::key::Key;

/// Properties of [`KeyCard`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct KeyCardProps {
    pub(super) state: Key,
    /// A worker has it.
    pub(super) is_in_use: bool,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn KeyCard(props: &KeyCardProps) -> Html {
    let save = props.dispatch.reform(|_| Action::SaveKey);
    let forget = props.dispatch.reform(|_| Action::ForgetKey);
    let dispatch = props.dispatch.clone();
    let restore = Callback::from(move |event: Event| read_chosen(&event, dispatch.clone()));
    html! {
        <section class="card" aria-labelledby="key-title">
            <h2 id="key-title">{ say!("key-title") }</h2>
            <p>{ say!("key-what") }</p>
            <div class="row">
                <button type="button" class="plain" data-testid="key-save" onclick={save}>{ say!("key-save-button") }</button>
                if !props.is_in_use {
                    <button type="button" class="plain" data-testid="key-forget" onclick={forget}>
                        { if props.state.is_forgetting { say!("key-forget-sure-button") } else { say!("key-forget-button") } }
                    </button>
                }
            </div>
            if props.is_in_use {
                <p class="soft">{ say!("key-in-use") }</p>
            } else {
                <div class="field">
                    <label for="key-file">{ say!("key-restore") }</label>
                    <input id="key-file" data-testid="key-file" type="file" accept=".txt,text/plain" onchange={restore} />
                </div>
            }
            <p class="soft">{ say!("key-save-hint") }</p>
            <div role="status">
                if props.state.is_forgetting {
                    <p class="warn"><span aria-hidden="true">{ "▲ " }</span>{ say!("key-forget-sure") }</p>
                }
                if let Some(said) = &props.state.said {
                    <p class={if said.is_ok() { "ok" } else { "bad" }} data-testid="key-said">
                        <span aria-hidden="true">{ if said.is_ok() { "✓ " } else { "✕ " } }</span>
                        { said.clone().unwrap_or_else(|reason| reason) }
                    </p>
                }
            </div>
        </section>
    }
}

/// Reads the file that was chosen.
fn read_chosen(event: &Event, dispatch: Callback<Action>) {
    let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
    let Some(file) = input.and_then(|input| input.files()?.get(0)) else { return };
    spawn_local(async move {
        let text = JsFuture::from(file.text()).await.ok().and_then(|text| text.as_string());
        dispatch.emit(Action::RestoreKey(text.unwrap_or_default()));
    });
}
