//! Puts the parts together: binds, serves, shuts down.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use potluck_protocol::codec::MAX_ICE_SERVERS;
use tokio::net::TcpListener;

use crate::app::App;
use crate::authority::Authority;
use crate::config::Config;
use crate::connection_limiter::ConnectionLimiter;
use crate::http;
use crate::hub::Hub;
use crate::models::Models;
use crate::scheduler::{Scheduler, Settings};
use crate::store::Store;

/// A bound server, not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    app: Arc<App>,
}

/// How long open requests may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(2);

impl Server {
    /// Opens the data folder and binds the address.
    ///
    /// # Errors
    /// If the folder or a model in it cannot be read, or the address is taken.
    pub async fn bind(config: Config) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&config.data_dir).with_context(|| {
            format!("could not make the data folder {}", config.data_dir.display())
        })?;
        anyhow::ensure!(
            config.ice_servers.len() <= MAX_ICE_SERVERS,
            "at most {MAX_ICE_SERVERS} ICE servers"
        );
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
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("this system has no randomness")?;
        let authority = Arc::new(Authority::open(&config.data_dir)?);
        let plan_delay = Duration::from_millis(config.plan_delay_ms);
        let scheduler = Scheduler::new(Settings {
            models: Arc::clone(&models),
            authority,
            plan_delay,
            same_address_earns: config.same_address_earns,
            seed,
        });
        let hub = Hub::start(scheduler, store.clone());
        let limiter = Arc::new(ConnectionLimiter::new(
            config.max_connections,
            config.max_connections_per_address,
        ));
        let app = Arc::new(App { config, models, store, hub, limiter });
        Ok(Self { listener, address, app })
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
        let router =
            http::router(Arc::clone(&self.app)).into_make_service_with_connect_info::<SocketAddr>();
        let (stopped, mut stopping) = tokio::sync::watch::channel(false);
        let serving = axum::serve(self.listener, router).with_graceful_shutdown(async move {
            stop.await;
            // The receiver outlives this.
            let _ = stopped.send(true);
        });
        let serving = std::future::IntoFuture::into_future(serving);
        tokio::pin!(serving);
        tokio::select! {
            result = &mut serving => result?,
            // WebSockets stay open as long as their nodes do; they come back to the next server by
            // themselves.
            () = async {
                // An error means that `stopped` is gone, and so is what it would have stopped.
                let _ = stopping.wait_for(|stopped| *stopped).await;
                tokio::time::sleep(GRACE).await;
            } => {}
            never = forget_daily(&self.app.store) => match never {},
        }
        self.app.store.close().await;
        Ok(())
    }
}

/// Keeps the table of sessions from growing for ever.
async fn forget_daily(store: &Store) -> Infallible {
    let mut days = tokio::time::interval(Duration::from_secs(24 * 3600));
    loop {
        days.tick().await;
        match store.forget_unused_sessions().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "forgot old sessions without receipts"),
            Err(error) => tracing::warn!(%error, "could not forget old sessions"),
        }
    }
}
