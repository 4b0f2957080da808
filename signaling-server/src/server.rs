//! Puts the parts together: binds, serves, shuts down.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::FusedFuture as _;
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
use crate::socket::Sockets;
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
            authority: Arc::clone(&authority),
            plan_delay,
            same_address_earns: config.same_address_earns,
            seed,
        });
        let hub = Hub::start(scheduler);
        let limiter = Arc::new(ConnectionLimiter::new(
            config.max_connections,
            config.max_connections_per_address,
        ));
        let app = Arc::new(App {
            config,
            authority,
            models,
            store,
            hub,
            limiter,
            sockets: Sockets::default(),
        });
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
        let serving = std::future::IntoFuture::into_future(serving).fuse();
        tokio::pin!(serving);
        let app = &self.app;
        tokio::select! {
            result = &mut serving => result?,
            // An error means that `stopped` is gone, and so is what it would have stopped.
            _ = stopping.wait_for(|stopped| *stopped) => {}
            () = app.hub.ended() => anyhow::bail!(
                "the hub's task ended, without which nobody can be introduced (why is said above); the \
                 server stops, start it again"
            ),
            () = app.store.writer_ended() => anyhow::bail!(
                "the task that credits receipts ended (why is said above); the server stops, start it \
                 again"
            ),
        }
        let closing = async {
            app.hub.stop().await;
            app.sockets.all_closed().await;
            if !serving.is_terminated() {
                serving.await?;
            }
            anyhow::Ok(())
        };
        // What does not close by itself within the time is cut off.
        tokio::time::timeout(GRACE, closing).await.unwrap_or(Ok(()))?;
        app.store.close().await;
        Ok(())
    }
}
