//! Something that is drawn when it is first opened, by the later part of the page's program.

use std::rc::Rc;

use yew::{Callback, Html, Properties, function_component, html, use_force_update, use_state};

use super::Later;
use crate::later::later;
use crate::state::Action;

/// What draws it.
#[derive(Clone)]
pub(super) struct Draw(Rc<dyn Fn(&Later) -> Html>);

impl Draw {
    pub(super) fn new(draw: impl Fn(&Later) -> Html + 'static) -> Self {
        Self(Rc::new(draw))
    }
}

/// Drawn anew whenever what is around it is: what it closes over is not looked into.
impl PartialEq for Draw {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

/// Properties of [`Unfold`].
#[derive(Clone, PartialEq, Properties)]
pub(super) struct UnfoldProps {
    /// What it is called.
    pub(super) summary: String,
    /// What tests call it.
    pub(super) hook: &'static str,
    pub(super) draw: Draw,
}

#[function_component]
pub(super) fn Unfold(props: &UnfoldProps) -> Html {
    let was_opened = use_state(|| false);
    // Not by the event that says so, which does not bubble: Yew listens at the root.
    let open = {
        let was_opened = was_opened.clone();
        Callback::from(move |_| was_opened.set(true))
    };
    // What is around it is not drawn anew for it.
    let update = use_force_update();
    let arrived = Callback::from(move |_: Action| update.force_update());
    html! {
        <details>
            <summary data-testid={props.hook} onclick={open}>{ props.summary.clone() }</summary>
            if *was_opened {
                { later(&arrived, |it| (props.draw.0)(it)) }
            }
        </details>
    }
}
