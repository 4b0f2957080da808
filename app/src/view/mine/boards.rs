//! Who computed most: among those with like hardware, in a week or ever.

use potluck_protocol::api::{BoardOf, HardwareClass, Period, PlaceView};
use potluck_protocol::id::NodeId;
use yew::{Callback, Event, Html, Properties, function_component, html};

use crate::say;
use crate::state::mine::{self, MineAction, Which};
use crate::state::numbers;
use crate::view::choices::value;
use crate::view::plot::date;

/// Properties of [`Boards`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub(super) struct BoardsProps {
    pub(super) mine: mine::Mine,
    /// This tab.
    pub(super) node: Option<NodeId>,
    /// There are no teams there.
    pub(super) is_in_room: bool,
    pub(super) dispatch: Callback<MineAction>,
}

#[function_component]
pub(super) fn Boards(props: &BoardsProps) -> Html {
    let which = props.mine.which;
    let board = props.mine.board.clone().unwrap_or_default();
    let team = props.mine.person.as_ref().and_then(|person| person.team.as_ref());
    let own = match which.of {
        BoardOf::People => props.node.map(|node| node.to_string()),
        BoardOf::Teams => team.map(|team| team.id.tag()),
    };
    let days =
        board.days.map(|[first, last]| say!("board-days", first = date(first), last = date(last)));
    let is_listed = board.rows.iter().any(|row| Some(&row.key) == own.as_ref());
    let below = board.own.clone().filter(|_| !is_listed);
    html! {
        <div class="part">
            <h3>{ say!("board-title") }</h3>
            <p class="soft">{ say!("board-what") }</p>
            <div class="choices">
                { select(props, "board-class", say!("board-class"), &HardwareClass::ALL.map(|one| (one.word(), class(one))),
                    which.class.word(), move |chosen| Which { class: find(&HardwareClass::ALL, HardwareClass::word, chosen), ..which }) }
                { select(props, "board-period", say!("board-period"), &Period::ALL.map(|one| (one.word(), period(one))),
                    which.period.word(), move |chosen| Which { period: find(&Period::ALL, Period::word, chosen), ..which }) }
                if !props.is_in_room {
                    { select(props, "board-of", say!("board-of"), &KINDS.map(|one| (one.word(), of(one))),
                        which.of.word(), move |chosen| Which { of: find(&KINDS, BoardOf::word, chosen), ..which }) }
                }
            </div>
            if let Some(days) = days {
                <p class="soft">{ days }</p>
            }
            <div class="scroll" tabindex="0" role="region" aria-label={say!("board-title")}>
                <table data-testid="board">
                    <thead>
                        <tr>
                            <th scope="col" class="number">{ say!("column-place") }</th>
                            <th scope="col">{ say!("column-who") }</th>
                            <th scope="col" class="number">{ say!("column-credit") }</th>
                        </tr>
                    </thead>
                    <tbody>
                        { for board.rows.iter().chain(&below).map(|one| row(one, which.of, own.as_deref())) }
                        if board.rows.is_empty() {
                            <tr><td colspan="3" class="soft">{ say!("board-empty") }</td></tr>
                        }
                    </tbody>
                </table>
            </div>
        </div>
    }
}

const KINDS: [BoardOf; 2] = [BoardOf::People, BoardOf::Teams];

fn row(row: &PlaceView, of: BoardOf, own: Option<&str>) -> Html {
    let you = if Some(&*row.key) == own { say!("you") } else { String::new() };
    let node = row.key.parse::<NodeId>().ok().filter(|_| of == BoardOf::People);
    let (name, details) = match (&row.called, node) {
        (Some(called), Some(node)) => {
            (called.clone(), format!("{}{}{}", node.name(), say!("list-comma"), node.short()))
        }
        (Some(called), None) => (called.clone(), String::new()),
        (None, Some(node)) => (node.name(), node.short()),
        // One's own team below the rows, whose name is above.
        (None, None) => (String::new(), String::new()),
    };
    html! {
        <tr key={row.key.clone()}>
            <td class="number">{ numbers::count(u64::from(row.place)) }</td>
            <th scope="row">
                <bdi>{ name }</bdi>{ you }
                if !details.is_empty() {
                    <span class="soft block">{ details }</span>
                }
            </th>
            <td class="number">{ numbers::gmac(row.credit_macs) }</td>
        </tr>
    }
}

/// A list to choose from, with its label.
fn select(
    props: &BoardsProps,
    id: &'static str,
    label: String,
    options: &[(&'static str, String)],
    now: &'static str,
    change: impl Fn(&str) -> Which + 'static,
) -> Html {
    let choose =
        props.dispatch.reform(move |event: Event| MineAction::Choose(change(&value(&event))));
    html! {
        <div class="field">
            <label for={id}>{ label }</label>
            <select {id} data-testid={id} onchange={choose}>
                { for options.iter().map(|(word, text)| html! {
                    <option value={*word} selected={*word == now}>{ text.clone() }</option>
                }) }
            </select>
        </div>
    }
}

/// The one of this word.
fn find<T: Copy + Default>(all: &[T], word: impl Fn(T) -> &'static str, chosen: &str) -> T {
    all.iter().copied().find(|one| word(*one) == chosen).unwrap_or_default()
}

fn class(class: HardwareClass) -> String {
    match class {
        HardwareClass::Phone => say!("class-phone"),
        HardwareClass::Browser => say!("class-browser"),
        HardwareClass::Graphics => say!("class-graphics"),
        HardwareClass::Native => say!("class-native"),
    }
}

fn period(period: Period) -> String {
    match period {
        Period::Week => say!("period-week"),
        Period::Before => say!("period-before"),
        Period::All => say!("period-all"),
    }
}

fn of(of: BoardOf) -> String {
    match of {
        BoardOf::People => say!("of-people"),
        BoardOf::Teams => say!("of-teams"),
    }
}
