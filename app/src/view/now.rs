//! What goes on just now, in a line: which model, how many answers, how many computers.

use std::rc::Rc;

use potluck_protocol::api::ModelView;
use yew::{Html, Properties, function_component, html};

use super::people::about;
use crate::say;
use crate::state::swarm::Swarm;

/// Properties of [`Now`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct NowProps {
    pub(super) swarm: Rc<Swarm>,
    /// True once the server has answered.
    pub(super) known: bool,
    /// The model one would lend for.
    pub(super) model: Option<ModelView>,
}

#[function_component]
pub(super) fn Now(props: &NowProps) -> Html {
    let (swarm, totals) = (&props.swarm, &props.swarm.totals);
    let model = props.model.as_ref().map_or_else(|| say!("now-model-unknown"), about);
    let (answers, computers) = if props.known {
        (
            say!("now-answers-value", sessions = swarm.sessions),
            say!("now-computers-value", nodes = totals.nodes),
        )
    } else {
        (say!("now-unknown"), say!("now-unknown"))
    };
    html! {
        <section class="now" aria-label={say!("now-title")}>
            <dl data-testid="now">
                <div>
                    <dt>{ say!("now-model") }</dt>
                    <dd>{ model }</dd>
                </div>
                <div>
                    <dt>{ say!("now-answers") }</dt>
                    <dd>
                        { answers }
                        if swarm.waiting > 0 {
                            <span class="soft block">{ say!("now-waiting", waiting = swarm.waiting) }</span>
                        }
                    </dd>
                </div>
                <div>
                    <dt>{ say!("now-computers") }</dt>
                    <dd>
                        { computers }
                        if totals.nodes > 0 {
                            <span class="soft block">
                                { say!("now-computers-kinds", browsers = totals.browsers, natives = totals.natives) }
                            </span>
                        }
                    </dd>
                </div>
            </dl>
        </section>
    }
}
