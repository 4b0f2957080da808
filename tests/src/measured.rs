//! What a benchmark found, and how it is printed: a table for people, or the rows as JSON.

use serde::Serialize;

use crate::median::median;
use crate::table::layout;

/// One measured number.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was measured.
    pub name: String,
    /// The median.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it is compared with, in the same unit.
    pub peer: Option<f64>,
    /// `value / peer`; where both were measured in turns, the median of each turn's ratio.
    pub ratio: Option<f64>,
    /// What the ratio should be at least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_aim: Option<f64>,
    /// What it should be: at least that for rates, at most that for times and sizes.
    pub aim: Option<f64>,
}

impl Measured {
    /// A number by itself.
    #[must_use]
    pub fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit,
            peer: None,
            ratio: None,
            ratio_aim: None,
            aim: None,
        }
    }

    /// Two rates that were measured in turns, ours and a peer's: medians, and the median of the
    /// turns' ratios, which the machine's moods move least.
    #[must_use]
    pub fn in_turns(name: &str, ours: &[f64], peers: &[f64], unit: &'static str) -> Self {
        let ratios: Vec<f64> = ours
            .iter()
            .zip(peers)
            .filter(|(_, peer)| **peer > 0.0)
            .map(|(ours, peer)| ours / peer)
            .collect();
        let ratio = (!ratios.is_empty()).then(|| median(&ratios));
        Self { peer: Some(median(peers)), ratio, ..Self::new(name, median(ours), unit) }
    }

    /// Sets what the ratio should be at least.
    #[must_use]
    pub fn aiming_at_ratio(mut self, aim: f64) -> Self {
        self.ratio_aim = Some(aim);
        self
    }

    /// Compares it with a peer's.
    #[must_use]
    pub fn against(mut self, peer: f64) -> Self {
        self.peer = Some(peer);
        self.ratio = (peer > 0.0).then(|| self.value / peer);
        self
    }

    /// Sets what it should be.
    #[must_use]
    pub fn aiming_at(mut self, aim: f64) -> Self {
        self.aim = Some(aim);
        self
    }
}

/// A row for each number.
#[must_use]
pub fn table(measured: &[Measured]) -> String {
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let rows: Vec<Vec<String>> = measured
        .iter()
        .map(|row| {
            let [value, peer, ratio, aim, ratio_aim] =
                [Some(row.value), row.peer, row.ratio, row.aim, row.ratio_aim].map(number);
            // A row aims at one of the two.
            let aim = if row.ratio_aim.is_some() { format!("{ratio_aim} x") } else { aim };
            vec![row.name.clone(), value, row.unit.to_owned(), peer, ratio, aim]
        })
        .collect();
    layout(&["what", "value", "unit", "peer", "ratio", "aim"], &rows)
}
