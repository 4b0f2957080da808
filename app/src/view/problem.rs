//! The one place where something that went wrong is shown: what happened, whether anything was lost,
//! what to do.

use yew::{Callback, Html, Properties, function_component, html};

use crate::state::Action;

/// Properties of [`Problem`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct ProblemProps {
    /// The message; `None` if all is well.
    pub(super) text: Option<String>,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn Problem(props: &ProblemProps) -> Html {
    let dismiss = props.dispatch.reform(|_| Action::DismissProblem);
    // The region is there before its words, else screen readers miss them.
    html! {
        <div role="alert" class="problem-place">
            if let Some(text) = &props.text {
                <div class="problem">
                    <span class="mark" aria-hidden="true">{ "!" }</span>
                    <p data-testid="notice">{ text.clone() }</p>
                    <button type="button" class="quiet" onclick={dismiss}>{ "Close" }</button>
                </div>
            }
        </div>
    }
}
