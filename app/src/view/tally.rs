//! The tally: everyone who was ever credited, with what.

use potluck_protocol::api::TallyRow;
use potluck_protocol::id::NodeId;
use yew::{Html, Properties, function_component, html};

use super::people::shape;
use crate::state::numbers;
use crate::state::swarm::Heard;

/// Rows shown at most, the most credited first.
const MAX_ROWS: usize = 200;

/// Properties of [`Tally`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct TallyProps {
    pub(super) tally: Heard<Vec<TallyRow>>,
    /// This tab.
    pub(super) you: Option<NodeId>,
}

#[function_component]
pub(super) fn Tally(props: &TallyProps) -> Html {
    let rows = props.tally.value.as_deref().unwrap_or_default();
    html! {
        <section class="card" aria-labelledby="tally-title">
            <h2 id="tally-title">{ "The tally" }</h2>
            <p class="soft">
                { "Credit counts multiply-accumulates computed for others, in GMAC (1 GMAC is 1,000,000,000). " }
                { "It comes from receipts that both the one who computed and the one who asked have signed. " }
                <strong data-testid="not-audited">{ "It is not audited yet: two who agree can sign for work that nobody did." }</strong>
            </p>
            if let Some(failure) = &props.tally.failure {
                <p class="warn" role="status">
                    <span aria-hidden="true">{ "▲ " }</span>
                    { format!("This may be out of date: {failure}. Nothing credited is lost.") }
                </p>
            }
            <div class="scroll" tabindex="0" role="region" aria-label="Who was credited with what">
                <table data-testid="tally">
                    <thead>
                        <tr>
                            <th scope="col">{ "Who" }</th>
                            <th scope="col" class="number">{ "Credit, GMAC" }</th>
                            <th scope="col" class="number">{ "Receipts" }</th>
                        </tr>
                    </thead>
                    <tbody>
                        { for rows.iter().take(MAX_ROWS).map(|one| row(one, props.you)) }
                        if rows.is_empty() {
                            <tr><td colspan="3" class="soft">{ "Nobody was credited yet." }</td></tr>
                        }
                    </tbody>
                </table>
            </div>
        </section>
    }
}

fn row(row: &TallyRow, you: Option<NodeId>) -> Html {
    let you = if Some(row.node) == you { " (you)" } else { "" };
    html! {
        <tr key={row.node.to_string()}>
            <th scope="row">
                if let Some(kind) = row.kind {
                    <span class="shape" aria-hidden="true">{ shape(kind) }</span>
                }
                { format!("{}{you}", row.node.name()) }
                <span class="soft block">
                    { row.kind.map(|one| format!("{one}, ")).unwrap_or_default() }{ row.node.short() }
                </span>
            </th>
            <td class="number">{ numbers::gmac(row.credit_macs) }</td>
            <td class="number">{ row.receipts }</td>
        </tr>
    }
}
