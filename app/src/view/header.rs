//! What this is, who keeps the table, and the bad news first. `index.html` paints the same words
//! before the page's program is there.

use potluck_protocol::page::Link;
use yew::{Html, Properties, function_component, html};

use super::connection::Connection;
use super::logo::Logo;
use crate::browser;

/// Properties of [`Header`].
#[derive(Clone, Debug, PartialEq, Eq, Properties)]
pub(super) struct HeaderProps {
    /// The worker's link to the server.
    pub(super) link: Option<Link>,
    /// Work done here, for the logo.
    pub(super) steps: u64,
}

#[function_component]
pub(super) fn Header(props: &HeaderProps) -> Html {
    html! {
        <header class="top">
            <a class="skip" href="#main">{ "Skip to the table" }</a>
            <div class="brand">
                <Logo step={props.steps} />
                <h1>{ "Potluck" }</h1>
                <Connection link={props.link.clone()} />
            </div>
            <p class="lead">
                { "People lend their computers by opening this page; together they run an AI model that none of them could run alone." }
            </p>
            <p class="soft">
                { "The table is kept by " }<strong>{ browser::host() }</strong>
                { ": it introduces the computers to each other and keeps the tally, and sees no question and no answer." }
            </p>
            <p class="warning">
                <span class="mark" aria-hidden="true">{ "!" }</span>
                <span>{ "Other volunteers can read what they compute on. Don't share secrets here." }</span>
            </p>
        </header>
    }
}
