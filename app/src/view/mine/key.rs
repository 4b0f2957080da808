//! The key: kept in a file, had back from one, or a new one in its place.

use potluck_protocol::id::NodeId;
use potluck_protocol::key_file::MAX_KEY_FILE_BYTES;
use potluck_protocol::page::SecretText;
use wasm_bindgen::JsCast;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{File, HtmlInputElement};
use yew::{Callback, Event, Html, Properties, function_component, html};

use crate::say;
use crate::state::mine::{self, Found, MineAction};

/// Properties of [`Key`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct KeyProps {
    pub(super) mine: mine::Mine,
    /// This tab.
    pub(super) node: Option<NodeId>,
    pub(super) dispatch: Callback<MineAction>,
}

#[function_component]
pub(super) fn Key(props: &KeyProps) -> Html {
    let dispatch = &props.dispatch;
    let back_up = dispatch.reform(|_| MineAction::BackUp);
    let ask_reset = dispatch.reform(|_| MineAction::AskReset);
    let look = {
        let dispatch = dispatch.clone();
        Callback::from(move |event: Event| look(&event, dispatch.clone()))
    };
    html! {
        <div class="part">
            <h3>{ say!("key-title") }</h3>
            <p class="soft">{ say!("key-what") }</p>
            if let Some(node) = props.node {
                <p><code data-testid="key-now">{ node.to_string() }</code></p>
            }
            <div class="row">
                <button type="button" class="plain" data-testid="key-backup" onclick={back_up.clone()}>{ say!("key-backup") }</button>
                <span class="soft">{ say!("key-backup-hint") }</span>
            </div>
            <div class="field">
                <label for="key-file">{ say!("key-file") }</label>
                <input id="key-file" data-testid="key-file" type="file" accept="application/json,.json" onchange={look} />
            </div>
            if let Some(found) = &props.mine.found {
                { ask_restore(found, dispatch) }
            }
            if props.mine.asks_reset {
                <div class="row" role="group" aria-label={say!("key-reset")}>
                    <span class="warn">{ "▲ " }{ say!("key-reset-costs") }</span>
                    <button type="button" class="plain" onclick={back_up}>{ say!("key-backup-first") }</button>
                    <button type="button" class="plain" data-testid="key-reset-yes" onclick={dispatch.reform(|_| MineAction::Reset)}>
                        { say!("key-reset-yes") }
                    </button>
                    { give_up(dispatch) }
                </div>
            } else {
                <div class="row">
                    <button type="button" class="plain" data-testid="key-reset" onclick={ask_reset}>{ say!("key-reset") }</button>
                </div>
            }
        </div>
    }
}

fn ask_restore(found: &Found, dispatch: &Callback<MineAction>) -> Html {
    let restore = dispatch.reform(|_| MineAction::Restore);
    let (name, short) = (found.node.name(), found.node.short());
    html! {
        <div class="row" role="group" aria-label={say!("key-file")}>
            <span data-testid="key-found">
                { say!("key-found", name = name, short = short) }
                if !found.server.is_empty() {
                    { " " }{ say!("key-found-server") }{ " " }<bdi>{ found.server.clone() }</bdi>
                }
            </span>
            if found.is_present {
                <span>{ say!("key-is-present") }</span>
            } else {
                <span class="warn">{ "▲ " }{ say!("key-restore-costs") }</span>
                <button type="button" class="plain" data-testid="key-restore" onclick={restore}>{ say!("key-restore") }</button>
            }
            { give_up(dispatch) }
        </div>
    }
}

fn give_up(dispatch: &Callback<MineAction>) -> Html {
    let give_up = dispatch.reform(|_| MineAction::GiveUp);
    html! { <button type="button" class="quiet" onclick={give_up}>{ say!("key-give-up") }</button> }
}

/// Reads the file that was chosen, and has the field forget it: the same one can be chosen again.
fn look(event: &Event, dispatch: Callback<MineAction>) {
    let Some(input) = event.target().and_then(|it| it.dyn_into::<HtmlInputElement>().ok()) else {
        return;
    };
    let file = input.files().and_then(|files| files.get(0));
    let Some(file) = file else { return };
    spawn_local(async move {
        let text = read(&file).await;
        input.set_value("");
        dispatch.emit(text.map_or(MineAction::NoFile, |text| MineAction::Look(SecretText(text))));
    });
}

async fn read(file: &File) -> Option<String> {
    if file.size() > MAX_KEY_FILE_BYTES as f64 {
        return None;
    }
    JsFuture::from(file.text()).await.ok()?.as_string()
}
