//! Does what the visitor's own things want done: their name, team, receipts, key and boards.

use potluck_protocol::id::NodeId;
use wasm_bindgen_futures::spawn_local;
use yew::Callback;

use crate::state::Action;
use crate::state::mine::{MineAction, MineEffect};
use crate::{api, browser};

/// Does it; what comes of it is dispatched.
pub(crate) fn run(effect: MineEffect, dispatch: Callback<Action>) {
    let dispatch = dispatch.reform(Action::Mine);
    match effect {
        MineEffect::Save { name, text } => browser::save(&name, &text.0),
        MineEffect::Post(body) => spawn_local(async move {
            dispatch.emit(MineAction::Person(api::say(&body).await));
        }),
        MineEffect::FetchReceipts { node, before } => spawn_local(async move {
            dispatch.emit(MineAction::Receipts(before, api::receipts(node, before).await));
        }),
        MineEffect::FetchBoard(which, own) => spawn_local(async move {
            dispatch.emit(MineAction::Board(which, api::board(which, own).await));
        }),
        MineEffect::FetchTeam(team) => spawn_local(async move {
            dispatch.emit(MineAction::Invitation(api::team(team).await));
        }),
        MineEffect::SaveReceipts(node) => spawn_local(async move {
            match all_receipts(node).await {
                Ok(text) => {
                    browser::save(&format!("potluck-receipts-{}.json", node.short()), &text);
                }
                Err(reason) => dispatch.emit(MineAction::Failed(reason)),
            }
        }),
    }
}

/// Pages of receipts in a file at most: ten thousand receipts, 8 MB.
const MAX_PAGES: usize = 100;

/// A node's receipts as JSON: a list of pages, each as the server wrote it.
async fn all_receipts(node: NodeId) -> Result<String, String> {
    let (mut pages, mut before) = (Vec::new(), None);
    while pages.len() < MAX_PAGES {
        let (text, next) = api::receipts_text(node, before).await?;
        pages.push(text);
        before = next;
        if before.is_none() {
            break;
        }
    }
    Ok(format!("[{}]", pages.join(",\n")))
}
