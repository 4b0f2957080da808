//! What every handler of a request or a connection shares.

use std::sync::Arc;

use potluck_protocol::server::IceServer;

use crate::authority::Authority;
use crate::config::Config;
use crate::connection_limiter::ConnectionLimiter;
use crate::hub::Hub;
use crate::models::Models;
use crate::socket::Sockets;
use crate::store::Store;

/// The configuration, and handles to the parts.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) authority: Arc<Authority>,
    pub(crate) models: Arc<Models>,
    pub(crate) store: Store,
    pub(crate) hub: Hub,
    pub(crate) limiter: Arc<ConnectionLimiter>,
    pub(crate) sockets: Sockets,
}

impl App {
    /// For the welcome; one entry an URL, without credentials.
    pub(crate) fn ice_servers(&self) -> Vec<IceServer> {
        let server =
            |url: &String| IceServer { urls: vec![url.clone()], username: None, credential: None };
        self.config.ice_servers.iter().map(server).collect()
    }
}
