//! The part of the page's program that is fetched when it is first shown: what is drawn once
//! somebody lends, is in a room or opens a choice.
//!
//! A visitor who only looks never fetches it. What a function marked as `wasm_split` reaches, and
//! nothing else of the program does, is cut out of the wasm by our builder and put into a file of its
//! own; a build without the feature `split` (trunk's) has everything in one, and then nothing is
//! waited for.

use std::cell::Cell;

use yew::{Callback, Html, Properties, function_component, html, use_effect_with, use_state};

use crate::state::Action;
use crate::view::{LATER, Later};
use crate::{say, words};

thread_local! {
    /// Once it is here.
    static HERE: Cell<Option<&'static Later>> = const { Cell::new(None) };
}

#[cfg(all(feature = "split", target_arch = "wasm32"))]
mod split {
    #![allow(unsafe_code, reason = "a split function comes from another wasm file")]

    use wasm_split_helpers::{SplitLoaderError, wasm_split};

    use crate::view::{LATER, Later};
    use crate::words;

    /// What is reached only by it is in the program's later part.
    #[wasm_split(later, fallible)]
    pub(super) fn later() -> Result<&'static Later, SplitLoaderError> {
        words::learn_now(words::ENGLISH_LATER);
        Ok(&LATER)
    }
}

/// The later part, fetched if it is not here yet; none if it cannot be had now.
pub(crate) async fn fetched() -> Option<&'static Later> {
    if let here @ Some(_) = HERE.get() {
        return here;
    }
    #[cfg(all(feature = "split", target_arch = "wasm32"))]
    let here = split::later().await.ok();
    #[cfg(not(all(feature = "split", target_arch = "wasm32")))]
    let here = {
        arrived();
        here()
    };
    HERE.set(here);
    here
}

/// Said by what came with the later part, and by nothing else: it would be cut out no more.
pub fn arrived() {
    words::learn_now(words::ENGLISH_LATER);
    HERE.set(Some(&LATER));
}

/// The later part, if it is here.
pub(crate) fn here() -> Option<&'static Later> {
    HERE.get()
}

/// What `draw` makes of the later part; until it is here, a word that it comes.
pub(crate) fn later(dispatch: &Callback<Action>, draw: impl FnOnce(&Later) -> Html) -> Html {
    match here() {
        Some(here) => draw(here),
        None => html! { <Awaited dispatch={dispatch.clone()} /> },
    }
}

#[derive(Clone, Debug, PartialEq, Properties)]
struct AwaitedProps {
    dispatch: Callback<Action>,
}

/// Fetches the later part by being shown, and says so; where it cannot be had, offers to try again.
#[function_component]
fn Awaited(props: &AwaitedProps) -> Html {
    let failed = use_state(|| false);
    let attempt = use_state(|| 0_u32);
    {
        let (failed, dispatch) = (failed.clone(), props.dispatch.clone());
        use_effect_with(*attempt, move |_| {
            wasm_bindgen_futures::spawn_local(async move {
                if fetched().await.is_some() {
                    dispatch.emit(Action::PartArrived);
                } else {
                    failed.set(true);
                }
            });
        });
    }
    if *failed {
        let again = Callback::from(move |_| {
            failed.set(false);
            attempt.set(*attempt + 1);
        });
        html! {
            <p class="bad" role="alert">
                { say!("part-missing") }
                <button type="button" class="plain" onclick={again}>{ say!("part-again-button") }</button>
            </p>
        }
    } else {
        html! { <p class="soft" role="status">{ say!("part-coming") }</p> }
    }
}
