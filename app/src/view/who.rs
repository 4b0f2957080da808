//! Who computes the next answer: the swarm, the swarm but for its ends, or this computer alone.

use potluck_protocol::api::ModelView;
use potluck_protocol::page::OwnPart;
use wasm_bindgen::JsCast;
use web_sys::HtmlSelectElement;
use yew::{Callback, Event, Html, html};

use crate::say;
use crate::state::Action;
use crate::state::numbers;

/// One layer at each end: what keeps words from others. More of them protect no better, and cost this
/// computer more.
const ENDS: OwnPart = OwnPart::Ends { layers: 1 };
const CHOICES: [(Option<OwnPart>, &str); 3] =
    [(None, "swarm"), (Some(ENDS), "ends"), (Some(OwnPart::All), "all")];

/// What [`who`] draws.
#[derive(Clone, Debug)]
pub(super) struct WhoProps {
    pub(super) part: Option<OwnPart>,
    /// The model that is asked.
    pub(super) model: Option<ModelView>,
    pub(super) dispatch: Callback<Action>,
}

pub(super) fn who(props: &WhoProps) -> Html {
    let choose = props.dispatch.reform(|event: Event| {
        let target = event.target().and_then(|it| it.dyn_into::<HtmlSelectElement>().ok());
        let chosen = target.map(|select| select.value()).unwrap_or_default();
        let found = CHOICES.iter().find(|(_, name)| *name == chosen);
        Action::ChoosePart(found.and_then(|(part, _)| *part))
    });
    let one = |(part, name): &(Option<OwnPart>, &'static str)| {
        let text = match part {
            None => say!("who-swarm"),
            Some(OwnPart::Ends { .. }) => say!("who-ends"),
            Some(OwnPart::All) => say!("who-all"),
        };
        html! { <option value={*name} selected={*part == props.part}>{ text }</option> }
    };
    let size = |bytes: fn(&ModelView) -> u64| {
        props.model.as_ref().map_or_else(|| "?".to_owned(), |model| numbers::bytes(bytes(model)))
    };
    let hint = match props.part {
        None => say!("who-swarm-hint"),
        Some(OwnPart::Ends { .. }) => say!("who-ends-hint", size = size(|model| model.ends_bytes)),
        Some(OwnPart::All) => say!("who-all-hint", size = size(|model| model.bytes)),
    };
    html! {
        <div class="fields">
                <label for="who-choice">{ say!("who-label") }</label>
                <select id="who-choice" data-testid="who-choice" onchange={choose} aria-describedby="who-hint">
                    { for CHOICES.iter().map(one) }
                </select>
                <p id="who-hint" class="soft" data-testid="who-hint">{ hint }</p>
        </div>
    }
}
