//! The name that a person chooses, if they want one.

use potluck_protocol::id::NodeId;
use potluck_protocol::name::{MAX_CHOSEN_LETTERS, chosen};
use potluck_protocol::people::{PersonView, Says};
use yew::{Callback, Html, InputEvent, Properties, SubmitEvent, function_component, html};

use crate::browser;
use crate::say;
use crate::state::mine::MineAction;
use crate::view::ask::typed;

/// Properties of [`Name`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct NameProps {
    pub(super) person: Option<PersonView>,
    /// As typed so far.
    pub(super) typed: String,
    /// This tab.
    pub(super) node: NodeId,
    pub(super) dispatch: Callback<MineAction>,
}

#[function_component]
pub(super) fn Name(props: &NameProps) -> Html {
    let name = shown(&props.typed);
    let type_name = props.dispatch.reform(|event: InputEvent| MineAction::TypeName(typed(&event)));
    let use_name = {
        let (dispatch, name) = (props.dispatch.clone(), name.clone());
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if let Some(name) = name.clone() {
                dispatch.emit(MineAction::Say(Says::Name { name }));
            }
        })
    };
    let take_back = props.dispatch.reform(|_| MineAction::Say(Says::Name { name: String::new() }));
    let called = props.person.as_ref().and_then(|person| person.called.clone());
    html! {
        <form onsubmit={use_name}>
            <h3>{ say!("name-title") }</h3>
            <p class="soft">{ say!("name-what", name = props.node.name(), short = props.node.short()) }</p>
            <div class="field">
                <label for="name-input">{ say!("name-label") }</label>
                <input id="name-input" data-testid="name-input" type="text" dir="auto" autocomplete="nickname"
                    maxlength={(4 * MAX_CHOSEN_LETTERS).to_string()} value={props.typed.clone()} oninput={type_name}
                    aria-describedby="name-hint" />
            </div>
            <p id="name-hint" class="soft">{ say!("name-hint", letters = MAX_CHOSEN_LETTERS) }</p>
            <div class="row">
                <button class="plain" data-testid="name-use" disabled={name.is_none() || name == called}>
                    { say!("name-use") }
                </button>
                if let Some(called) = &called {
                    <button type="button" class="quiet" data-testid="name-back" onclick={take_back}>{ say!("name-back") }</button>
                    <span>{ say!("name-is") }{ " " }<bdi data-testid="name-now">{ called.clone() }</bdi></span>
                }
            </div>
        </form>
    }
}

/// What is typed as it would be shown to others, in Unicode's normal form C.
pub(super) fn shown(typed: &str) -> Option<String> {
    // Clipped after it is normal, and a mark that is left without its letter goes with it.
    chosen(&browser::normal(&chosen(&browser::normal(typed))?))
}
