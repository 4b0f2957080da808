//! The table seen from above, as SVG. It shows what the plain table beside it says; a screen reader
//! gets one sentence.

use std::rc::Rc;

use potluck_protocol::id::NodeId;
use potluck_protocol::server::NodeKind;
use yew::{Html, Properties, classes, function_component, html};

use super::light::Light;
use super::seats::{
    self, DISH_RADIUS, Dish, MARGIN, MIDDLE, SEAT_RADIUS, SIZE, Seat, TABLE_RADIUS, Who,
};
use crate::state::numbers;
use crate::state::swarm::Swarm;

/// Properties of [`Table`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct TableProps {
    /// Who is connected.
    pub(super) swarm: Rc<Swarm>,
    /// The model one would lend for, if the server has said so.
    pub(super) model: Option<String>,
    /// Layers of the model; 0 if unknown.
    pub(super) layers: u32,
    /// This tab.
    pub(super) you: Option<NodeId>,
    /// Who computes this visitor's answer just now, in order; empty while nobody does.
    pub(super) route: Vec<NodeId>,
    /// Tokens of that answer.
    pub(super) tokens: u32,
}

/// The drawing.
#[function_component]
pub(super) fn Table(props: &TableProps) -> Html {
    let model = props.model.as_deref().unwrap_or_default();
    let (seats, left_out) = seats::arrange(&props.swarm, model, props.layers, props.you);
    let way = seats::way(&seats, props.route.iter().copied());
    let (top, bottom) = seats::extent(&seats);
    let view_box = format!("{MARGIN:.1} {top:.1} {:.1} {:.1}", SIZE - 2.0 * MARGIN, bottom - top);
    let middle = MIDDLE.to_string();
    let (number, word) = if props.route.is_empty() {
        (props.layers, if props.layers == 1 { "layer" } else { "layers" })
    } else {
        (props.tokens, if props.tokens == 1 { "token" } else { "tokens" })
    };
    html! {
        <>
            <svg class="table" viewBox={view_box} role="img" aria-label={sentence(&seats, &props.swarm, left_out)}>
                <circle class="table-top" cx={middle.clone()} cy={middle.clone()} r={TABLE_RADIUS.to_string()} />
                if let Some(way) = &way {
                    <path class="way" d={way.clone()} />
                }
                <circle class="bowl" cx={middle.clone()} cy={middle.clone()} r="32" />
                if number > 0 {
                    <text class="bowl-number" x={middle.clone()} y={(MIDDLE + 2.0).to_string()}>{ number }</text>
                    <text class="bowl-word" x={middle.clone()} y={(MIDDLE + 17.0).to_string()}>{ word }</text>
                }
                { for seats.iter().map(seat) }
                if let Some(way) = way {
                    <Light path={way} tokens={props.tokens} />
                }
            </svg>
            <p class="legend soft" aria-hidden="true">
                if props.swarm.is_summed() {
                    <span>{ "a chair for all who serve the layers before it" }</span>
                } else {
                    <span>{ "○ browser" }</span><span>{ "□ native" }</span>
                    <span><span class="ok">{ "●" }</span>{ " computed just now" }</span>
                }
            </p>
            if left_out > 0 {
                <p class="soft">{ format!("And {left_out} more, who find no room in the drawing.") }</p>
            }
        </>
    }
}

fn seat(seat: &Seat) -> Html {
    let names = match &seat.who {
        Who::One(sitter) => name_lines(sitter.node),
        // On the line that is nearer to the chair.
        Who::Many(_) if seat.name_at.0.y < seat.at.y => (String::new(), "seats".to_owned()),
        Who::Many(_) => ("seats".to_owned(), String::new()),
        Who::Nobody => ("pull up".to_owned(), "a chair".to_owned()),
    };
    let (first, second) = seat.name_at;
    let state = match &seat.who {
        Who::Nobody => "empty",
        Who::One(sitter) if sitter.is_you => "you",
        Who::One(_) | Who::Many(_) => "taken",
    };
    let drawing = html! {
        <>
            { for seat.dishes.iter().map(dish) }
            { chair(seat) }
            <text class="seat-name" x={unit(first.x)} y={unit(first.y)}>{ names.0 }</text>
            <text class="seat-name" x={unit(second.x)} y={unit(second.y)}>{ names.1 }</text>
        </>
    };
    html! {
        <g class={classes!("seat", state)}>
            if seat.who == Who::Nobody {
                // For the mouse only, and only to the card: the keyboard reaches its button anyway,
                // and lending takes a click there.
                <a href="#lend" tabindex="-1">{ drawing }</a>
            } else {
                { drawing }
            }
        </g>
    }
}

