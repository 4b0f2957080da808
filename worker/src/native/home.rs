//! Where a native node keeps its key and its copies of weights.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use potluck_net::platform;
use potluck_net::weights::WeightStore;
use potluck_protocol::identity::Identity;

/// The folder given, or `potluck` in the user's data folder.
fn folder(home: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(home) = home {
        return Ok(home);
    }
    let from =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("XDG_DATA_HOME")
        .or_else(|| from("LOCALAPPDATA"))
        .or_else(|| from("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("potluck"))
        .context("there is no home folder; say where to keep this node's key with --home")
}

/// Opens (or makes) the node's key and its weight store.
pub(super) async fn open(home: Option<PathBuf>) -> anyhow::Result<(Identity, WeightStore)> {
    let folder = folder(home)?;
    let identity = identity(&folder).await?;
    let store = WeightStore::new(platform::BlobCache::new(folder.join("blobs")));
    Ok((identity, store))
}

async fn identity(folder: &Path) -> anyhow::Result<Identity> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).context("this system has no randomness")?;
    let secret =
        platform::load_or_create_secret(folder, "node.key", || fresh).await.with_context(|| {
            format!("could not read or write this node's key in {}", folder.display())
        })?;
    Ok(Identity::from_seed(&secret))
}
