//! Rooms: the one that this page is in, with its invitation, or the ways to get into one.

mod door;
mod picture;

use potluck_protocol::api::ModelView;
use potluck_protocol::invitation::Invitation;
use potluck_protocol::room::ModelTag;
use yew::{Callback, Event, Html, Properties, function_component, html};

use self::door::LetIn;
pub(super) use self::door::{ComeInProps, come_in};
use self::picture::picture;
use crate::browser;
use crate::say;
use crate::state::Action;
use crate::state::door::{Door, DoorAction};
use crate::view::choices::value;
use crate::view::unfold::{Draw, Unfold};

/// What [`in_room`] draws.
#[derive(Clone, Debug)]
pub(super) struct InRoomProps {
    pub(super) room: Invitation,
    /// The server's page.
    pub(super) server: String,
    /// Who is connected in it, once that is known.
    pub(super) connected: Option<u32>,
    pub(super) door: Door,
    /// The page may put a text where it can be pasted from.
    pub(super) is_secure: bool,
    pub(super) dispatch: Callback<Action>,
}

pub(super) fn in_room(props: &InRoomProps) -> Html {
    let leave = props.dispatch.reform(|_| Action::LeaveRoom);
    // One's own pass is of no use to anybody else.
    let link = props.room.with(None).link(&props.server);
    let copy = {
        let link = link.clone();
        Callback::from(move |_| browser::copy(&link))
    };
    html! {
        <section class="card room" aria-labelledby="room-title">
            <div>
                <h2 id="room-title" data-testid="in-room">{ say!("room-in-title", name = props.room.room().name()) }</h2>
                if let Some(connected) = props.connected {
                    <p data-testid="room-members">{ say!("room-members", connected = connected) }</p>
                }
                <p>{ if props.room.keeper.is_some() { say!("room-in-list") } else { say!("room-in-what") } }</p>
                <div class="field">
                    <label for="room-link">{ say!("room-link") }</label>
                    <input id="room-link" data-testid="room-link" type="text" readonly=true dir="ltr" value={link.clone()} />
                </div>
                <div class="row">
                    if props.is_secure {
                        <button type="button" class="plain" data-testid="room-copy" onclick={copy}>{ say!("room-copy-button") }</button>
                    }
                    <button type="button" class="plain" data-testid="room-leave" onclick={leave}>{ say!("room-leave-button") }</button>
                </div>
                <LetIn door={props.door.clone()} room={props.room} server={props.server.clone()} dispatch={props.dispatch.clone()} />
            </div>
            { picture(&link) }
        </section>
    }
}

/// Properties of [`MakeRoom`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct MakeRoomProps {
    pub(super) door: Door,
    /// The server's.
    pub(super) models: Vec<ModelView>,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn MakeRoom(props: &MakeRoomProps) -> Html {
    let make = props.dispatch.reform(|_| Action::MakeRoom);
    html! {
        <section class="card" aria-labelledby="room-title">
            <h2 id="room-title">{ say!("room-title") }</h2>
            <p>{ say!("room-what") }</p>
            if props.models.len() > 1 {
                { choose_model(props) }
            }
            <div class="row">
                <button type="button" class="plain" data-testid="room-make" onclick={make}>{ say!("room-make-button") }</button>
            </div>
            <p class="soft">{ say!("room-make-hint") }</p>
            { come_in_later(props) }
        </section>
    }
}

/// How else one comes into a room, drawn once it is opened.
fn come_in_later(props: &MakeRoomProps) -> Html {
    let (door, dispatch) = (props.door.clone(), props.dispatch.clone());
    let draw = Draw::new(move |it| {
        (it.come_in)(&ComeInProps { door: door.clone(), dispatch: dispatch.clone() })
    });
    html! {
        <Unfold summary={say!("door-come-in-title")} hook="come-in" {draw} />
    }
}

/// Which model a room computes.
fn choose_model(props: &MakeRoomProps) -> Html {
    let choose = props.dispatch.reform(|event: Event| {
        let name = value(&event);
        Action::Door(DoorAction::ChooseModel((!name.is_empty()).then(|| ModelTag::of(&name))))
    });
    let first = props.models.first().map(|model| model.name.clone()).unwrap_or_default();
    let others = props.models.iter().skip(1).map(|model| {
        let selected = props.door.model == Some(ModelTag::of(&model.name));
        html! { <option value={model.name.clone()} {selected}>{ model.name.clone() }</option> }
    });
    html! {
        <div class="field">
            <label for="room-model">{ say!("room-model") }</label>
            <select id="room-model" data-testid="room-model" onchange={choose}>
                <option value="" selected={props.door.model.is_none()}>{ first }</option>
                { for others }
            </select>
        </div>
    }
}
