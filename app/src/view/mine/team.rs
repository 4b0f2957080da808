//! The team that a person is in, with its link, or the way to make one; and an invitation to one.

use potluck_protocol::id::TeamId;
use potluck_protocol::people::{OwnTeam, PersonView, Says};
use yew::use_effect_with;
use yew::{Callback, Html, InputEvent, Properties, SubmitEvent, function_component, html};

use super::name::shown;
use crate::say;
use crate::state::mine::{self, MineAction};
use crate::state::numbers;
use crate::view::ask::typed;

/// Properties of [`Team`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct TeamProps {
    pub(super) person: Option<PersonView>,
    /// The name of one to be made, as typed so far.
    pub(super) typed: String,
    /// Address of the page's folder.
    pub(super) server: String,
    pub(super) dispatch: Callback<MineAction>,
}

#[function_component]
pub(super) fn Team(props: &TeamProps) -> Html {
    match props.person.as_ref().and_then(|person| person.team.as_ref()) {
        Some(team) => own(props, team),
        None => make(props),
    }
}

fn own(props: &TeamProps, team: &OwnTeam) -> Html {
    let leave = props.dispatch.reform(|_| MineAction::Say(Says::Leave));
    html! {
        <div class="part">
            <h3>{ say!("team-title") }</h3>
            <p>
                <bdi data-testid="team-name">{ team.name.clone() }</bdi>
                { say!("team-members", members = team.members, credit = numbers::gmac(team.credit_macs)) }
            </p>
            <div class="field">
                <label for="team-link">{ say!("team-link") }</label>
                <input id="team-link" data-testid="team-link" type="text" readonly=true dir="ltr" value={team.id.link(&props.server)} />
            </div>
            <div class="row">
                <button type="button" class="plain" data-testid="team-leave" onclick={leave}>{ say!("team-leave") }</button>
                <span class="soft">{ say!("team-leave-hint") }</span>
            </div>
        </div>
    }
}

fn make(props: &TeamProps) -> Html {
    let name = shown(&props.typed);
    let type_name = props.dispatch.reform(|event: InputEvent| MineAction::TypeTeam(typed(&event)));
    let make = {
        let (dispatch, name) = (props.dispatch.clone(), name.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if let Some(name) = name.clone() {
                dispatch.emit(MineAction::Say(Says::Make { name }));
            }
        })
    };
    html! {
        <form onsubmit={make}>
            <h3>{ say!("team-title") }</h3>
            <p class="soft">{ say!("team-what") }</p>
            <div class="field">
                <label for="team-input">{ say!("team-label") }</label>
                <input id="team-input" data-testid="team-input" type="text" dir="auto" autocomplete="off"
                    value={props.typed.clone()} oninput={type_name} />
            </div>
            <div class="row">
                <button class="plain" data-testid="team-make" disabled={name.is_none()}>{ say!("team-make") }</button>
            </div>
        </form>
    }
}

/// Properties of [`Invited`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct InvitedProps {
    pub(super) mine: mine::Mine,
    /// The team that the page's address invites to.
    pub(super) invited: Option<TeamId>,
    pub(super) dispatch: Callback<MineAction>,
}

/// Until it is accepted.
#[function_component]
pub(super) fn Invited(props: &InvitedProps) -> Html {
    {
        let dispatch = props.dispatch.clone();
        use_effect_with(props.invited.is_some(), move |is_invited| {
            if *is_invited {
                dispatch.emit(MineAction::LookAtTeam);
            }
        });
    }
    let own = props.mine.person.as_ref().and_then(|person| person.team.as_ref());
    let is_in = own.is_some_and(|team| Some(team.id) == props.invited);
    let Some(team) = props.mine.invitation.as_ref().filter(|_| !is_in) else {
        return Html::default();
    };
    let join = props.dispatch.reform(|_| MineAction::Join);
    html! {
        <div class="row">
            <span data-testid="team-invitation">
                { say!("team-invited") }{ " " }<bdi>{ team.name.clone() }</bdi>{ say!("team-invited-members", members = team.members) }
            </span>
            <button type="button" class="plain" data-testid="team-join" onclick={join}>{ say!("team-join") }</button>
        </div>
    }
}
