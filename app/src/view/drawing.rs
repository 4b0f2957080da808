//! The swarm map as SVG. It shows what the plain table below it says; a screen reader gets a summary.

use std::rc::Rc;

use potluck_protocol::id::NodeId;
use potluck_protocol::page::StageView;
use potluck_protocol::server::NodeKind;
use yew::{Html, Properties, classes, function_component, html};

use super::light::Light;
use super::map::{
    self, BAR, BOWL_RADIUS, BOWL_X, Bar, Below, Block, DISH, Dish, Map, SEAT_RADIUS, Seat, Sitter,
    TABLE, TABLE_ENDS, WIDTH,
};
use crate::state::numbers;
use crate::state::swarm::Swarm;
use crate::{later, say, words};

/// Properties of [`Drawing`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct DrawingProps {
    /// Who is connected.
    pub(super) swarm: Rc<Swarm>,
    /// The model one would lend for, if the server has said so.
    pub(super) model: Option<String>,
    /// Layers of the model; 0 if unknown.
    pub(super) layers: u32,
    /// This tab.
    pub(super) you: Option<NodeId>,
    /// Who computes this visitor's answer just now, in order; empty while nobody does.
    pub(super) route: Vec<StageView>,
    /// Tokens of that answer.
    pub(super) tokens: u32,
}

/// The drawing.
#[function_component]
pub(super) fn Drawing(props: &DrawingProps) -> Html {
    let model = props.model.as_deref().unwrap_or_default();
    let map = map::arrange(&props.swarm, model, props.layers, props.you);
    let way = map::way(&props.route, props.layers);
    let [ties, what_ties_are] =
        later::here().map(|it| (it.ties)(&map, &props.swarm, props.you)).unwrap_or_default();
    let (number, word) = if props.route.is_empty() {
        (props.layers, say!("map-layers"))
    } else {
        (props.tokens, say!("map-answer"))
    };
    html! {
        <>
            <svg class="map" viewBox={format!("0 0 {WIDTH:.0} {:.1}", map.height)} role="img"
                aria-label={summary(&map, &props.swarm)}>
                <rect class="table-top" x={unit(TABLE_ENDS.0)} y={unit(TABLE.0)} width={unit(TABLE_ENDS.1 - TABLE_ENDS.0)}
                    height={unit(TABLE.1 - TABLE.0)} rx="30" />
                if let Some(way) = &way {
                    <path class="way" d={way.clone()} />
                }
                { for map.dishes.iter().map(dish) }
                <circle class="bowl" cx={unit(BOWL_X)} cy={unit(TABLE.2)} r={unit(BOWL_RADIUS)} />
                if number > 0 {
                    <text class="bowl-number" x={unit(BOWL_X)} y={unit(TABLE.2 + 2.0)}>{ number }</text>
                    <text class="bowl-word" x={unit(BOWL_X)} y={unit(TABLE.2 + 14.0)}>{ word }</text>
                }
                { ties }
                { below(&map) }
                if let Some(way) = way {
                    <Light path={way} tokens={props.tokens} />
                }
            </svg>
            <p class="legend soft" aria-hidden="true">
                if matches!(map.below, Below::Counts(_)) {
                    <span>{ say!("map-counts") }</span>
                } else {
                    <span>{ say!("map-browser") }</span><span>{ say!("map-native") }</span>
                    <span><span class="ok">{ "●" }</span>{ say!("map-working") }</span>
                }
                { what_ties_are }
            </p>
        </>
    }
}

fn dish(dish: &Dish) -> Html {
    let class = if dish.is_missing { "dish missing" } else { "dish" };
    // Beside a narrow dish there is no room for a number; it stands above.
    let y = if dish.width < DISH { TABLE.2 - DISH / 2.0 - 4.0 } else { TABLE.2 + 4.0 };
    html! {
        <>
            <rect {class} x={unit(dish.x - dish.width / 2.0)} y={unit(TABLE.2 - DISH / 2.0)} width={unit(dish.width)}
                height={unit(DISH)} rx={unit(dish.width / 2.0)} />
            if let Some(label) = &dish.label {
                <text class="dish-label" x={unit(dish.x)} y={unit(y)}>{ label.clone() }</text>
            }
        </>
    }
}

fn below(map: &Map) -> Html {
    match &map.below {
        Below::Seats { blocks, are_named } => {
            html! { { for blocks.iter().map(|one| block(one, *are_named)) } }
        }
        Below::Counts(bars) => html! { { for bars.iter().map(bar) } },
    }
}

fn block(block: &Block, are_named: bool) -> Html {
    let (left, right, y) = block.bracket;
    let (left, right) = (left + 3.0, right - 3.0);
    html! {
        <>
            if block.layers.is_some() {
                <path class="bracket" d={format!("M{left:.1} {y:.1} v5 H{right:.1} v-5")} />
            } else {
                <path class="bracket apart" d={format!("M{left:.1} {:.1} H{right:.1}", y + 2.0)} />
            }
            { for block.seats.iter().map(|one| seat(one, block.layers.is_some(), are_named)) }
        </>
    }
}

