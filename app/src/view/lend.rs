//! The card of a volunteer: one button, what it does said before it is pressed, and **Stop**
//! afterwards.

use potluck_protocol::api::ModelView;
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{LendingPhase, Link};
use yew::{Callback, Html, Properties, function_component, html};

use super::choices::Choices;
use super::lending::LendingStatus;
use crate::state::Action;
use crate::state::lending::Volunteer;
use crate::state::numbers;

/// Properties of [`LendCard`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct LendCardProps {
    pub(super) volunteer: Volunteer,
    /// The worker's link to the server.
    pub(super) link: Option<Link>,
    /// This tab.
    pub(super) node: Option<NodeId>,
    /// The model one would lend for.
    pub(super) model: Option<ModelView>,
    /// The page came over HTTPS, or from this machine.
    pub(super) is_secure: bool,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn LendCard(props: &LendCardProps) -> Html {
    let volunteer = &props.volunteer;
    let lending = volunteer.is_lending();
    html! {
        <section class="card" id="lend" aria-labelledby="lend-title">
            <h2 id="lend-title">{ if lending { "You sit at the table" } else { "Pull up a chair" } }</h2>
            if lending {
                <LendingStatus volunteer={volunteer.clone()} link={props.link.clone()} node={props.node}
                    dispatch={props.dispatch.clone()} />
            } else {
                { offer(props) }
            }
        </section>
    }
}

fn offer(props: &LendCardProps) -> Html {
    let volunteer = &props.volunteer;
    let lend = props.dispatch.reform(|_| Action::Lend);
    let model = match &props.model {
        Some(model) if model.bytes > 0 => {
            format!(
                "some of the {} layers of {} ({} in all)",
                model.layers,
                model.name,
                numbers::bytes(model.bytes)
            )
        }
        Some(model) => format!("some of the {} layers of {}", model.layers, model.name),
        None => "some layers of the model".to_owned(),
    };
    html! {
        <>
            <p>
                { format!("This tab fetches {model} and computes them for others until you press Stop or close it. ") }
                { "It uses this computer's processor and electricity. Nothing is installed, and nothing starts before you press." }
            </p>
            if !props.is_secure {
                <p class="warn">
                    <span aria-hidden="true">{ "▲ " }</span>
                    <span data-testid="insecure">
                        { "This page came without HTTPS, so the browser gives it no graphics processor and keeps no copies of what it fetched. " }
                        { "It computes on the CPU; opened by an https:// address it could use both." }
                    </span>
                </p>
            }
            if let LendingPhase::Failed { reason } = &volunteer.lending.phase {
                <p class="bad" role="alert">
                    <span aria-hidden="true">{ "✕ " }</span>
                    <span data-testid="phase">{ volunteer.phase_text() }</span>
                    { format!(": {reason}") }
                </p>
            } else {
                <p class="visually-hidden" data-testid="phase">{ volunteer.phase_text() }</p>
            }
            <button type="button" class="act" data-testid="lend" onclick={lend}>{ "Lend a hand" }</button>
            <Choices backend={volunteer.backend} memory_mib={volunteer.memory_mib} dispatch={props.dispatch.clone()} />
        </>
    }
}