fn chair(seat: &Seat) -> Html {
    let one = seat.who.one();
    let square = one.is_some_and(|sitter| sitter.kind == NodeKind::Native);
    let (x, y) = (unit(seat.at.x), unit(seat.at.y));
    let glyph = match &seat.who {
        Who::Nobody => "+".to_owned(),
        Who::One(sitter) if sitter.is_you => "you".to_owned(),
        Who::One(sitter) => initials(sitter.node),
        Who::Many(nodes) => numbers::short(*nodes),
    };
    html! {
        <>
            if matches!(seat.who, Who::Many(_)) {
                // Chairs behind the chair.
                <circle class="chair" cx={unit(seat.at.x + 4.0)} cy={unit(seat.at.y - 4.0)} r={unit(SEAT_RADIUS)} />
            }
            if square {
                <rect class="chair" x={unit(seat.at.x - SEAT_RADIUS + 1.0)} y={unit(seat.at.y - SEAT_RADIUS + 1.0)}
                    width={unit(2.0 * SEAT_RADIUS - 2.0)} height={unit(2.0 * SEAT_RADIUS - 2.0)} rx="5" />
            } else {
                <circle class="chair" cx={x.clone()} cy={y.clone()} r={unit(SEAT_RADIUS)} />
            }
            <text class="glyph" {x} y={unit(seat.at.y + 4.5)}>{ glyph }</text>
            if one.is_some_and(|sitter| sitter.is_working) {
                <circle class="working" cx={unit(seat.at.x + 13.0)} cy={unit(seat.at.y - 13.0)} r="5" />
            }
        </>
    }
}

fn dish(dish: &Dish) -> Html {
    // A dish for several layers is wider: its label is.
    let half = DISH_RADIUS
        .max(4.0 + 3.2 * f64::from(u32::try_from(dish.label.chars().count()).unwrap_or(u32::MAX)));
    html! {
        <>
            <rect class="dish" x={unit(dish.at.x - half)} y={unit(dish.at.y - DISH_RADIUS)} width={unit(2.0 * half)}
                height={unit(2.0 * DISH_RADIUS)} rx={unit(DISH_RADIUS)} />
            <text class="dish-label" x={unit(dish.at.x)} y={unit(dish.at.y + 4.0)}>{ dish.label.clone() }</text>
        </>
    }
}

fn name_lines(node: NodeId) -> (String, String) {
    let name = node.name();
    let (first, second) = name.split_once(' ').unwrap_or((&name, ""));
    (first.to_owned(), second.to_owned())
}

fn initials(node: NodeId) -> String {
    node.name().split(' ').filter_map(|word| word.chars().next()).collect()
}

/// The drawing in words.
fn sentence(seats: &[Seat], swarm: &Swarm, left_out: usize) -> String {
    let empty: Vec<String> = seats
        .iter()
        .filter(|seat| seat.who == Who::Nobody)
        .filter_map(|seat| seat.layers.map(|layers| layers.to_string()))
        .collect();
    let taken = if swarm.is_summed() {
        swarm.totals.nodes as usize
    } else {
        seats.iter().filter(|seat| seat.who != Who::Nobody).count() + left_out
    };
    let people = if taken == 1 { "One seat is".to_owned() } else { format!("{taken} seats are") };
    let missing = match (swarm.is_summed(), empty.is_empty()) {
        (true, true) => "The table below says how many serve which layers.".to_owned(),
        (true, false) => format!("Somewhere in {} a layer is missing.", empty.join(" and ")),
        (false, true) => "The table below says who holds what.".to_owned(),
        (false, false) => format!("Nobody holds {}.", empty.join(" and ")),
    };
    format!("A round table from above. {people} taken. {missing}")
}

/// A length of the drawing, to a tenth.
fn unit(length: f64) -> String {
    format!("{length:.1}")
}
