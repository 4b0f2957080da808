//! A table with more people than anyone reads, in sums: how many of which kind, what they do, and how
//! often each layer is there. Their names come when somebody asks for them.

use std::rc::Rc;

use potluck_protocol::api::{ModelView, SwarmTotals};
use potluck_protocol::id::NodeId;
use yew::{Callback, Html, Properties, function_component, html};

use super::people::{about, head, out_of_date, row};
use super::seats::short_range;
use crate::state::Action;
use crate::state::names::Names;
use crate::state::numbers;
use crate::state::swarm::Swarm;

/// Properties of [`Crowd`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct CrowdProps {
    pub(super) swarm: Rc<Swarm>,
    /// Why it may be out of date.
    pub(super) failure: Option<String>,
    pub(super) model: Option<ModelView>,
    /// Those whose names were asked for.
    pub(super) names: Names,
    /// This tab.
    pub(super) you: Option<NodeId>,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn Crowd(props: &CrowdProps) -> Html {
    let runs = props.model.as_ref().map(|model| props.swarm.copies_of(&model.name));
    html! {
        <>
            if let Some(model) = &props.model {
                <p class="soft">{ about(model) }</p>
            }
            if let Some(failure) = &props.failure {
                { out_of_date(failure) }
            }
            { sums(&props.swarm.totals) }
            <div class="scroll" tabindex="0" role="region" aria-label="How often each layer is there">
                <table data-testid="copies">
                    <thead>
                        <tr>
                            <th scope="col">{ "Layers" }</th>
                            <th scope="col" class="number">{ "Seats that serve each" }</th>
                        </tr>
                    </thead>
                    <tbody>
                        { for runs.into_iter().flatten().map(|(range, copies)| html! {
                            <tr key={range.first}>
                                <th scope="row" class="range">{ short_range(range) }</th>
                                <td class="number">
                                    if copies == 0 {
                                        <span class="warn">{ "▲ nobody" }</span>
                                    } else {
                                        { numbers::count(u64::from(copies)) }
                                    }
                                </td>
                            </tr>
                        }) }
                    </tbody>
                </table>
            </div>
            { names(props) }
        </>
    }
}

fn sums(totals: &SwarmTotals) -> Html {
    let of = |number: u32| numbers::count(u64::from(number));
    html! {
        <dl class="facts" data-testid="sums">
            <dt>{ "Seats" }</dt>
            <dd>
                { of(totals.nodes) }
                <span class="soft">{ format!(
                    ": {} in browsers, {} native", of(totals.browsers), of(totals.natives)
                ) }</span>
            </dd>
            <dt>{ "Of them" }</dt>
            <dd>{ format!(
                "{} serve, {} fetch, {} wait", of(totals.serving), of(totals.fetching), of(totals.waiting)
            ) }</dd>
            <dt>{ "Memory" }</dt>
            <dd>{ numbers::bytes(totals.memory_bytes) }<span class="soft">{ " offered" }</span></dd>
            <dt>{ "Computed" }</dt>
            <dd>
                { numbers::count(totals.rows) }
                <span class="soft">{ format!(
                    " tokens through their layers; {:.1} a second lately", totals.rows_per_s
                ) }</span>
            </dd>
        </dl>
    }
}

fn names(props: &CrowdProps) -> Html {
    let names = &props.names;
    let show = props.dispatch.reform(|_| Action::ShowNames);
    let is_empty = names.nodes.is_empty();
    html! {
        <>
            if !is_empty {
                <div class="scroll" tabindex="0" role="region" aria-label="Some who sit at the table">
                    <table data-testid="swarm-table">
                        { head() }
                        <tbody>{ for names.nodes.iter().map(|node| row(node, props.you)) }</tbody>
                    </table>
                </div>
            }
            if let Some(failure) = &names.failure {
                <p class="warn" role="status"><span aria-hidden="true">{ "▲ " }</span>{ format!("No names: {failure}.") }</p>
            }
            if is_empty || names.has_more {
                <button type="button" class="plain" data-testid="names" onclick={show}>
                    { if is_empty { "Show some names" } else { "Show more names" } }
                </button>
            }
        </>
    }
}
