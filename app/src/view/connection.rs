//! The link to the server, in a few words that are always there.

use potluck_protocol::page::Link;
use yew::{Html, Properties, function_component, html};

use crate::say;
use crate::state::numbers;

/// Properties of [`Connection`].
#[derive(Clone, Debug, PartialEq, Eq, Properties)]
pub(super) struct ConnectionProps {
    /// The worker's link to the server; `None` while no worker runs.
    pub(super) link: Option<Link>,
}

#[function_component]
pub(super) fn Connection(props: &ConnectionProps) -> Html {
    let (class, glyph, text) = match &props.link {
        None => ("link", "○", say!("link-none")),
        Some(Link::Connecting) => ("link", "◌", say!("link-connecting")),
        Some(Link::Open) => ("link ok", "●", say!("link-open")),
        Some(Link::Lost { reason, retry_ms }) => (
            "link warn",
            "▲",
            say!("link-lost", reason = reason, wait = numbers::seconds(*retry_ms)),
        ),
        Some(Link::Refused { reason }) => ("link bad", "✕", say!("link-refused", reason = reason)),
    };
    html! {
        <p {class} role="status">
            <span aria-hidden="true">{ glyph }</span>
            <span data-testid="link-state">{ text }</span>
        </p>
    }
}
