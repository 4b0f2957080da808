//! The widget in other sites' pages, once its visitor has said yes: what is lent, for whom, how much,
//! and the way out.
//!
//! Asking is not here: that is `static/embed.html`, which fetches nothing of this before the click
//! that it waits for. So this begins to lend as soon as it runs, with the state, store and worker of
//! the page. Its style is that document's. What it is in, `data-state` says, and the document passes
//! on to the page around.
//!
//! Plain functions draw it, as every component more is a kilobyte for all who only look at the page.

mod lending;

use yew::{Callback, Html, function_component, use_effect_with, use_state};

use crate::later::later;
use crate::state::lending::Intent;
use crate::state::{Action, State};
use crate::store::use_store;
use crate::view::AppProps;

/// The widget, from the click on.
#[function_component]
pub fn Widget(props: &AppProps) -> Html {
    let (state, dispatch) = use_store(&props.platform);
    let has_begun = use_state(|| false);
    {
        let (has_begun, dispatch) = (has_begun.clone(), dispatch.clone());
        use_effect_with((), move |()| {
            has_begun.set(true);
            dispatch.emit(Action::Lend);
        });
    }
    later(&dispatch, |it| (it.widget)(&state, *has_begun, &dispatch))
}

/// What it shows.
pub(crate) fn face(state: &State, has_begun: bool, dispatch: &Callback<Action>) -> Html {
    let volunteer = &state.volunteer;
    let problem = state.problem.as_ref().map(|problem| &*problem.text);
    if let Some(text) = problem.or_else(|| volunteer.failure()) {
        lending::failed(text, dispatch)
    } else if has_begun && volunteer.intent == Intent::No {
        lending::stopped(dispatch)
    } else {
        lending::lent(volunteer, state.link.as_ref(), dispatch)
    }
}
