//! Where everyone sits: the table's drawing as numbers, laid out by calculation. Pure; `table.rs`
//! turns it into SVG.
//!
//! Seats go round clockwise from the top in the order of their layers, so a token's way through the
//! model is a way round the table. A layer without a seat is an empty chair. Where the server tells
//! only sums, a chair stands for everyone who holds some layers. Lengths are units of a drawing
//! [`SIZE`] wide and high.

use core::f64::consts::{FRAC_PI_2, TAU};

use potluck_protocol::api::NodeView;
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::server::NodeKind;

use crate::state::swarm::Swarm;

/// Width and height of the drawing: about what a telephone has, so that text is not shrunk there.
pub const SIZE: f64 = 400.0;
/// Width at the left and right that stays empty: the outermost seats with their longest names end
/// before it.
pub const MARGIN: f64 = 24.0;
/// The middle of the table, in both directions.
pub const MIDDLE: f64 = SIZE / 2.0;
/// Radius of the table.
pub const TABLE_RADIUS: f64 = 116.0;
/// Radius of a seat.
pub const SEAT_RADIUS: f64 = 18.0;
/// Radius of a dish that is one layer.
pub const DISH_RADIUS: f64 = 10.0;
/// Seats drawn at most: beyond this their names overlap. The plain table beside the drawing has
/// everyone.
pub const MAX_SEATS: usize = 12;

const SEAT_RING: f64 = 142.0;
const DISH_RING: f64 = 86.0;
/// Where a token passes: between the dishes and the table's edge.
const WAY_RING: f64 = 106.0;
/// Angle between two dishes of one seat.
const DISH_STEP: f64 = 2.3 * DISH_RADIUS / DISH_RING;

/// A place in the drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

/// A chair, with or without somebody on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// Who sits there.
    pub who: Who,
    /// The layers before it; for an empty chair, those that nobody holds.
    pub layers: Option<LayerRange>,
    /// Its middle.
    pub at: Point,
    /// Where a token passes it.
    pub way: Point,
    /// What stands before it: one dish a layer, or one for all if they would not fit.
    pub dishes: Vec<Dish>,
    /// Middle of the first and second line of its name, above or below the seat.
    pub name_at: (Point, Point),
}

/// Who sits on a chair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody.
    Nobody,
    /// One node.
    One(Sitter),
    /// So many nodes, of a table too large for a chair each.
    Many(u32),
}

impl Who {
    /// The node, if it is one.
    #[must_use]
    pub fn one(&self) -> Option<&Sitter> {
        match self {
            Self::One(sitter) => Some(sitter),
            Self::Nobody | Self::Many(_) => None,
        }
    }
}

/// Somebody at the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sitter {
    /// The node.
    pub node: NodeId,
    /// Browsers are round, programs square.
    pub kind: NodeKind,
    /// True for this tab.
    pub is_you: bool,
    /// True if it computed something just now.
    pub is_working: bool,
}

/// A dish on the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Dish {
    /// Its middle.
    pub at: Point,
    /// `3`, or `0–15`.
    pub label: String,
}

/// Seats everyone. `model` and `layers`: of the model people lend for; 0 layers if unknown. Without a
/// gap there is still one chair for a visitor who does not sit yet. The second value is how many
/// found no room in the drawing.
#[must_use]
pub fn arrange(swarm: &Swarm, model: &str, layers: u32, you: Option<NodeId>) -> (Vec<Seat>, usize) {
    let (chairs, left_out) =
        if swarm.is_summed() { (crowds(swarm, model), 0) } else { everyone(swarm, layers, you) };
    let share = TAU / f64::from(u32::try_from(chairs.len().max(1)).unwrap_or(u32::MAX));
    let seats = chairs.into_iter().zip(0_u32..).map(|((layers, who), place)| {
        let angle = f64::from(place) * share - FRAC_PI_2;
        let at = on_ring(SEAT_RING, angle);
        Seat {
            who,
            layers,
            at,
            way: on_ring(WAY_RING, angle),
            dishes: dishes(layers, angle, share),
            name_at: name_at(at),
        }
    });
    (seats.collect(), left_out)
}

