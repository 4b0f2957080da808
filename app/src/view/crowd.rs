//! A swarm with more people than anyone reads, in sums: how many of which kind, what they do, and how
//! often each layer is there. Their names come when somebody asks for them.

use std::rc::Rc;

use potluck_protocol::api::{ModelView, SwarmTotals};
use potluck_protocol::id::NodeId;
use yew::{Callback, Html, Properties, function_component, html};

use super::map::short_range;
use super::people::{head, out_of_date, row};
use crate::say;
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
            if let Some(failure) = &props.failure {
                { out_of_date(failure) }
            }
            { sums(&props.swarm.totals) }
            <div class="scroll" tabindex="0" role="region" aria-label={say!("copies-region")}>
                <table data-testid="copies">
                    <thead>
                        <tr>
                            <th scope="col">{ say!("column-layers") }</th>
                            <th scope="col" class="number">{ say!("column-copies") }</th>
                        </tr>
                    </thead>
                    <tbody>
                        { for runs.into_iter().flatten().map(|(range, copies)| html! {
                            <tr key={range.first}>
                                <th scope="row" class="range">{ short_range(range) }</th>
                                <td class="number">
                                    if copies == 0 {
                                        <span class="warn">{ say!("copies-nobody") }</span>
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
            <dt>{ say!("sums-computers") }</dt>
            <dd>
                { of(totals.nodes) }
                <span class="soft">{ say!(
                    "sums-kinds", browsers = totals.browsers, natives = totals.natives
                ) }</span>
            </dd>
            <dt>{ say!("sums-of-them") }</dt>
            <dd>{ say!(
                "sums-states", serving = totals.serving, fetching = totals.fetching, waiting = totals.waiting
            ) }</dd>
            <dt>{ say!("sums-memory") }</dt>
            <dd>{ numbers::bytes(totals.memory_bytes) }<span class="soft">{ say!("sums-offered") }</span></dd>
            <dt>{ say!("sums-computed") }</dt>
            <dd>
                { numbers::count(totals.rows) }
                <span class="soft">{ say!("sums-rate", rate = format!("{:.1}", totals.rows_per_s)) }</span>
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
                <div class="scroll" tabindex="0" role="region" aria-label={say!("names-region")}>
                    <table data-testid="swarm-table">
                        { head() }
                        <tbody>{ for names.nodes.iter().map(|node| row(node, props.you, &props.swarm)) }</tbody>
                    </table>
                </div>
            }
            if let Some(failure) = &names.failure {
                <p class="warn" role="status"><span aria-hidden="true">{ "▲ " }</span>{ say!("names-failed", reason = failure) }</p>
            }
            if is_empty || names.has_more {
                <button type="button" class="plain" data-testid="names" onclick={show}>
                    { if is_empty { say!("names-first") } else { say!("names-more") } }
                </button>
            }
        </>
    }
}
