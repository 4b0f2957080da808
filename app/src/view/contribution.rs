//! What this computer was credited with, day by day: a plot, and the same as a table.

use potluck_protocol::api::{CONTRIBUTION_DAYS, ContributionView, DayView};
use potluck_protocol::id::NodeId;
use yew::{Html, html};

use super::plot::{self, Bar, HEIGHT, WIDTH};
use crate::say;
use crate::state::numbers;

/// What [`contribution`] draws.
#[derive(Clone, Debug)]
pub(super) struct ContributionProps {
    pub(super) view: ContributionView,
    /// This tab.
    pub(super) node: NodeId,
}

pub(super) fn contribution(props: &ContributionProps) -> Html {
    let view = &props.view;
    let macs = view.days.iter().fold(0_u64, |sum, day| sum.saturating_add(day.credit_macs));
    let receipts = view.days.iter().fold(0_u64, |sum, day| sum.saturating_add(day.receipts));
    let sum = say!(
        "contribution-sum",
        credit = numbers::gmac(macs),
        receipts = receipts,
        days = view.days.len(),
        range = CONTRIBUTION_DAYS,
    );
    html! {
        <section class="card" aria-labelledby="contribution-title">
            <h2 id="contribution-title">{ say!("contribution-title") }</h2>
            <p data-testid="contribution">{ sum.clone() }</p>
            <svg class="plot" viewBox={format!("0 0 {WIDTH:.0} {:.0}", HEIGHT + 20.0)} role="img" aria-label={sum}>
                <path class="plot-line" d={format!("M0 {HEIGHT:.1} H{WIDTH:.0}")} />
                { for plot::bars(view).iter().map(bar) }
                <text class="plot-start" x="0" y={format!("{:.0}", HEIGHT + 15.0)}>
                    { plot::date(view.today.saturating_sub(CONTRIBUTION_DAYS - 1)) }
                </text>
                <text class="plot-end" x={format!("{WIDTH:.0}")} y={format!("{:.0}", HEIGHT + 15.0)}>
                    { plot::date(view.today) }
                </text>
            </svg>
            if !view.days.is_empty() {
                <details>
                    <summary>{ say!("contribution-days") }</summary>
                    <div class="scroll" tabindex="0" role="region" aria-label={say!("contribution-days")}>
                        <table>
                            <thead>
                                <tr>
                                    <th scope="col">{ say!("column-day") }</th>
                                    <th scope="col" class="number">{ say!("column-credit") }</th>
                                    <th scope="col" class="number">{ say!("column-receipts") }</th>
                                </tr>
                            </thead>
                            <tbody>{ for view.days.iter().rev().map(row) }</tbody>
                        </table>
                    </div>
                </details>
            }
            <p class="soft">{ say!("contribution-key", name = props.node.name()) }{ " " }<code>{ props.node.to_string() }</code></p>
        </section>
    }
}

fn bar(bar: &Bar) -> Html {
    let Bar { x, width, height } = bar;
    html! {
        <rect class="plot-bar" x={format!("{x:.1}")} y={format!("{:.1}", HEIGHT - height)} width={format!("{width:.1}")}
            height={format!("{height:.1}")} />
    }
}

fn row(day: &DayView) -> Html {
    html! {
        <tr key={day.day}>
            <th scope="row" class="range">{ plot::date(day.day) }</th>
            <td class="number">{ numbers::gmac(day.credit_macs) }</td>
            <td class="number">{ numbers::count(day.receipts) }</td>
        </tr>
    }
}