type Chair = (Option<LayerRange>, Who);

/// A chair for each node and for each gap.
fn everyone(swarm: &Swarm, layers: u32, you: Option<NodeId>) -> (Vec<Chair>, usize) {
    let sitter = |node: &NodeView| {
        let (is_you, is_working) = (Some(node.id) == you, swarm.working.contains(&node.id));
        Sitter { node: node.id, kind: node.kind, is_you, is_working }
    };
    let is_you = |who: &Who| who.one().is_some_and(|one| one.is_you);
    let nodes = swarm.nodes.iter().map(|node| (node.range(), Who::One(sitter(node))));
    let mut chairs: Vec<Chair> = nodes.collect();
    chairs.extend(swarm.gaps(layers).into_iter().map(|gap| (Some(gap), Who::Nobody)));
    let you_hold = chairs.iter().any(|(range, who)| range.is_some() && is_you(who));
    if !you_hold && chairs.iter().all(|(_, who)| *who != Who::Nobody) {
        chairs.push((None, Who::Nobody));
    }
    // By layers; those who hold none come last, an empty chair for nothing after them.
    chairs.sort_by_key(|(range, who)| {
        let node = who.one().map(|one| one.node);
        (range.map_or(u32::MAX, |range| range.first), node.is_none(), node)
    });
    let left_out = chairs.len().saturating_sub(MAX_SEATS);
    let place = chairs.iter().position(|(_, who)| is_you(who));
    if let Some(place) = place.filter(|place| *place >= MAX_SEATS) {
        // You are at your own table, whoever else finds no room.
        chairs.swap(place, MAX_SEATS - 1);
    }
    chairs.truncate(MAX_SEATS);
    (chairs, left_out)
}

/// The layers in as many equal parts as there is room for chairs; on each sit those who serve every
/// layer of it. A part with a layer that nobody serves is an empty chair.
fn crowds(swarm: &Swarm, model: &str) -> Vec<Chair> {
    let copies = swarm.copies.iter().find(|one| one.name == model);
    let copies = copies.map_or(&[][..], |one| &one.copies);
    let part = copies.len().div_ceil(MAX_SEATS).max(1);
    let chair = |(first, copies): (u32, &[u32])| {
        let range = LayerRange::new(first, first + u32::try_from(copies.len()).ok()?)?;
        let who = match copies.iter().min() {
            None | Some(0) => Who::Nobody,
            Some(nodes) => Who::Many(*nodes),
        };
        Some((Some(range), who))
    };
    let firsts = (0_u32..).step_by(part);
    firsts.zip(copies.chunks(part)).filter_map(chair).collect()
}

/// The way of a token from seat to seat into the middle, as SVG path data; `None` if nobody of the
/// route is seated.
#[must_use]
pub fn way(seats: &[Seat], stages: impl IntoIterator<Item = NodeId>) -> Option<String> {
    let mut path = String::new();
    let mut from: Option<Point> = None;
    for node in stages {
        let Some(seat) =
            seats.iter().find(|seat| seat.who.one().is_some_and(|one| one.node == node))
        else {
            continue;
        };
        match from {
            None => path = format!("M{:.1} {:.1}", seat.way.x, seat.way.y),
            Some(from) => {
                // Bent towards the middle, so that a hop between neighbours does not cut through
                // their dishes.
                let bend = |a: f64, b: f64| MIDDLE + ((a + b) / 2.0 - MIDDLE) * 0.55;
                let (x, y) = (bend(from.x, seat.way.x), bend(from.y, seat.way.y));
                path.push_str(&format!(" Q{x:.1} {y:.1} {:.1} {:.1}", seat.way.x, seat.way.y));
            }
        }
        from = Some(seat.way);
    }
    from.map(|_| format!("{path} L{MIDDLE:.1} {MIDDLE:.1}"))
}

