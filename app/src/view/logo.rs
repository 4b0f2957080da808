//! The table, small: the logo and the icon in the tab. One seat is filled; while this computer
//! computes it moves on by one seat for every report of work done.

use yew::{Html, Properties, function_component, html, use_effect_with, use_node_ref};

use crate::browser;

/// Seats in the small drawing.
pub(super) const SEATS: u64 = 6;
/// Degrees from one seat to the next.
const STEP_DEGREES: u64 = 360 / SEATS;

/// Properties of [`Logo`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Properties)]
pub(super) struct LogoProps {
    /// Seats the filled one has moved on.
    #[prop_or_default]
    pub(super) step: u64,
}

/// The logo. It carries no meaning that is not in words beside it.
#[function_component]
pub(super) fn Logo(props: &LogoProps) -> Html {
    let seat = |place: u64| {
        let class = if place == 0 { "logo-taken" } else { "logo-seat" };
        html! { <circle {class} cx="16" cy="3.75" r="2.5" transform={format!("rotate({} 16 16)", place * STEP_DEGREES)} /> }
    };
    // Not taken modulo a turn: the filled seat always moves forwards.
    let turned = format!("rotate({}deg)", props.step.saturating_mul(STEP_DEGREES));
    // By the object model: the page's policy lets no text be a style.
    let seats = use_node_ref();
    use_effect_with((seats.clone(), turned), |(seats, turned)| {
        browser::set_style(seats.cast(), "transform", turned);
    });
    html! {
        <svg class="logo" viewBox="0 0 32 32" aria-hidden="true" focusable="false">
            <circle class="logo-table" cx="16" cy="16" r="8" />
            <g ref={seats} class="logo-seats">{ for (0..SEATS).map(seat) }</g>
        </svg>
    }
}

/// The icon in the tab, as SVG text; the same drawing as `static/favicon.svg`.
#[must_use]
pub(super) fn icon(step: u64) -> String {
    let seat = |place: u64| {
        let class = if place == step % SEATS { "taken" } else { "seat" };
        format!(
            r#"<circle class="{class}" cx="16" cy="3.75" r="2.5" transform="rotate({} 16 16)"/>"#,
            place * STEP_DEGREES
        )
    };
    let seats: String = (0..SEATS).map(seat).collect();
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><style>circle{{fill:none;stroke:#6B645A;stroke-width:2}}.taken{{fill:#B23A22;stroke:#B23A22}}@media(prefers-color-scheme:dark){{circle{{stroke:#A89F92}}.taken{{fill:#F08A6B;stroke:#F08A6B}}}}</style><circle cx="16" cy="16" r="8"/>{seats}</svg>"##
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_icon_file_is_the_icon_at_rest() {
        assert_eq!(include_str!("../../../static/favicon.svg").trim(), icon(0));
    }

    #[test]
    fn one_seat_is_taken_and_moves_on() {
        assert_eq!(icon(3).matches(r#"class="taken""#).count(), 1);
        assert_ne!(icon(1), icon(2));
        assert_eq!(icon(1), icon(1 + SEATS));
    }
}
