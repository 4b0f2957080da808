//! The swarm as numbers: a long table seen from above, laid out by calculation. Pure; `drawing.rs`
//! turns it into SVG.
//!
//! ```text
//!  ╭───────────────────────────────╮
//!  │ ①   ②   ③   ④   ⑤   ⑥   answer│   the model's layers in a row, as dishes on the table
//!  ╰───────────────────────────────╯
//!   ╰─────────╯ ╰─────────────╯        who holds the same layers sits below them,
//!      ○   □          ○                seat by seat, in as many rows as it takes
//! ```
//! A token's way through the model is a way along the table. Layers that nobody holds have an empty
//! chair. Above [`MAX_SEATS`] nodes, and where the server tells only sums, a bar below each layer
//! says how many hold it. Lengths are units of a drawing [`WIDTH`] wide.

use potluck_protocol::api::NodeView;
use potluck_protocol::id::{LayerRange, NodeId};
use potluck_protocol::page::StageView;
use potluck_protocol::server::NodeKind;

use crate::state::swarm::Swarm;

/// Width of the drawing: about what a telephone has, so that text is not shrunk there.
pub const WIDTH: f64 = 400.0;
/// Top and bottom of the table, and the line of the dishes on it.
pub const TABLE: (f64, f64, f64) = (4.0, 64.0, 34.0);
/// Left and right end of the table.
pub const TABLE_ENDS: (f64, f64) = (4.0, WIDTH - 4.0);
/// Middle of the bowl that the answer comes into, on the line of the dishes.
pub const BOWL_X: f64 = 368.0;
/// Radius of the bowl.
pub const BOWL_RADIUS: f64 = 24.0;
/// Radius of a chair.
pub const SEAT_RADIUS: f64 = 14.0;
/// Height of a dish; one of a single layer is as wide, if there is room.
pub const DISH: f64 = 20.0;
/// Nodes with a chair each at most; above that the drawing is of counts.
pub const MAX_SEATS: usize = 60;
/// Nodes whose names are written at most: beyond this they would be smaller than can be read.
pub const MAX_NAMES: usize = 12;
/// Height of the highest bar of counts.
pub const BAR: f64 = 96.0;

/// Where the row of layers begins and ends.
const ROW: (f64, f64) = (16.0, 336.0);
/// Dishes at most; of a model with more layers each stands for several.
const MAX_DISHES: u32 = 64;
/// Where a dish's label needs more room than there is, only some have one.
const LABEL_WIDTH: f64 = 20.0;
/// Room for a chair with a name below it, and for one without: width and height.
const NAMED: (f64, f64) = (66.0, 66.0);
const UNNAMED: (f64, f64) = (32.0, 34.0);
/// From the top of a block, where its bracket is, to its first row of chairs.
const BRACKET: f64 = 12.0;
/// Seats that would make a drawing higher than this are drawn as counts.
const MAX_HEIGHT: f64 = 900.0;

/// A place in the drawing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Downwards.
    pub y: f64,
}

/// Everything that is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// The model's layers, in a row.
    pub dishes: Vec<Dish>,
    /// Below them, who holds them.
    pub below: Below,
    /// Height of it all.
    pub height: f64,
}

/// A layer, or some of them, on the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Dish {
    /// The layers.
    pub layers: LayerRange,
    /// Its middle, from left to right.
    pub x: f64,
    /// How wide it is.
    pub width: f64,
    /// Its number, where there is room for one.
    pub label: Option<String>,
    /// Nobody holds it, or one of them.
    pub is_missing: bool,
}

/// Who holds the layers.
#[derive(Clone, Debug, PartialEq)]
pub enum Below {
    /// A chair for each.
    Seats {
        /// Those who hold the same, together.
        blocks: Vec<Block>,
        /// Names are written below the chairs.
        are_named: bool,
    },
    /// How many hold each layer.
    Counts(Vec<Bar>),
}

/// Chairs of those who hold the same layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// What they hold; `None` for those who were given none yet.
    pub layers: Option<LayerRange>,
    /// From where to where the bracket above the chairs reaches, and how far down it is.
    pub bracket: (f64, f64, f64),
    /// The chairs.
    pub seats: Vec<Seat>,
}

