//! What every handler of a request or a connection shares.

use std::sync::Arc;

use potluck_protocol::id::NodeId;
use potluck_protocol::server::IceServer;
use tokio::sync::watch;

use crate::authority::Authority;
use crate::config::Config;
use crate::connection_limiter::ConnectionLimiter;
use crate::http::KeptEmbeds;
use crate::ice::IceEntry;
use crate::models::Models;
use crate::page_index::PageIndex;
use crate::people::People;
use crate::rooms::Rooms;
use crate::sites::Sites;
use crate::socket::{Doors, Sockets};
use crate::store::Store;

/// The configuration, and handles to the parts.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) authority: Arc<Authority>,
    pub(crate) models: Arc<Models>,
    pub(crate) store: Store,
    pub(crate) rooms: Rooms,
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) sockets: Sockets,
    /// Where newcomers are let into rooms.
    pub(crate) doors: Arc<Doors>,
    /// Those who are pushed what changes; each holds an HTTP connection.
    pub(crate) subscribers: Arc<ConnectionLimiter>,
    /// Sites that show the widget.
    pub(crate) sites: Arc<Sites>,
    /// What volunteers say of themselves.
    pub(crate) people: People,
    /// Documents of widgets.
    pub(crate) embeds: KeptEmbeds,
    /// The page, if one is served.
    pub(crate) page: Option<Arc<PageIndex>>,
    /// Becomes true when the server is to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl App {
    /// For `node` at this time of the clock on the wall, which a relay goes by: credentials that are
    /// made for it end within an hour.
    pub(crate) fn ice_servers(&self, node: NodeId, now_unix_s: u64) -> Vec<IceServer> {
        let secret = self.config.turn_secret.as_ref();
        self.config.ice_servers.iter().map(|it| it.for_node(secret, node, now_unix_s)).collect()
    }

    /// True if some of them end.
    pub(crate) fn makes_credentials(&self) -> bool {
        let secret = self.config.turn_secret.as_ref();
        secret.is_some() && self.config.ice_servers.iter().any(IceEntry::wants_credentials)
    }
}
