//! The one place where something that went wrong is shown, and that the server has a newer page: what
//! happened, whether anything was lost, what to do.

use yew::{Callback, Html, Properties, function_component, html};

use crate::say;
use crate::state::Action;
use crate::state::problem::Problem;

/// Properties of [`ProblemCard`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct ProblemCardProps {
    /// What went wrong; `None` if all is well.
    pub(super) problem: Option<Problem>,
    /// The server has another page than this one.
    pub(super) is_old: bool,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn ProblemCard(props: &ProblemCardProps) -> Html {
    let dismiss = props.dispatch.reform(|_| Action::DismissProblem);
    let wants_reload = props.problem.as_ref().is_some_and(|problem| problem.wants_reload);
    // The regions are there before their words, else screen readers miss them.
    html! {
        <>
            <div role="alert" class="problem-place">
                if let Some(problem) = &props.problem {
                    <div class="problem">
                        <span class="mark" aria-hidden="true">{ "!" }</span>
                        <p data-testid="notice">{ problem.text.clone() }</p>
                        <span class="row">
                            if problem.wants_reload {
                                { reload(&props.dispatch) }
                            }
                            <button type="button" class="quiet" onclick={dismiss}>{ say!("close-button") }</button>
                        </span>
                    </div>
                }
            </div>
            <div role="status">
                if props.is_old && !wants_reload {
                    <div class="problem newer">
                        <span class="mark" aria-hidden="true">{ "▲" }</span>
                        <p data-testid="newer">
                            { say!("newer-page") }
                        </p>
                        { reload(&props.dispatch) }
                    </div>
                }
            </div>
        </>
    }
}

/// Never without a click: that would stop a volunteer and break off an answer.
fn reload(dispatch: &Callback<Action>) -> Html {
    let reload = dispatch.reform(|_| Action::Reload);
    html! {
        <button type="button" class="plain" data-testid="reload" onclick={reload}>{ say!("reload-button") }</button>
    }
}
