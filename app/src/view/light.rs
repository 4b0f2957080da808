//! The light of a token: along the table into the answer, once for a token that was really sampled.
//!
//! One light at a time. When it lands, the newest token sampled meanwhile sets off the next; tokens
//! in between are not replayed, so the light is never behind the answer. Its 180 ms and its rest
//! under `prefers-reduced-motion` are in the style sheet.

use yew::{
    Callback, Html, Properties, function_component, html, use_effect_with, use_node_ref, use_state,
};

use crate::browser;

/// Properties of [`Light`].
#[derive(Clone, Debug, PartialEq, Eq, Properties)]
pub(super) struct LightProps {
    /// SVG path data of the way along the table.
    pub(super) path: String,
    /// Tokens sampled so far.
    pub(super) tokens: u32,
}

/// The light, while it is on its way.
#[function_component]
pub(super) fn Light(props: &LightProps) -> Html {
    // Which token's light is under way, if one is, and the last one shown.
    let under_way = use_state(|| None::<u32>);
    let shown = use_state(|| props.tokens);
    {
        let (under_way, shown) = (under_way.clone(), shown.clone());
        use_effect_with((props.tokens, *under_way), move |(tokens, light)| {
            if light.is_none() && *tokens > *shown {
                shown.set(*tokens);
                under_way.set(Some(*tokens));
            }
        });
    }
    // By the object model: the page's policy lets no text be a style.
    let circle = use_node_ref();
    use_effect_with((circle.clone(), props.path.clone(), *under_way), |(circle, path, _)| {
        browser::set_style(circle.cast(), "offset-path", &format!("path('{path}')"));
    });
    let Some(token) = *under_way else { return Html::default() };
    let landed = Callback::from(move |_| under_way.set(None));
    html! {
        <circle key={token} ref={circle} class="light" r="6" onanimationend={landed} />
    }
}
