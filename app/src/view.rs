//! What the page looks like: components that take props and dispatch actions, and decide nothing.
//!
//! Everything that came from a model or a peer is a text node; HTML is never made from text.

mod answer;
mod ask;
mod awake;
mod choices;
mod connection;
mod contribution;
mod crowd;
mod drawing;
mod header;
mod lend;
mod lending;
mod light;
mod logo;
pub mod map;
mod mine;
mod now;
mod people;
pub mod plot;
mod problem;
mod room;
mod tally;
mod ties;
mod unfold;
mod who;

use std::rc::Rc;

use potluck_protocol::api::ModelView;
use potluck_protocol::id::NodeId;
use potluck_protocol::page::{LendingPhase, StageView};
use yew::{Callback, Html, Properties, function_component, html, use_effect_with};

use crate::api::Listening;
use crate::browser;
use crate::later::later;
use crate::say;
use crate::sensors::{Sensors, WakeLock};
use crate::state::asking::Phase;
use crate::state::mine::MineEffect;
use crate::state::swarm::Swarm;
use crate::state::{Action, State};
use crate::store::{PlatformHandle, use_store};

pub(crate) use lending::{agreed, explanation};

use answer::Answer;
use ask::AskForm;
use crowd::Crowd;
use drawing::Drawing;
use header::Header;
use lend::LendCard;
use mine::Mine;
use now::Now;
use people::People;
use problem::ProblemCard;
use room::MakeRoom;
use tally::Tally;

/// What is drawn by functions that are fetched when they are first needed: [`later`](crate::later).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Later {
    lending: fn(&lending::LendingStatusProps) -> Html,
    choices: fn(&choices::ChoicesProps) -> Html,
    who: fn(&who::WhoProps) -> Html,
    sampling: fn(&ask::AskFormProps) -> Html,
    come_in: fn(&room::ComeInProps) -> Html,
    in_room: fn(&room::InRoomProps) -> Html,
    contribution: fn(&contribution::ContributionProps) -> Html,
    ties: fn(&map::Map, &Swarm, Option<NodeId>) -> [Html; 2],
    tie_words: fn(&Swarm, NodeId) -> Option<String>,
    mine: fn(&mine::MineProps) -> Html,
    /// Does what the visitor's own things want done.
    pub(crate) run_mine: fn(MineEffect, Callback<Action>),
    /// Turns the page's senses on.
    pub(crate) sense: fn(&Callback<Action>) -> Sensors,
    /// Keeps the screen on.
    pub(crate) hold_screen: fn() -> WakeLock,
    /// What the widget shows once its visitor has said yes.
    pub(crate) widget: fn(&State, bool, &Callback<Action>) -> Html,
}

/// All of them.
pub(crate) static LATER: Later = Later {
    lending: lending::lending_status,
    choices: choices::choices,
    who: who::who,
    sampling: ask::sampling,
    come_in: room::come_in,
    in_room: room::in_room,
    contribution: contribution::contribution,
    ties: ties::drawn,
    tie_words: ties::tie_words,
    mine: mine::opened,
    run_mine: crate::store::mine::run,
    sense: Sensors::start,
    hold_screen: WakeLock::hold,
    widget: crate::widget::face,
};

/// Properties of [`App`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct AppProps {
    /// What starts this tab's worker, and claims lending for it, when a click needs it.
    pub platform: PlatformHandle,
}

/// The page.
#[function_component]
pub fn App(props: &AppProps) -> Html {
    let (state, dispatch) = use_store(&props.platform);
    {
        let dispatch = dispatch.clone();
        use_effect_with((), move |()| {
            let listening = (Listening::start(dispatch), browser::follow_invitations());
            move || drop(listening)
        });
    }
    use_effect_with(work_steps(&state), |steps| browser::set_icon(&logo::icon(*steps)));
    // Drawn all anew in another language: no part is handed words.
    let language = state.language.tag();
    html! { <Page key={language} {state} {dispatch} /> }
}

#[derive(Clone, Debug, PartialEq, Properties)]
struct PageProps {
    state: Rc<State>,
    dispatch: Callback<Action>,
}