/// A chair.
#[derive(Clone, Debug, PartialEq)]
pub struct Seat {
    /// Who sits there; `None` is an empty chair.
    pub sitter: Option<Sitter>,
    /// Its middle.
    pub at: Point,
}

/// Somebody on a chair.
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

/// How many hold some neighbouring layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// The layers.
    pub layers: LayerRange,
    /// How many nodes hold each.
    pub copies: u32,
    /// Its left and right end.
    pub ends: (f64, f64),
    /// How high it is; 0 where nobody holds them.
    pub height: f64,
}

/// Lays the swarm out. `model` and `layers`: of the model people lend for; 0 layers if unknown.
#[must_use]
pub fn arrange(swarm: &Swarm, model: &str, layers: u32, you: Option<NodeId>) -> Map {
    let row = Row { layers };
    let seated = (!swarm.is_summed() && swarm.nodes.len() <= MAX_SEATS)
        .then(|| seats(swarm, &row, you))
        .filter(|(_, height)| *height <= MAX_HEIGHT);
    let (below, height) = seated.unwrap_or_else(|| counts(swarm, &row, model));
    let is_missing = |range: LayerRange| match &below {
        Below::Seats { .. } => swarm.gaps(layers).iter().any(|gap| overlap(*gap, range)),
        Below::Counts(bars) => bars.iter().any(|bar| bar.copies == 0 && overlap(bar.layers, range)),
    };
    let mut dishes = row.dishes();
    dishes.iter_mut().for_each(|dish| dish.is_missing = is_missing(dish.layers));
    Map { dishes, below, height }
}

/// The way of a token along the table into the bowl, as SVG path data; `None` while nobody computes.
#[must_use]
pub fn way(stages: &[StageView], layers: u32) -> Option<String> {
    let row = Row { layers };
    let y = TABLE.2 + DISH / 2.0 + 6.0;
    let mut path = String::new();
    for stage in stages {
        let x = row.middle(stage.layers);
        let command = if path.is_empty() { 'M' } else { 'L' };
        path.push_str(&format!("{command}{x:.1} {y:.1} "));
    }
    (!path.is_empty()).then(|| format!("{path}L{:.1} {:.1}", BOWL_X, TABLE.2))
}

/// The row of layers.
struct Row {
    layers: u32,
}

impl Row {
    /// Where a layer begins.
    fn start(&self, layer: u32) -> f64 {
        let share = f64::from(layer.min(self.layers)) / f64::from(self.layers.max(1));
        ROW.0 + (ROW.1 - ROW.0) * share
    }

    fn ends(&self, range: LayerRange) -> (f64, f64) {
        (self.start(range.first), self.start(range.end))
    }

    fn middle(&self, range: LayerRange) -> f64 {
        let (left, right) = self.ends(range);
        f64::midpoint(left, right)
    }

    fn dishes(&self) -> Vec<Dish> {
        let each = self.layers.div_ceil(MAX_DISHES).max(1);
        let firsts = (0..self.layers).step_by(each as usize);
        let width = (self.start(each) - self.start(0)).min(ROW.1 - ROW.0);
        let every = if width >= LABEL_WIDTH { 1 } else { steps(width) };
        let dish = |(first, place): (u32, u32)| {
            let layers = LayerRange { first, end: self.layers.min(first + each) };
            let label = place.is_multiple_of(every).then(|| first.to_string());
            let x = self.middle(layers);
            Dish { layers, x, width: (width * 0.8).min(DISH), label, is_missing: false }
        };
        firsts.zip(0..).map(dish).collect()
    }
}

/// Every how many dishes there is room for a label.
fn steps(width: f64) -> u32 {
    let fits = |every: &u32| f64::from(*every) * width >= LABEL_WIDTH;
    [2, 4, 5, 8, 10, 16].into_iter().find(fits).unwrap_or(32)
}

fn overlap(one: LayerRange, other: LayerRange) -> bool {
    one.first < other.end && other.first < one.end
}

type Group = (Option<LayerRange>, Vec<Option<Sitter>>);

