//! What this is, who keeps the server, and the bad news first. `index.html` paints the same words
//! before the page's program is there.

use potluck_protocol::page::Link;
use yew::{Callback, Event, Html, MouseEvent, Properties, function_component, html};

use super::choices::value;
use super::connection::Connection;
use super::logo::Logo;
use crate::browser;
use crate::say;
use crate::state::Action;
use crate::words::{LANGUAGES, Language};

/// Properties of [`Header`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct HeaderProps {
    /// The worker's link to the server.
    pub(super) link: Option<Link>,
    /// Work done here, for the logo.
    pub(super) steps: u64,
    /// The language that the page speaks.
    pub(super) language: Language,
    pub(super) dispatch: Callback<Action>,
}

#[function_component]
pub(super) fn Header(props: &HeaderProps) -> Html {
    // By hand: the address must go on naming the room that the page is in.
    let skip = Callback::from(|event: MouseEvent| {
        event.prevent_default();
        browser::focus("main");
    });
    html! {
        <header class="top">
            <a class="skip" href="#main" onclick={skip}>{ say!("skip") }</a>
            <div class="brand">
                <Logo step={props.steps} />
                <h1>{ "Potluck" }</h1>
                <Connection link={props.link.clone()} />
                { languages(props) }
            </div>
            <p class="lead">{ say!("lead") }</p>
            <p class="soft">{ say!("keeper", host = browser::host()) }</p>
            <p class="warning">
                <span class="mark" aria-hidden="true">{ "!" }</span>
                <span>{ say!("warning") }</span>
            </p>
        </header>
    }
}

/// Each language by its own name.
fn languages(props: &HeaderProps) -> Html {
    let spoken = props.language;
    let choose = props.dispatch.reform(move |event: Event| {
        Action::ChooseLanguage(Language::of(&value(&event)).unwrap_or(spoken))
    });
    let one = |language: &Language| {
        html! {
            <option value={language.tag()} lang={language.tag()} selected={*language == spoken}>{ language.name() }</option>
        }
    };
    html! {
        <select class="language" data-testid="language" aria-label={say!("language")} onchange={choose}>
            { for LANGUAGES.iter().map(one) }
        </select>
    }
}
