//! Keeping the screen on while this computer is lent: off until somebody asks for it.

use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::{Callback, Event, Html, Properties, function_component, html};

use crate::say;
use crate::state::Action;

/// Properties of [`Awake`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct AwakeProps {
    pub(super) keeps_awake: bool,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn Awake(props: &AwakeProps) -> Html {
    let choose = props.dispatch.reform(|event: Event| {
        let input = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
        Action::KeepAwake(input.is_some_and(|input| input.checked()))
    });
    html! {
        <label class="check">
            <input type="checkbox" data-testid="awake-choice" checked={props.keeps_awake} onchange={choose} />
            { say!("awake") }
        </label>
    }
}
