//! What the server tells over HTTP, as far as tests, demo and benchmarks read it.

use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `/api/v1/swarm`.
#[derive(Clone, Debug, Deserialize)]
pub struct SwarmView {
    /// Everyone connected who lends.
    pub nodes: Vec<NodeView>,
}

/// One node of the swarm.
#[derive(Clone, Debug, Deserialize)]
pub struct NodeView {
    /// Its key in hexadecimal.
    pub id: String,
    /// A name that people can tell apart.
    pub name: String,
    /// `browser` or `native`.
    pub kind: String,
    /// What computes.
    pub backend: Option<String>,
    /// First and last layer, if it was given any.
    pub layers: Option<[u32; 2]>,
    /// Where it stands; [`SERVING`] is the one that counts here.
    pub state: String,
    /// Rows computed since it joined.
    pub tokens: u64,
    /// Median time for a row.
    pub ms_per_token_p50: Option<f64>,
}

/// The state of a node whose layers are loaded and may be used.
pub const SERVING: &str = "serving";

/// A line of `/api/v1/tally`.
#[derive(Clone, Debug, Deserialize)]
pub struct TallyRow {
    /// The node's key in hexadecimal.
    pub node: String,
    /// Its name.
    pub name: String,
    /// Credit, thousand million multiply-accumulates; for people.
    pub credit_gmac: f64,
    /// The same exactly, in multiply-accumulates.
    pub credit_macs: String,
    /// Receipts credited.
    pub receipts: u64,
}

/// A line of `/api/v1/models`.
#[derive(Clone, Debug, Deserialize)]
pub struct ModelView {
    /// Its name.
    pub name: String,
    /// How many layers it has.
    pub layers: u32,
}

impl SwarmView {
    /// Nodes whose layers may be used.
    pub fn serving(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| node.state == SERVING && node.layers.is_some())
    }

    /// True if the serving nodes hold all of so many layers.
    #[must_use]
    pub fn covers(&self, layers: u32) -> bool {
        (0..layers).all(|layer| {
            self.serving().any(|node| {
                node.layers.is_some_and(|[first, last]| (first..=last).contains(&layer))
            })
        })
    }
}

impl TallyRow {
    /// Credit in multiply-accumulates.
    ///
    /// # Errors
    /// If the server sent something else than a whole number.
    pub fn macs(&self) -> anyhow::Result<u128> {
        self.credit_macs.parse().with_context(|| format!("credit_macs is {:?}", self.credit_macs))
    }
}

/// Reads `/api/v1/swarm`.
///
/// # Errors
/// If the server does not answer or not with that.
pub async fn swarm(server: &str) -> anyhow::Result<SwarmView> {
    read(server, "swarm").await
}

/// Reads `/api/v1/tally`.
///
/// # Errors
/// If the server does not answer or not with that.
pub async fn tally(server: &str) -> anyhow::Result<Vec<TallyRow>> {
    read(server, "tally").await
}

/// Reads `/api/v1/models`.
///
/// # Errors
/// If the server does not answer or not with that.
pub async fn models(server: &str) -> anyhow::Result<Vec<ModelView>> {
    read(server, "models").await
}

async fn read<T: DeserializeOwned>(server: &str, what: &str) -> anyhow::Result<T> {
    let url = format!("{server}/api/v1/{what}");
    let text =
        reqwest::get(&url).await.with_context(|| format!("{url} does not answer"))?.text().await?;
    serde_json::from_str(&text).with_context(|| format!("{url} answered {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(state: &str, layers: Option<[u32; 2]>) -> NodeView {
        let text = String::new;
        NodeView {
            id: text(),
            name: text(),
            kind: text(),
            backend: None,
            layers,
            state: state.to_owned(),
            tokens: 0,
            ms_per_token_p50: None,
        }
    }

    #[test]
    fn only_serving_nodes_cover_layers() {
        let mut view =
            SwarmView { nodes: vec![node(SERVING, Some([0, 2])), node("fetching", Some([3, 5]))] };
        assert!(view.covers(3));
        assert!(!view.covers(6));
        view.nodes[1].state = SERVING.to_owned();
        assert!(view.covers(6));
    }
}
