//! The tally: everyone who was ever credited, with what.

use potluck_protocol::api::TallyRow;
use potluck_protocol::id::NodeId;
use yew::{Html, Properties, function_component, html};

use super::people::{name, shape};
use crate::say;
use crate::state::numbers;
use crate::state::swarm::Heard;
use crate::words;

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
            <h2 id="tally-title">{ say!("tally-title") }</h2>
            <p class="soft">
                { say!("tally-what") }{ " " }<strong data-testid="not-audited">{ say!("tally-not-audited") }</strong>
            </p>
            if let Some(failure) = &props.tally.failure {
                <p class="warn" role="status">
                    <span aria-hidden="true">{ "▲ " }</span>
                    { say!("tally-out-of-date", reason = failure) }
                </p>
            }
            <div class="scroll" tabindex="0" role="region" aria-label={say!("tally-region")}>
                <table data-testid="tally">
                    <thead>
                        <tr>
                            <th scope="col">{ say!("column-who") }</th>
                            <th scope="col" class="number">{ say!("column-credit") }</th>
                            <th scope="col" class="number">{ say!("column-receipts") }</th>
                        </tr>
                    </thead>
                    <tbody>
                        { for rows.iter().take(MAX_ROWS).map(|one| row(one, props.you)) }
                        if rows.is_empty() {
                            <tr><td colspan="3" class="soft">{ say!("tally-empty") }</td></tr>
                        }
                    </tbody>
                </table>
            </div>
        </section>
    }
}

fn row(row: &TallyRow, you: Option<NodeId>) -> Html {
    let you = if Some(row.node) == you { say!("you") } else { String::new() };
    let mut details: Vec<String> = row.kind.map(words::kind).into_iter().collect();
    details.extend(row.called.as_ref().map(|_| row.node.name()));
    details.push(row.node.short());
    html! {
        <tr key={row.node.to_string()}>
            <th scope="row">
                if let Some(kind) = row.kind {
                    <span class="shape" aria-hidden="true">{ shape(kind) }</span>
                }
                { name(row.node, row.called.as_ref()) }{ you }
                <span class="soft block">
                    { details.join(&say!("list-comma")) }
                </span>
            </th>
            <td class="number">{ numbers::gmac(row.credit_macs) }</td>
            <td class="number">{ numbers::count(row.receipts) }</td>
        </tr>
    }
}