/// Top and bottom of what is drawn, so that a table with few seats does not carry empty paper
/// around.
#[must_use]
pub fn extent(seats: &[Seat]) -> (f64, f64) {
    let edge = TABLE_RADIUS + 8.0;
    seats.iter().fold((MIDDLE - edge, MIDDLE + edge), |(top, bottom), seat| {
        let (above, below) = (
            seat.name_at.0.y.min(seat.at.y - SEAT_RADIUS),
            seat.name_at.1.y.max(seat.at.y + SEAT_RADIUS),
        );
        // Names are set on their line: letters reach above it by about 12, below it by about 6.
        (top.min(above - 14.0), bottom.max(below + 8.0))
    })
}

fn on_ring(radius: f64, angle: f64) -> Point {
    Point { x: MIDDLE + radius * angle.cos(), y: MIDDLE + radius * angle.sin() }
}

fn dishes(layers: Option<LayerRange>, angle: f64, share: f64) -> Vec<Dish> {
    let Some(range) = layers else { return Vec::new() };
    if f64::from(range.len()) * DISH_STEP > share * 0.95 || range.len() > 6 {
        return vec![Dish { at: on_ring(DISH_RING, angle), label: short_range(range) }];
    }
    let first = angle - f64::from(range.len() - 1) * DISH_STEP / 2.0;
    let dish = |(layer, place): (u32, u32)| Dish {
        at: on_ring(DISH_RING, first + f64::from(place) * DISH_STEP),
        label: layer.to_string(),
    };
    range.indices().zip(0..).map(dish).collect()
}

/// `3`, or `0–15`.
#[must_use]
pub fn short_range(range: LayerRange) -> String {
    if range.len() == 1 {
        range.first.to_string()
    } else {
        format!("{}–{}", range.first, range.end.saturating_sub(1))
    }
}

/// Names go outwards at the top, below the seat elsewhere: there is always room there.
fn name_at(seat: Point) -> (Point, Point) {
    let line = |y: f64| Point { x: seat.x, y };
    if seat.y < MIDDLE - SEAT_RING * 0.3 {
        (line(seat.y - SEAT_RADIUS - 20.0), line(seat.y - SEAT_RADIUS - 6.0))
    } else {
        (line(seat.y + SEAT_RADIUS + 14.0), line(seat.y + SEAT_RADIUS + 28.0))
    }
}

#[cfg(test)]
mod tests {
    use potluck_protocol::api::{ModelCopies, SwarmTotals};

    use super::*;
    use crate::state::swarm::swarm_of;

    fn layers_round_the_table(seats: &[Seat]) -> Vec<Option<LayerRange>> {
        seats.iter().map(|seat| seat.layers).collect()
    }

    #[test]
    fn seats_go_round_in_the_order_of_layers_with_gaps_between() {
        let (seats, left_out) =
            arrange(&swarm_of(&[None, Some([4, 5]), Some([0, 1])]), "", 6, None);
        let range = |first, end| Some(LayerRange { first, end });
        assert_eq!(layers_round_the_table(&seats), [range(0, 2), range(2, 4), range(4, 6), None]);
        assert_eq!(
            seats.iter().map(|seat| seat.who.one().is_some()).collect::<Vec<_>>(),
            [true, false, true, true]
        );
        assert_eq!(left_out, 0);
        assert!(
            (seats[0].at.x - MIDDLE).abs() < 1e-9 && seats[0].at.y < MIDDLE,
            "the first seat is at the top"
        );
    }

    #[test]
    fn a_full_table_keeps_a_chair_for_a_visitor_only() {
        let full = swarm_of(&[Some([0, 5])]);
        assert_eq!(arrange(&full, "", 6, None).0.len(), 2);
        assert_eq!(arrange(&full, "", 6, Some(NodeId([1; 32]))).0.len(), 1);
    }

    #[test]
    fn an_empty_table_is_one_chair_with_every_layer() {
        let (seats, _) = arrange(&Swarm::default(), "", 6, None);
        assert_eq!(layers_round_the_table(&seats), [Some(LayerRange { first: 0, end: 6 })]);
        assert_eq!(arrange(&Swarm::default(), "", 0, None).0.len(), 1);
    }

