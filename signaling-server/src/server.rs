//! Puts the parts together: binds, serves, shuts down.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::FusedFuture as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::App;
use crate::authority::Authority;
use crate::config::Config;
use crate::connection_limiter::ConnectionLimiter;
use crate::http;
use crate::listener;
use crate::models::Models;
use crate::page_index::PageIndex;
use crate::people::People;
use crate::rooms::{Maker, Rooms};
use crate::sites::Sites;
use crate::socket::{Doors, Sockets};
use crate::store::Store;

/// A bound server, not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
    stop: watch::Sender<bool>,
}

/// How long open requests may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(2);

impl Server {
    /// Opens the data folder and binds the address.
    ///
    /// # Errors
    /// If options contradict each other, the folder or a model in it cannot be read, or the address
    /// is taken.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        config.check()?;
        std::fs::create_dir_all(&config.data_dir).with_context(|| {
            format!("could not make the data folder {}", config.data_dir.display())
        })?;
        let models = Arc::new(Models::open(&config.data_dir)?);
        if models.iter().next().is_none() {
            tracing::warn!(
                "no model yet: add one with `potluck-server model add <folder>` and restart"
            );
        }
        let store = Store::open(&config.data_dir).await.context("could not open the database")?;
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!(
                "could not listen on {}: is another server running there? choose another with \
                 --listen",
                config.listen
            )
        })?;
        let address = listener.local_addr()?;
        let authority = Arc::new(Authority::open(&config.data_dir)?);
        let plan_delay = Duration::from_millis(config.plan_delay_ms);
        let limiter = Arc::new(ConnectionLimiter::new(
            config.max_connections,
            config.max_connections_per_address,
        ));
        // The rest is left to requests.
        let most_of = |connections: usize| connections - connections / 4;
        let subscribers = Arc::new(ConnectionLimiter::new(
            most_of(config.max_http_connections),
            most_of(config.max_connections_per_address),
        ));
        let page = config.page_dir.as_deref().map(|folder| Arc::new(PageIndex::new(folder)));
        let rooms = Rooms::new(Maker {
            models: Arc::clone(&models),
            store: store.clone(),
            authority: Arc::clone(&authority),
            page: page.clone(),
            plan_delay,
            same_address_earns: config.same_address_earns,
            start: Instant::now(),
        })?;
        let sites = Sites::open(store.clone(), config.widgets.clone())
            .await
            .context("could not read the sites")?;
        let people =
            People::open(store.clone()).await.context("could not read what volunteers said")?;
        let (stop, stopping) = watch::channel(false);
        listener::provide_for(config.max_connections.saturating_add(config.max_http_connections));
        let app = App {
            config,
            authority,
            models,
            store,
            rooms,
            limiter,
            sockets: Sockets::default(),
            doors: Arc::new(Doors::default()),
            subscribers,
            sites,
            people,
            embeds: http::KeptEmbeds::default(),
            page,
            stopping,
        };
        Ok(Self { listener, address, app: Arc::new(app), stop })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, and then for as long as open requests take, within a limit.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn run(self, stop: impl Future<Output = ()> + Send + 'static) -> anyhow::Result<()> {
        let Self { listener, app, stop: stopping, .. } = self;
        let router = http::router(Arc::clone(&app));
        let serving = listener::serve(listener, Arc::clone(&app), router, app.stopping.clone());
        let serving = serving.fuse();
        tokio::pin!(serving);
        tokio::select! {
            () = &mut serving => {}
            () = stop => {}
            () = app.rooms.public().hub.ended() => anyhow::bail!(
                "the hub's task ended, without which nobody can be introduced (why is said above); the \
                 server stops, start it again"
            ),
            () = app.store.writer_ended() => anyhow::bail!(
                "the task that credits receipts ended (why is said above); the server stops, start it \
                 again"
            ),
            never = app.rooms.public().board.keep_up() => match never {},
            never = app.sites.keep_up() => match never {},
        }
        // The receiver in `app` outlives this.
        let _ = stopping.send(true);
        let closing = async {
            app.rooms.stop().await;
            app.sockets.all_closed().await;
            if !serving.is_terminated() {
                serving.await;
            }
        };
        // What does not close by itself within the time is cut off.
        let _ = tokio::time::timeout(GRACE, closing).await;
        if let Err(error) = app.sites.flush().await {
            tracing::warn!(%error, "the last counts of sites are lost");
        }
        app.store.close().await;
        Ok(())
    }
}
