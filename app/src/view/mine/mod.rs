//! What is the visitor's own: their name, team, receipts and key, and their place among others. One
//! component, shown whole only after a click.

mod boards;
mod key;
mod name;
mod receipts;
mod team;

use potluck_protocol::id::{NodeId, TeamId};
use yew::{Callback, Html, Properties, function_component, html};

use crate::later::later;
use crate::say;
use crate::state::Action;
use crate::state::mine::{self, MineAction};

use boards::Boards;
use key::Key;
use name::Name;
use receipts::Receipts;
use team::{Invited, Team};

/// Properties of [`Mine`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct MineProps {
    pub(super) mine: mine::Mine,
    /// Has it drawn anew when the part comes that draws what is behind the button.
    pub(super) parts: u32,
    /// This tab.
    pub(super) node: Option<NodeId>,
    /// Address of the page's folder.
    pub(super) server: String,
    /// The page is in a room, where there are no teams.
    pub(super) is_in_room: bool,
    /// The team that the page's address invites to.
    pub(super) invited: Option<TeamId>,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn Mine(props: &MineProps) -> Html {
    let mine = &props.mine;
    let dispatch = props.dispatch.reform(Action::Mine);
    let toggle = dispatch.reform(|_| MineAction::Toggle);
    let words = if mine.is_open { say!("mine-close") } else { say!("mine-open") };
    html! {
        <section class="card" aria-labelledby="mine-title">
            <h2 id="mine-title">{ say!("mine-title") }</h2>
            <Invited mine={mine.clone()} invited={props.invited.filter(|_| !props.is_in_room)} dispatch={dispatch.clone()} />
            if !mine.is_open {
                <p>{ say!("mine-what") }</p>
            }
            <div class="row">
                <button type="button" class="plain" data-testid="mine-open" aria-expanded={mine.is_open.to_string()}
                    onclick={toggle}>{ words }</button>
            </div>
            // The regions are there before their words, else screen readers miss them.
            <div role="status" data-testid="mine-done">
                if let Some(done) = &mine.done {
                    <p class="ok"><span aria-hidden="true">{ "✓ " }</span>{ done.clone() }</p>
                }
            </div>
            <div role="alert" data-testid="mine-failure">
                if let Some(failure) = &mine.failure {
                    <p class="bad"><span aria-hidden="true">{ "✕ " }</span>{ failure.clone() }</p>
                }
            </div>
            if mine.is_open {
                { later(&props.dispatch, |it| (it.mine)(props)) }
            }
        </section>
    }
}

/// What is behind the button.
pub(super) fn opened(props: &MineProps) -> Html {
    let mine = &props.mine;
    let dispatch = props.dispatch.reform(Action::Mine);
    html! {
        <>
            if let Some(node) = props.node {
                <Name person={mine.person.clone()} typed={mine.typed_name.clone()} {node} dispatch={dispatch.clone()} />
                if !props.is_in_room {
                    <Team person={mine.person.clone()} typed={mine.typed_team.clone()} server={props.server.clone()}
                        dispatch={dispatch.clone()} />
                }
                <Receipts page={mine.receipts.clone()} {node} dispatch={dispatch.clone()} />
            } else {
                <p class="soft">{ say!("mine-no-node") }</p>
            }
            <Key mine={mine.clone()} node={props.node} dispatch={dispatch.clone()} />
            <Boards mine={mine.clone()} node={props.node} is_in_room={props.is_in_room} {dispatch} />
        </>
    }
}