/// Those who hold the same, together, by their layers; those who hold none last, with a chair for
/// whoever looks on.
fn groups(swarm: &Swarm, layers: u32, you: Option<NodeId>) -> Vec<Group> {
    let mut nodes: Vec<&NodeView> = swarm.nodes.iter().collect();
    let key =
        |range: Option<LayerRange>| range.map_or((u32::MAX, 0), |range| (range.first, range.end));
    nodes.sort_by_key(|node| (key(node.range()), node.id));
    let mut groups: Vec<Group> = Vec::new();
    for node in nodes {
        let sitter = Sitter {
            node: node.id,
            kind: node.kind,
            is_you: Some(node.id) == you,
            is_working: swarm.working.contains(&node.id),
        };
        match groups.last_mut() {
            Some((range, sitters)) if *range == node.range() => sitters.push(Some(sitter)),
            _ => groups.push((node.range(), vec![Some(sitter)])),
        }
    }
    let gaps = swarm.gaps(layers);
    let is_full = gaps.is_empty();
    groups.extend(gaps.into_iter().map(|gap| (Some(gap), vec![None])));
    groups.sort_by_key(|(range, _)| key(*range));
    let you_sit = you.is_some_and(|you| swarm.nodes.iter().any(|node| node.id == you));
    if is_full && !you_sit {
        match groups.last_mut() {
            Some((None, sitters)) => sitters.push(None),
            _ => groups.push((None, vec![None])),
        }
    }
    groups
}

fn seats(swarm: &Swarm, row: &Row, you: Option<NodeId>) -> (Below, f64) {
    let are_named = swarm.nodes.len() <= MAX_NAMES;
    let (width, height) = if are_named { NAMED } else { UNNAMED };
    let mut blocks: Vec<Block> = Vec::new();
    // What is taken: left, right, bottom.
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for (layers, sitters) in groups(swarm, row.layers, you) {
        let bracket =
            layers.map_or((TABLE_ENDS.0 + 2.0, TABLE_ENDS.1 - 2.0), |range| row.ends(range));
        let count = u32::try_from(sitters.len()).unwrap_or(u32::MAX);
        let in_a_row = (1..=count)
            .take_while(|seats| f64::from(*seats) * width <= bracket.1 - bracket.0)
            .last()
            .unwrap_or(1);
        // A block is as wide as what it holds, or as a chair, and inside the drawing.
        let half = f64::midpoint(bracket.1, -bracket.0).max(width / 2.0);
        let middle = f64::midpoint(bracket.0, bracket.1).clamp(half, WIDTH - half);
        let (left, right) = (middle - half, middle + half);
        let meets = |(from, to, _): &&(f64, f64, f64)| *from < right - 1.0 && left + 1.0 < *to;
        let top = taken.iter().filter(meets).map(|block| block.2).fold(TABLE.1 + 8.0, f64::max);
        let place = |(sitter, place): (Option<Sitter>, u32)| {
            let line = place / in_a_row;
            let in_line = in_a_row.min(count - line * in_a_row);
            let from_middle = f64::from(place % in_a_row) - (f64::from(in_line) - 1.0) / 2.0;
            let y = top + BRACKET + SEAT_RADIUS + f64::from(line) * height;
            Seat { sitter, at: Point { x: middle + from_middle * width, y } }
        };
        let seats = sitters.into_iter().zip(0..).map(place).collect();
        taken.push((left, right, top + BRACKET + f64::from(count.div_ceil(in_a_row)) * height));
        blocks.push(Block { layers, bracket: (bracket.0, bracket.1, top), seats });
    }
    let bottom = taken.iter().map(|block| block.2).fold(TABLE.1 + 4.0, f64::max);
    (Below::Seats { blocks, are_named }, bottom)
}

fn counts(swarm: &Swarm, row: &Row, model: &str) -> (Below, f64) {
    let runs = swarm.copies_of(model);
    let most = runs.iter().map(|(_, copies)| *copies).max().unwrap_or(0).max(1);
    let bar = |(layers, copies): (LayerRange, u32)| Bar {
        layers,
        copies,
        ends: row.ends(layers),
        height: BAR * f64::from(copies) / f64::from(most),
    };
    (Below::Counts(runs.into_iter().map(bar).collect()), TABLE.1 + BAR + 36.0)
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

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