    #[test]
    fn everything_stays_inside_the_drawing_and_nothing_overlaps() {
        for count in 1..=40_u32 {
            let ranges: Vec<_> = (0..count).map(|layer| Some([layer, layer])).collect();
            let (seats, left_out) = arrange(&swarm_of(&ranges), "", count, Some(NodeId([1; 32])));
            assert_eq!(seats.len() + left_out, count as usize);
            let (top, bottom) = extent(&seats);
            assert!(
                (0.0..MIDDLE).contains(&top) && bottom <= SIZE,
                "{count} seats: {top} to {bottom}"
            );
            for seat in &seats {
                let points = [seat.at, seat.way, seat.name_at.0, seat.name_at.1];
                assert!(points.iter().all(|point| (0.0..=SIZE).contains(&point.x)
                    && (8.0..=SIZE - 4.0).contains(&point.y)));
            }
            for (place, seat) in seats.iter().enumerate() {
                for other in &seats[..place] {
                    let distance = (seat.at.x - other.at.x).hypot(seat.at.y - other.at.y);
                    assert!(distance > 2.0 * SEAT_RADIUS, "{count} seats: {distance}");
                }
            }
        }
    }

    #[test]
    fn you_always_find_room() {
        let ranges: Vec<_> = (0..30).map(|layer| Some([layer, layer])).collect();
        let (seats, left_out) = arrange(&swarm_of(&ranges), "", 30, Some(NodeId([30; 32])));
        assert_eq!((seats.len(), left_out), (MAX_SEATS, 30 - MAX_SEATS));
        assert!(seats.iter().any(|seat| seat.who.one().is_some_and(|one| one.is_you)));
    }

    #[test]
    fn a_crowd_sits_by_its_layers_and_a_missing_one_leaves_a_chair_empty() {
        let crowd = |copies: &[u32]| Swarm {
            copies: vec![ModelCopies {
                name: "m".to_owned(),
                layers: u32::try_from(copies.len()).unwrap(),
                copies: copies.to_vec(),
            }],
            totals: SwarmTotals { nodes: 400, ..SwarmTotals::default() },
            ..Swarm::default()
        };
        let (seats, left_out) = arrange(&crowd(&[80, 80, 79, 0]), "m", 4, None);
        let who: Vec<Who> = seats.iter().map(|seat| seat.who).collect();
        assert_eq!(who, [Who::Many(80), Who::Many(80), Who::Many(79), Who::Nobody]);
        assert_eq!(left_out, 0);
        let mut copies = vec![50; 32];
        copies[31] = 0;
        let (seats, _) = arrange(&crowd(&copies), "m", 32, None);
        let range = |first, end| Some(LayerRange { first, end });
        assert!(seats.len() <= MAX_SEATS && seats.last().unwrap().who == Who::Nobody);
        assert_eq!((seats[0].layers, seats[10].layers), (range(0, 3), range(30, 32)));
        assert_eq!(arrange(&crowd(&copies), "another", 32, None).0, []);
    }

    #[test]
    fn dishes_merge_where_they_would_not_fit() {
        let labels =
            |seat: &Seat| seat.dishes.iter().map(|dish| dish.label.clone()).collect::<Vec<_>>();
        let (seats, _) =
            arrange(&swarm_of(&[Some([0, 2]), Some([3, 34])]), "", 35, Some(NodeId([1; 32])));
        assert_eq!(labels(&seats[0]), ["0", "1", "2"]);
        assert_eq!(labels(&seats[1]), ["3–34"]);
    }

    #[test]
    fn the_way_goes_round_in_the_order_of_the_route_and_ends_in_the_middle() {
        let (seats, _) =
            arrange(&swarm_of(&[Some([0, 2]), Some([3, 5])]), "", 6, Some(NodeId([1; 32])));
        let path = way(&seats, [NodeId([1; 32]), NodeId([2; 32])]).unwrap();
        assert!(path.starts_with("M200.0 94.0 Q") && path.ends_with(" L200.0 200.0"), "{path}");
        assert_eq!(way(&seats, [NodeId([9; 32])]), None);
    }
}
