//! Requests to the server's HTTP interface, whose answers are the protocol's own types.

use anyhow::Context as _;
use potluck_protocol::api::{ModelView, SwarmView, TallyRow};
use serde::de::DeserializeOwned;

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

async fn read<T: DeserializeOwned>(server: &str, resource: &str) -> anyhow::Result<T> {
    let url = format!("{server}/api/v1/{resource}");
    let text =
        reqwest::get(&url).await.with_context(|| format!("{url} does not answer"))?.text().await?;
    serde_json::from_str(&text).with_context(|| format!("{url} answered {text:?}"))
}
