//! The receipts credited to this key, the newest first.

use potluck_protocol::api::{ReceiptView, ReceiptsPage};
use potluck_protocol::id::NodeId;
use yew::{Callback, Html, Properties, function_component, html};

use crate::say;
use crate::state::mine::MineAction;
use crate::state::numbers;
use crate::view::map::short_range;
use crate::view::plot::date;

/// Properties of [`Receipts`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct ReceiptsProps {
    pub(super) page: ReceiptsPage,
    /// This tab.
    pub(super) node: NodeId,
    pub(super) dispatch: Callback<MineAction>,
}

#[function_component]
pub(super) fn Receipts(props: &ReceiptsProps) -> Html {
    let receipts = &props.page.receipts;
    let (more, save) = (
        props.dispatch.reform(|_| MineAction::MoreReceipts),
        props.dispatch.reform(|_| MineAction::SaveReceipts),
    );
    html! {
        <div class="part">
            <h3>{ say!("receipts-title") }</h3>
            <p class="soft">{ say!("receipts-what") }</p>
            <div class="scroll" tabindex="0" role="region" aria-label={say!("receipts-title")}>
                <table data-testid="receipts">
                    <thead>
                        <tr>
                            <th scope="col">{ say!("column-when") }</th>
                            <th scope="col">{ say!("column-model") }</th>
                            <th scope="col">{ say!("column-layers") }</th>
                            <th scope="col" class="number">{ say!("column-positions") }</th>
                            <th scope="col" class="number">{ say!("column-credit") }</th>
                            <th scope="col">{ say!("column-signed") }</th>
                        </tr>
                    </thead>
                    <tbody>
                        { for receipts.iter().map(|one| row(one, props.node)) }
                        if receipts.is_empty() {
                            <tr><td colspan="6" class="soft">{ say!("receipts-empty") }</td></tr>
                        }
                    </tbody>
                </table>
            </div>
            if !receipts.is_empty() {
                <div class="row">
                    if props.page.next.is_some() {
                        <button type="button" class="plain" data-testid="receipts-more" onclick={more}>{ say!("receipts-more") }</button>
                    }
                    <button type="button" class="plain" data-testid="receipts-save" onclick={save}>{ say!("receipts-save") }</button>
                </div>
            }
        </div>
    }
}

fn row(receipt: &ReceiptView, node: NodeId) -> Html {
    let when = receipt.credited_at_s.map_or_else(|| "–".to_owned(), time);
    let model =
        receipt.model_name.clone().unwrap_or_else(|| receipt.model.to_string()[..8].to_owned());
    let layers = receipt.layers.map(|layers| short_range(layers.0)).unwrap_or_default();
    let you = if receipt.stage == node { say!("you") } else { String::new() };
    let signed = [format!("{}{you}", receipt.stage.short()), receipt.requester.short()];
    html! {
        <tr key={receipt.id.clone()}>
            <th scope="row" class="range">{ when }</th>
            <td>{ model }</td>
            <td class="range">{ layers }</td>
            <td class="number">{ format!("{}–{}", receipt.from_position, receipt.to_position.saturating_sub(1)) }</td>
            <td class="number">{ numbers::gmac(receipt.credit_macs) }</td>
            <td class="range">{ signed.join(&say!("list-comma")) }</td>
        </tr>
    }
}

/// Seconds since 1970 as `2026-11-27 21:50`, universal time.
fn time(seconds: u64) -> String {
    let day = u32::try_from(seconds / 86_400).unwrap_or(u32::MAX);
    let minutes = seconds / 60 % (24 * 60);
    format!("{} {:02}:{:02}", date(day), minutes / 60, minutes % 60)
}