fn seat(seat: &Seat, is_wanted: bool, are_named: bool) -> Html {
    let class = match &seat.sitter {
        None => "empty",
        Some(sitter) if sitter.is_you => "you",
        Some(_) => "taken",
    };
    let lines = match &seat.sitter {
        _ if !are_named => None,
        None if is_wanted => Some(say!("map-missing")),
        None => Some(say!("map-room")),
        Some(sitter) => Some(sitter.node.name()),
    };
    html! {
        <g class={classes!("seat", class)}>
            { chair(seat) }
            if let Some((first, second)) = lines.as_deref().map(two_lines) {
                <text class="seat-name" x={unit(seat.at.x)} y={unit(seat.at.y + SEAT_RADIUS + 13.0)}>{ first }</text>
                <text class="seat-name" x={unit(seat.at.x)} y={unit(seat.at.y + SEAT_RADIUS + 26.0)}>{ second }</text>
            }
        </g>
    }
}

fn chair(seat: &Seat) -> Html {
    let square = seat.sitter.is_some_and(|sitter| sitter.kind == NodeKind::Native);
    let (x, y) = (unit(seat.at.x), unit(seat.at.y));
    let glyph = match &seat.sitter {
        None => "+".to_owned(),
        Some(Sitter { is_you: true, .. }) => say!("map-you"),
        Some(sitter) => initials(sitter.node),
    };
    let side = 2.0 * SEAT_RADIUS - 2.0;
    html! {
        <>
            if square {
                <rect class="chair" x={unit(seat.at.x - side / 2.0)} y={unit(seat.at.y - side / 2.0)} width={unit(side)}
                    height={unit(side)} rx="4" />
            } else {
                <circle class="chair" cx={x.clone()} cy={y} r={unit(SEAT_RADIUS)} />
            }
            <text class="glyph" {x} y={unit(seat.at.y + 4.0)}>{ glyph }</text>
            if seat.sitter.is_some_and(|sitter| sitter.is_working) {
                <circle class="working" cx={unit(seat.at.x + 10.0)} cy={unit(seat.at.y - 10.0)} r="4.5" />
            }
        </>
    }
}

fn bar(bar: &Bar) -> Html {
    let (left, right) = (bar.ends.0 + 1.5, bar.ends.1 - 1.5);
    let top = TABLE.1 + 8.0;
    let (class, height) =
        if bar.copies == 0 { ("bar missing", BAR) } else { ("bar", bar.height.max(2.0)) };
    let label = if bar.copies == 0 { "▲ 0".to_owned() } else { numbers::short(bar.copies) };
    html! {
        <>
            <rect {class} x={unit(left)} y={unit(top)} width={unit((right - left).max(1.0))} height={unit(height)} rx="3" />
            // A narrower one has its number in the table below.
            if right - left >= 26.0 {
                <text class="bar-label" x={unit(f64::midpoint(left, right))} y={unit(top + height + 15.0)}>{ label }</text>
            }
        </>
    }
}

/// A name in two lines that fit below a chair.
fn two_lines(name: &str) -> (String, String) {
    let middle = name.chars().count() / 2;
    let blanks = name.char_indices().enumerate().filter(|(_, (_, letter))| *letter == ' ');
    let nearest = blanks.min_by_key(|(place, _)| place.abs_diff(middle));
    match nearest {
        Some((_, (at, _))) => (name[..at].to_owned(), name[at + 1..].to_owned()),
        None => (name.to_owned(), String::new()),
    }
}

fn initials(node: NodeId) -> String {
    node.name().split(' ').filter_map(|word| word.chars().next()).collect()
}

/// The drawing in words.
fn summary(map: &Map, swarm: &Swarm) -> String {
    let missing: Vec<String> = match &map.below {
        Below::Seats { blocks, .. } => {
            let empty = |block: &&Block| block.seats.iter().all(|seat| seat.sitter.is_none());
            blocks
                .iter()
                .filter(empty)
                .filter_map(|block| block.layers)
                .map(words::layers)
                .collect()
        }
        Below::Counts(bars) => {
            bars.iter().filter(|bar| bar.copies == 0).map(|bar| words::layers(bar.layers)).collect()
        }
    };
    let missing = if missing.is_empty() { "none".to_owned() } else { words::list(&missing) };
    let nodes = swarm.nodes.len().max(swarm.totals.nodes as usize);
    say!("map-summary", nodes = nodes, missing = missing)
}

/// A length of the drawing, to a tenth.
fn unit(length: f64) -> String {
    format!("{length:.1}")
}
