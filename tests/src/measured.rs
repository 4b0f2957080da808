//! What a benchmark found, and how it is printed: a table for people, or the rows as JSON.

use serde::Serialize;

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
    /// `value / peer`.
    pub ratio: Option<f64>,
    /// What it should be: at least that for rates, at most that for times and sizes.
    pub aim: Option<f64>,
}

impl Measured {
    /// A number by itself.
    #[must_use]
    pub fn new(name: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), value, unit, peer: None, ratio: None, aim: None }
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
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    let rows: Vec<Vec<String>> = measured
        .iter()
        .map(|row| {
            let [value, peer, ratio, aim] = [Some(row.value), row.peer, row.ratio, row.aim].map(number);
            vec![row.name.clone(), value, row.unit.to_owned(), peer, ratio, aim]
        })
        .collect();
    layout(&["what", "value", "unit", "peer", "ratio", "aim"], &rows)
}
