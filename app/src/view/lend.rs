//! The card of a volunteer: one button, what it does said before it is pressed, and **Stop**
//! afterwards.

use potluck_protocol::api::ModelView;
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{LendingPhase, Link};
use yew::{Callback, Html, Properties, function_component, html};

use super::choices::ChoicesProps;
use super::lending::LendingStatusProps;
use super::unfold::{Draw, Unfold};
use crate::later::later;
use crate::say;
use crate::state::Action;
use crate::state::lending::Volunteer;
use crate::state::numbers;

/// Properties of [`LendCard`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct LendCardProps {
    pub(super) volunteer: Volunteer,
    /// Has it drawn anew when the part comes that draws what is lent.
    pub(super) parts: u32,
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
            <h2 id="lend-title">{ if lending { say!("lending-title") } else { say!("lend-title") } }</h2>
            if lending {
                { later(&props.dispatch, |it| (it.lending)(&LendingStatusProps {
                    volunteer: volunteer.clone(),
                    link: props.link.clone(),
                    node: props.node,
                    dispatch: props.dispatch.clone(),
                })) }
            } else {
                { offer(props) }
            }
            { choices(props) }
        </section>
    }
}

/// What one may choose, drawn once it is opened.
fn choices(props: &LendCardProps) -> Html {
    let (volunteer, dispatch) = (props.volunteer.clone(), props.dispatch.clone());
    let draw = Draw::new(move |it| {
        (it.choices)(&ChoicesProps {
            backend: volunteer.backend,
            limits: volunteer.limits.clone(),
            days: volunteer.days,
            is_lending: volunteer.is_lending(),
            dispatch: dispatch.clone(),
        })
    });
    html! { <Unfold summary={say!("choices")} hook="choices" {draw} /> }
}

fn offer(props: &LendCardProps) -> Html {
    let volunteer = &props.volunteer;
    let lend = props.dispatch.reform(|_| Action::Lend);
    let model = match &props.model {
        Some(model) if model.bytes > 0 => {
            say!(
                "offer-of-bytes",
                layers = model.layers,
                model = &model.name,
                bytes = numbers::bytes(model.bytes),
            )
        }
        Some(model) => say!("offer-of", layers = model.layers, model = &model.name),
        None => say!("offer-some"),
    };
    html! {
        <>
            <p>{ say!("offer", what = model) }</p>
            if !props.is_secure {
                <p class="warn">
                    <span aria-hidden="true">{ "▲ " }</span>
                    <span data-testid="insecure">{ say!("insecure") }</span>
                </p>
            }
            if let LendingPhase::Failed { reason } = &volunteer.lending.phase {
                <p class="bad" role="alert">
                    <span aria-hidden="true">{ "✕ " }</span>
                    <span data-testid="phase">{ volunteer.phase_text() }</span>
                    { say!("failed-because", reason = reason) }
                </p>
            } else {
                <p class="visually-hidden" data-testid="phase">{ volunteer.phase_text() }</p>
            }
            <p class="soft">{ share(volunteer) }</p>
            <button type="button" class="act" data-testid="lend" onclick={lend}>{ say!("lend-button") }</button>
        </>
    }
}

/// How much of the machine, in a sentence: what is agreed to is read before it is pressed.
fn share(volunteer: &Volunteer) -> String {
    let limits = &volunteer.limits;
    let minutes = match limits.minutes {
        Some(minutes) => say!("minutes", minutes = minutes),
        None => say!("minutes-none"),
    };
    say!(
        "offer-share",
        processor = u32::from(limits.processor_percent),
        gpu = u32::from(limits.gpu_percent),
        memory = numbers::memory(limits.memory_bytes >> 20),
        data = numbers::memory(limits.data_bytes_a_day >> 20),
        minutes = minutes,
    )
}
