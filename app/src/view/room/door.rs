//! Doors of rooms: a code to read out, or to type; and the list of keys, where a room has one.

use potluck_protocol::invitation::Invitation;
use wasm_bindgen::JsCast;
use web_sys::HtmlInputElement;
use yew::{Callback, Event, Html, InputEvent, Properties, SubmitEvent, function_component, html};

use crate::browser;
use crate::say;
use crate::state::Action;
use crate::state::door::{Door, DoorAction, Stage, ending};

/// Properties of [`LetIn`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct LetInProps {
    pub(super) door: Door,
    pub(super) room: Invitation,
    /// The server's page.
    pub(super) server: String,
    pub(super) dispatch: Callback<Action>,
}

/// How a member lets others in.
#[function_component]
pub(super) fn LetIn(props: &LetInProps) -> Html {
    let act = props.dispatch.reform(Action::Door);
    let open = on_click(&act, || browser::random().map(|seed| DoorAction::Open { seed }));
    let close = on_click(&act, || Some(DoorAction::Close));
    let yes = on_click(&act, || Some(DoorAction::Answer { yes: true }));
    let no = on_click(&act, || Some(DoorAction::Answer { yes: false }));
    html! {
        <details>
            <summary data-testid="let-in">{ say!("door-let-in-title") }</summary>
            <div class="fields">
                <p>{ say!("door-let-in-what") }</p>
                <div role="status">
                    if let Stage::Open(code) = &props.door.stage {
                        <p>{ say!("door-code") }{ " " }<strong dir="ltr" data-testid="door-code">{ code.to_string() }</strong></p>
                    }
                    if let Stage::Knocked(who) = &props.door.stage {
                        <p data-testid="door-knocked">{ say!("door-knocked", name = who.name(), key = who.short()) }</p>
                    }
                    { how_it_ended(&props.door.stage) }
                </div>
                <div class="row">
                    if let Stage::Knocked(_) = &props.door.stage {
                        <button type="button" data-testid="door-yes" onclick={yes}>{ say!("door-yes-button") }</button>
                        <button type="button" class="plain" data-testid="door-no" onclick={no}>{ say!("door-no-button") }</button>
                    } else if let Stage::Open(_) = &props.door.stage {
                        <button type="button" class="plain" data-testid="door-close" onclick={close}>{ say!("door-close-button") }</button>
                    } else {
                        <button type="button" class="plain" data-testid="door-open" onclick={open}>{ say!("door-open-button") }</button>
                    }
                </div>
                if props.room.keeper.is_some() {
                    { list(props, &act) }
                }
            </div>
        </details>
    }
}

/// The list of keys.
fn list(props: &LetInProps, act: &Callback<DoorAction>) -> Html {
    let type_key = act.reform(|event: InputEvent| DoorAction::TypeKey(typed(&event)));
    let admit = on_click(act, || Some(DoorAction::Admit));
    let admitted = props.door.admitted.map(|room| room.link(&props.server));
    html! {
        <>
            <div class="field">
                <label for="door-key">{ say!("door-key") }</label>
                <input id="door-key" data-testid="door-key" type="text" autocomplete="off" spellcheck="false" dir="ltr"
                    value={props.door.key.clone()} oninput={type_key} />
            </div>
            <div class="row">
                <button type="button" class="plain" data-testid="door-admit" onclick={admit}>{ say!("door-admit-button") }</button>
            </div>
            if let Some(link) = admitted {
                <div class="field">
                    <label for="door-admitted">{ say!("door-admitted") }</label>
                    <input id="door-admitted" data-testid="door-admitted" type="text" readonly=true dir="ltr" value={link} />
                </div>
            }
        </>
    }
}

/// What [`come_in`] draws.
#[derive(Clone, Debug)]
pub(in crate::view) struct ComeInProps {
    pub(in crate::view) door: Door,
    pub(in crate::view) dispatch: Callback<Action>,
}

/// How somebody comes in with a code, or makes a room with a list.
pub(in crate::view) fn come_in(props: &ComeInProps) -> Html {
    let act = props.dispatch.reform(Action::Door);
    let type_code = act.reform(|event: InputEvent| DoorAction::TypeCode(typed(&event)));
    let knock = {
        let act = act.clone();
        Callback::from(move |event: SubmitEvent| {
            event.prevent_default();
            if let Some(seed) = browser::random() {
                act.emit(DoorAction::Knock { seed });
            }
        })
    };
    let found = on_click(&act, || browser::random().map(|secret| DoorAction::Found { secret }));
    html! {
        <div class="fields">
                <form onsubmit={knock}>
                    <div class="field">
                        <label for="door-typed">{ say!("door-typed") }</label>
                        <input id="door-typed" data-testid="door-typed" type="text" autocomplete="off" autocapitalize="characters"
                            spellcheck="false" dir="ltr" value={props.door.code.clone()} oninput={type_code} />
                    </div>
                    <div class="row">
                        <button type="submit" class="plain" data-testid="door-knock">{ say!("door-knock-button") }</button>
                    </div>
                </form>
                <div role="status" data-testid="door-status">
                    if let Stage::Knocking(me) = &props.door.stage {
                        <p>{ say!("door-knocking", name = me.name(), key = me.short()) }</p>
                    }
                    { how_it_ended(&props.door.stage) }
                </div>
                <p>{ say!("door-list-what") }</p>
                <div class="row">
                    <button type="button" class="plain" data-testid="room-make-list" onclick={found}>{ say!("door-list-button") }</button>
                </div>
        </div>
    }
}

fn how_it_ended(stage: &Stage) -> Html {
    match stage {
        Stage::Ended(why) => html! { <p data-testid="door-ended">{ ending(*why) }</p> },
        Stage::Mistyped(what) => html! { <p class="bad">{ what.clone() }</p> },
        Stage::Asked => html! { <p>{ say!("door-asked") }</p> },
        Stage::None | Stage::Open(_) | Stage::Knocked(_) | Stage::Knocking(_) => Html::default(),
    }
}

/// Does what `what` says, if it says anything: a browser without randomness draws nothing.
fn on_click<E: 'static>(
    act: &Callback<DoorAction>,
    what: impl Fn() -> Option<DoorAction> + 'static,
) -> Callback<E> {
    let act = act.clone();
    Callback::from(move |_| {
        if let Some(action) = what() {
            act.emit(action);
        }
    })
}

/// What the field holds now.
fn typed(event: &Event) -> String {
    let target = event.target().and_then(|target| target.dyn_into::<HtmlInputElement>().ok());
    target.map(|input| input.value()).unwrap_or_default()
}
