//! This tab's own connections, drawn into the swarm map: a line from its chair, or from the bowl that
//! its answer comes into, to each chair that it is connected to, dashed where the bytes go through a
//! relay. How others are connected among themselves only they know.

use potluck_protocol::id::NodeId;
use yew::{Html, html};

use super::map::{BOWL_RADIUS, BOWL_X, Below, Map, Point, SEAT_RADIUS, Sitter, TABLE};
use crate::say;
use crate::state::swarm::{Swarm, Tie};

/// How far a line rises above the chairs that it joins, so that it passes over those in between and
/// not through them.
const RISE: f64 = 22.0;

/// A line.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    /// SVG path data.
    path: String,
    is_relayed: bool,
}

/// The lines, and what they mean as far as there are such. None in a drawing of counts, which has no
/// chairs.
pub(super) fn drawn(map: &Map, swarm: &Swarm, you: Option<NodeId>) -> [Html; 2] {
    let lines = lines(map, &swarm.ties, you);
    let kinds = [(false, "legend-direct"), (true, "legend-relayed")];
    let kinds = kinds.into_iter().filter(|kind| lines.iter().any(|line| line.is_relayed == kind.0));
    let legend = html! {
        { for kinds.map(|(is_relayed, hook)| html! {
            <span data-testid={hook}>
                <svg viewBox="0 0 34 8" width="34" height="8">{ stroke("M1 4H27".to_owned(), is_relayed) }</svg>
                { words(is_relayed) }
            </span>
        }) }
    };
    [html! { { for lines.into_iter().map(|line| stroke(line.path, line.is_relayed)) } }, legend]
}

/// That this tab is connected to `node`, and how, for the table.
pub(super) fn tie_words(swarm: &Swarm, node: NodeId) -> Option<String> {
    swarm.ties.iter().find(|tie| tie.node == node).map(|tie| words(tie.is_relayed))
}

fn words(is_relayed: bool) -> String {
    if is_relayed { say!("tie-relayed") } else { say!("tie-direct") }
}

fn stroke(path: String, is_relayed: bool) -> Html {
    let dashes = is_relayed.then_some("5 4");
    html! { <path class="bracket tie" d={path} stroke-dasharray={dashes} /> }
}

fn lines(map: &Map, ties: &[Tie], you: Option<NodeId>) -> Vec<Line> {
    let Below::Seats { blocks, .. } = &map.below else { return Vec::new() };
    let seats = || blocks.iter().flat_map(|block| &block.seats);
    let chair = |node: NodeId| {
        let sits = |sitter: &Sitter| sitter.node == node;
        seats().find(|seat| seat.sitter.as_ref().is_some_and(sits)).map(|seat| seat.at)
    };
    let own = you.and_then(chair);
    ties.iter()
        .filter_map(|tie| chair(tie.node).map(|to| (tie, to)))
        .map(|(tie, to)| Line { path: path(own, to), is_relayed: tie.is_relayed })
        .collect()
}

/// From the chair `own`, or from the bowl, over the chairs in between to the chair at `to`.
fn path(own: Option<Point>, to: Point) -> String {
    let above = |at: Point| Point { x: at.x, y: at.y - SEAT_RADIUS };
    let to = above(to);
    let (from, lean) = match own {
        Some(own) => (above(own), -RISE),
        None => (Point { x: BOWL_X, y: TABLE.2 + BOWL_RADIUS }, RISE),
    };
    format!(
        "M{:.1} {:.1} C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}",
        from.x,
        from.y,
        from.x,
        from.y + lean,
        to.x,
        to.y - RISE,
        to.x,
        to.y
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::swarm::swarm_of;
    use crate::view::map::arrange;

    fn node(byte: u8) -> NodeId {
        NodeId([byte; 32])
    }

    fn tie(byte: u8, is_relayed: bool) -> Tie {
        Tie { node: node(byte), is_relayed }
    }

    #[test]
    fn a_line_joins_ones_own_chair_with_each_that_it_is_connected_to() {
        let map = arrange(&swarm_of(&[Some([0, 2]), Some([3, 5])]), "", 6, Some(node(1)));
        let lines = lines(&map, &[tie(2, true), tie(9, false)], Some(node(1)));
        let path = "M96.0 84.0 C96.0 62.0 256.0 62.0 256.0 84.0".to_owned();
        assert_eq!(lines, [Line { path, is_relayed: true }], "who has no chair has no line");
    }

    #[test]
    fn who_only_asks_is_joined_from_the_bowl() {
        let map = arrange(&swarm_of(&[Some([0, 5])]), "", 6, None);
        let lines = lines(&map, &[tie(1, false)], Some(node(7)));
        let path = "M368.0 58.0 C368.0 80.0 176.0 62.0 176.0 84.0".to_owned();
        assert_eq!(lines, [Line { path, is_relayed: false }]);
    }

    #[test]
    fn a_drawing_of_counts_has_no_lines() {
        let many = Swarm { nodes: swarm_of(&[None; 61]).nodes, ..Swarm::default() };
        let map = arrange(&many, "", 6, None);
        assert!(matches!(map.below, Below::Counts(_)));
        assert_eq!(lines(&map, &[tie(1, true)], None), []);
    }
}
