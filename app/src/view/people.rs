//! The facts of the drawing as a plain table: who is connected, and what they hold and do. The server
//! lists a hundred at most; a larger swarm is told by `crowd.rs`.

use std::rc::Rc;

use potluck_protocol::api::{ModelView, NodeView};
use potluck_protocol::id::NodeId;
use potluck_protocol::server::NodeKind;
use yew::{Html, Properties, function_component, html};

use super::map::short_range;
use crate::later;
use crate::say;
use crate::state::numbers;
use crate::state::swarm::Swarm;
use crate::words;

/// Properties of [`People`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct PeopleProps {
    pub(super) swarm: Rc<Swarm>,
    /// True once the server has answered.
    pub(super) known: bool,
    /// Why it did not answer just now.
    pub(super) failure: Option<String>,
    /// This tab.
    pub(super) you: Option<NodeId>,
}

#[function_component]
pub(super) fn People(props: &PeopleProps) -> Html {
    let rows = props.swarm.nodes.iter().map(|node| row(node, props.you, &props.swarm));
    html! {
        <>
            if let Some(failure) = &props.failure {
                { out_of_date(failure) }
            }
            <div class="scroll" tabindex="0" role="region" aria-label={say!("swarm-region")}>
                <table data-testid="swarm-table">
                    { head() }
                    <tbody>
                        { for rows }
                        if props.known && props.swarm.nodes.is_empty() {
                            <tr><td colspan="4" class="soft">{ say!("nobody-yet") }</td></tr>
                        } else if !props.known {
                            <tr><td colspan="4" class="soft">{ say!("looking") }</td></tr>
                        }
                    </tbody>
                </table>
            </div>
        </>
    }
}

/// What the columns of [`row`] are.
pub(super) fn head() -> Html {
    html! {
        <thead>
            <tr>
                <th scope="col">{ say!("column-who") }</th>
                <th scope="col">{ say!("column-layers") }</th>
                <th scope="col" class="number">{ say!("column-tokens") }</th>
                <th scope="col" class="number">{ say!("column-ms") }</th>
            </tr>
        </thead>
    }
}

/// Said above what was heard last.
pub(super) fn out_of_date(failure: &str) -> Html {
    html! {
        <p class="warn" role="status">
            <span aria-hidden="true">{ "▲ " }</span>
            { say!("out-of-date", reason = failure) }
        </p>
    }
}

/// One node of a swarm.
pub(super) fn row(node: &NodeView, you: Option<NodeId>, swarm: &Swarm) -> Html {
    let you = if Some(node.id) == you { say!("you") } else { String::new() };
    let mut details = vec![words::kind(node.kind)];
    if !node.backend.is_empty() {
        details.push(node.backend.clone());
    }
    details.push(words::state(node.state));
    details.extend(later::here().and_then(|it| (it.tie_words)(swarm, node.id)));
    details.extend(node.called.as_ref().map(|_| node.id.name()));
    details.push(node.id.short());
    html! {
        <tr key={node.id.to_string()}>
            <th scope="row">
                <span class="shape" aria-hidden="true">{ shape(node.kind) }</span>
                { name(node.id, node.called.as_ref()) }{ you }
                <span class="soft block">{ details.join(&say!("list-comma")) }</span>
            </th>
            <td class="range">{ node.range().map_or_else(|| say!("no-layers"), short_range) }</td>
            <td class="number">{ numbers::count(node.tokens) }</td>
            <td class="number">{ node.ms_per_token_p50.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.1}")) }</td>
        </tr>
    }
}

/// The name that somebody chose, whichever way it is written, or the one that their key gives them.
pub(super) fn name(node: NodeId, called: Option<&String>) -> Html {
    match called {
        Some(called) => html! { <bdi>{ called.clone() }</bdi> },
        None => html! { <>{ node.name() }</> },
    }
}

/// A model in a line.
pub(super) fn about(model: &ModelView) -> String {
    let mut parts = vec![say!("about-model", model = &model.name, layers = model.layers)];
    if model.bytes > 0 {
        parts.push(numbers::bytes(model.bytes));
    }
    if !model.license.is_empty() {
        parts.push(say!("about-licence", licence = &model.license));
    }
    parts.join(&say!("list-comma"))
}

/// Browsers are round, programs square.
pub(super) fn shape(kind: NodeKind) -> &'static str {
    match kind {
        NodeKind::Browser => "○",
        NodeKind::Native => "□",
    }
}