#[function_component]
fn Page(props: &PageProps) -> Html {
    let (state, dispatch) = (&*props.state, &props.dispatch);
    let model = state.model().cloned();
    let layers = model.as_ref().map_or(state.volunteer.lending.model_layers, |model| model.layers);
    let ties = state.ties.clone();
    let swarm = Rc::new(Swarm { ties, ..state.swarm.value.clone().unwrap_or_default() });
    let (route, tokens) = computing(state);
    html! {
        <>
            <Header link={state.link.clone()} steps={work_steps(state)} language={state.language} dispatch={dispatch.clone()} />
            <main id="main" tabindex="-1">
                <ProblemCard problem={state.problem.clone()} is_old={state.is_old} dispatch={dispatch.clone()} />
                if let Some(room) = state.opened.room {
                    { later(dispatch, |it| (it.in_room)(&room::InRoomProps {
                        room,
                        server: state.opened.server.clone(),
                        is_secure: state.opened.is_secure,
                        door: state.door.clone(),
                        connected: state.swarm.value.as_ref().map(|swarm| swarm.connected),
                        dispatch: dispatch.clone(),
                    })) }
                }
                <Now swarm={swarm.clone()} known={state.swarm.value.is_some()} model={model.clone()} />
                <div class="columns">
                    <div class="column">
                        <LendCard volunteer={state.volunteer.clone()} parts={state.parts} link={state.link.clone()} node={state.node}
                            model={model.clone()} is_secure={state.opened.is_secure} dispatch={dispatch.clone()} />
                        <section class="card" aria-labelledby="ask-title">
                            <h2 id="ask-title">{ say!("ask-title") }</h2>
                            <AskForm asking={state.asking.clone()} model={model.clone()} is_main_action={state.volunteer.is_lending()}
                                dispatch={dispatch.clone()} />
                            <Answer asking={state.asking.clone()} link={state.link.clone()} you={state.node} dispatch={dispatch.clone()} />
                        </section>
                    </div>
                    <section class="card" aria-labelledby="swarm-title">
                        <h2 id="swarm-title">{ say!("swarm-title") }</h2>
                        <Drawing swarm={swarm.clone()} model={model.as_ref().map(|model| model.name.clone())} {layers}
                            you={state.node} {route} {tokens} />
                        { people(state, swarm, model, dispatch) }
                    </section>
                </div>
                <div class="further">
                    if let (Some(view), Some(node)) = (&state.contribution, state.node) {
                        { later(dispatch, |it| (it.contribution)(&contribution::ContributionProps { view: view.clone(), node })) }
                    }
                    if state.opened.room.is_none() {
                        <MakeRoom door={state.door.clone()} models={state.models.clone()} dispatch={dispatch.clone()} />
                    }
                </div>
                <Mine mine={state.mine.clone()} parts={state.parts} node={state.node} server={state.opened.server.clone()}
                    is_in_room={state.opened.room.is_some()} invited={state.opened.team} dispatch={dispatch.clone()} />
                <Tally tally={state.tally.clone()} you={state.node} />
            </main>
        </>
    }
}

/// The drawing's facts as tables: of everyone, or of everyone together where they are many.
fn people(
    state: &State,
    swarm: Rc<Swarm>,
    model: Option<ModelView>,
    dispatch: &Callback<Action>,
) -> Html {
    let failure = state.swarm.failure.clone();
    if swarm.is_summed() {
        html! {
            <Crowd {swarm} {failure} {model} names={state.names.clone()} you={state.node} dispatch={dispatch.clone()} />
        }
    } else {
        html! { <People {swarm} known={state.swarm.value.is_some()} {failure} you={state.node} /> }
    }
}

/// Rises with every report of work done here; 0 unless this computer serves.
fn work_steps(state: &State) -> u64 {
    let lending = &state.volunteer.lending;
    if lending.phase == LendingPhase::Serving { lending.tokens } else { 0 }
}

/// Who computes this visitor's answer just now, and how many tokens of it there are.
fn computing(state: &State) -> (Vec<StageView>, u32) {
    match state.asking.latest() {
        Some(exchange) if exchange.phase == Phase::Computing => {
            (exchange.stages.clone(), exchange.tokens)
        }
        _ => (Vec::new(), 0),
    }
}
