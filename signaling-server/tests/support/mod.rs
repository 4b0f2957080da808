//! A real server on a free port, and members of a swarm that speak to it as nodes do, one message
//! at a time.

#![allow(dead_code, reason = "each scenario is a crate of its own and uses its part")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use futures::{SinkExt as _, StreamExt as _};
use potluck_protocol::codec::{decode_from_server, encode};
use potluck_protocol::grant::{Limits, Place, SignedGrant, Terms};
use potluck_protocol::id::{LayerRange, ModelId, NodeId, RequestId};
use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::invitation::{Invitation, RoomEntry};
use potluck_protocol::receipt::SignedReceipt;
use potluck_protocol::server::{
    Capabilities, FromServer, ModelSummary, NodeKind, Session, ToServer, challenge_bytes,
};
use potluck_protocol::ticket::SignedTicket;
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use potluck_server::config::{Arguments, Config};
use potluck_server::server::Server;
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

/// No answer takes so long, however busy the machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with the built-in model, running until dropped.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
    folder: TempDir,
}

impl Running {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        Self::start_with(|_| {}).await
    }

    /// Starts with another configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> anyhow::Result<Self> {
        let folder = TempDir::new()?;
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/potluck-tiny");
        potluck_server::models::add(
            &model.display().to_string(),
            folder.path(),
            &potluck_importer::Options::default(),
        )?;
        let data_dir = folder.path().display().to_string();
        let arguments = [
            "potluck-server",
            "--listen",
            "127.0.0.1:0",
            "--settle-ms",
            "50",
            "--data-dir",
            &data_dir,
        ];
        let mut config = Arguments::try_parse_from(arguments)?.config;
        change(&mut config);
        let server = Server::bind(config).await?;
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async {
            let stopped = async {
                let _ = stopped.await;
            };
            server.run(stopped).await.expect("the listener holds");
        });
        Ok(Self { address, task, stop: Some(stop), folder })
    }

    /// Asks it to stop, as Ctrl-C does.
    pub(crate) fn stop(&mut self) {
        // An error means that it has ended.
        let _ = self.stop.take().expect("it was not asked before").send(());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) {
        (&mut self.task).await.expect("it ends well");
    }

    /// What it signs leases and tickets with.
    pub(crate) fn identity(&self) -> Identity {
        let key = std::fs::read(self.folder.path().join("server.key")).expect("it has a key");
        Identity::from_seed(&key.try_into().expect("a key has 32 bytes"))
    }

    /// What a node that dialled it signs.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn socket_url(&self) -> String {
        format!("ws://{}/api/v1/socket", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A node as the server sees it.
pub(crate) struct Member {
    pub(crate) identity: Identity,
    /// The server, as it proved its key to it.
    origin: String,
    pub(crate) models: Vec<ModelSummary>,
    /// Of the session that it was made a stage of last.
    pub(crate) ticket: Option<SignedTicket>,
    /// How long it may say nothing, milliseconds.
    pub(crate) heartbeat_ms: u32,
    socket: WebSocketStream<TcpStream>,
}

impl Member {
    /// Connects and proves its key.
    pub(crate) async fn join(server: &Running, seed: u8) -> anyhow::Result<Self> {
        let mut member = Self::connect(server, seed).await?;
        member.prove(&server.origin()).await?;
        Ok(member)
    }

    /// The same in a room.
    pub(crate) async fn join_room(
        server: &Running,
        seed: u8,
        room: impl Into<Invitation>,
    ) -> anyhow::Result<Self> {
        let mut member = Self::connect(server, seed).await?;
        member.prove_in(Some(room.into().entry()), &server.origin()).await?;
        Ok(member)
    }

    /// Proves its key to a server that it dialled as `origin`.
    pub(crate) async fn prove(&mut self, origin: &str) -> anyhow::Result<()> {
        self.prove_in(None, origin).await
    }

    async fn prove_in(&mut self, room: Option<RoomEntry>, origin: &str) -> anyhow::Result<()> {
        let nonce = self.challenge().await?;
        origin.clone_into(&mut self.origin);
        let bytes = challenge_bytes(&nonce, self.node(), origin);
        let signature = self.identity.sign(Purpose::Challenge, &bytes);
        self.send(&ToServer::Prove {
            origin: origin.to_owned(),
            signature,
            room: room.map(Box::new),
        })
        .await;
        match self.receive().await {
            FromServer::Welcome { models, heartbeat_ms, .. } => {
                self.models = models;
                self.heartbeat_ms = heartbeat_ms;
                Ok(())
            }
            other => anyhow::bail!("no welcome: {other:?}"),
        }
    }

    /// Says hello.
    pub(crate) async fn challenge(&mut self) -> anyhow::Result<[u8; 32]> {
        let node = self.node();
        self.send(&ToServer::Hello {
            protocol: PROTOCOL_VERSION,
            numerics: NUMERICS_VERSION,
            node,
        })
        .await;
        match self.receive().await {
            FromServer::Challenge { nonce } => Ok(nonce),
            other => anyhow::bail!("no challenge: {other:?}"),
        }
    }

    /// Connects and sends nothing yet.
    pub(crate) async fn connect(server: &Running, seed: u8) -> anyhow::Result<Self> {
        Self::connect_as(server, seed, &server.address.to_string()).await
    }

    /// Connects to any server, and proves a key.
    pub(crate) async fn join_at(server: SocketAddr, seed: [u8; 32]) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(server).await?;
        let mut member = Self::open(seed, stream, &server.to_string()).await?;
        member.prove(&format!("http://{server}")).await?;
        Ok(member)
    }

    /// Connects, and names the server `host`.
    pub(crate) async fn connect_as(server: &Running, seed: u8, host: &str) -> anyhow::Result<Self> {
        Self::open([seed; 32], TcpStream::connect(server.address).await?, host).await
    }

    /// Connects with little room for what it does not read, and proves its key.
    pub(crate) async fn join_narrow(server: &Running, seed: u8) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4096)?;
        let stream = socket.connect(server.address).await?;
        let mut member = Self::open([seed; 32], stream, &server.address.to_string()).await?;
        member.prove(&server.origin()).await?;
        Ok(member)
    }

    async fn open(seed: [u8; 32], stream: TcpStream, host: &str) -> anyhow::Result<Self> {
        let (socket, _) = client_async(format!("ws://{host}/api/v1/socket"), stream).await?;
        Ok(Self {
            identity: Identity::from_seed(&seed),
            origin: String::new(),
            models: Vec::new(),
            ticket: None,
            heartbeat_ms: 0,
            socket,
        })
    }

    pub(crate) fn node(&self) -> NodeId {
        self.identity.node()
    }

    /// What its volunteer agrees to: lending everything, today, to the server that it proved its key
    /// to.
    pub(crate) fn grant(&self) -> SignedGrant {
        self.grant_at(Place::Page)
    }

    /// The same, agreed to at that place.
    pub(crate) fn grant_at(&self, place: Place) -> SignedGrant {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let terms = Terms { limits: Limits::native(), place, ..Terms::default() };
        let grant = terms.grant(self.node(), self.origin.clone(), now.as_secs());
        SignedGrant::new(&self.identity, grant)
    }

    /// Registers, and has the first layers that it is assigned ready.
    pub(crate) async fn register(&mut self) -> LayerRange {
        self.send_register().await;
        self.load().await
    }

    /// Registers, and does not wait for an assignment.
    pub(crate) async fn send_register(&mut self) {
        self.send_register_at(Place::Page).await;
    }

    /// The same of a volunteer who said yes at that place.
    pub(crate) async fn send_register_at(&mut self, place: Place) {
        let capabilities = Capabilities {
            kind: NodeKind::Native,
            backend: "avx2".to_owned(),
            memory_bytes: 1 << 30,
            macs_per_ms: 1_000_000,
        };
        let grant = Box::new(self.grant_at(place));
        self.send(&ToServer::Register { capabilities, grant, lease: None }).await;
    }

    /// Waits for an assignment, and says that its layers are ready.
    pub(crate) async fn load(&mut self) -> LayerRange {
        loop {
            if let FromServer::Assign { model, lease: Some(signed) } = self.receive().await {
                let layers = signed.lease.layers;
                self.send(&ToServer::LayersReady { model, layers }).await;
                return layers;
            }
        }
    }

    /// Asks and waits for the route.
    pub(crate) async fn ask(&mut self) -> Session {
        self.send_ask().await;
        loop {
            if let FromServer::Route { session, .. } = self.receive().await {
                return session;
            }
        }
    }

    /// Asks, and does not wait for a route.
    pub(crate) async fn send_ask(&mut self) {
        let model = self.model();
        self.send(&ToServer::Ask {
            request: RequestId(1),
            model,
            exclude: Vec::new(),
            continues: None,
        })
        .await;
    }

    /// Waits until it is to serve in a session.
    pub(crate) async fn serve(&mut self) -> Session {
        loop {
            if let FromServer::Serve { session, ticket } = self.receive().await {
                self.ticket = Some(*ticket);
                return session;
            }
        }
    }

    /// Hands in a receipt, with the ticket of its last session.
    pub(crate) async fn hand_in(&mut self, receipt: SignedReceipt) {
        let ticket = self.ticket.clone().expect("it was made a stage of a session");
        let (receipt, ticket) = (Box::new(receipt), Box::new(ticket));
        self.send(&ToServer::Receipt { receipt, ticket }).await;
    }

    pub(crate) fn model(&self) -> ModelId {
        self.models[0].id
    }

    pub(crate) async fn send(&mut self, message: &ToServer) {
        // The server may have closed; what it sent last can still be received.
        let _ = self.socket.send(Message::binary(encode(message))).await;
    }

    /// The next message; panics if there is none.
    pub(crate) async fn receive(&mut self) -> FromServer {
        self.receive_or_end().await.expect("the connection is open")
    }

    /// The next message; `None` if the connection ended.
    pub(crate) async fn receive_or_end(&mut self) -> Option<FromServer> {
        let next = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => {
                        return Some(
                            decode_from_server(&bytes).expect("the server speaks the protocol"),
                        );
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            }
        };
        timeout(PATIENCE, next).await.expect("an answer in time")
    }

    /// Waits for the sentence with which the server ends the connection, and for the end.
    pub(crate) async fn refusal(&mut self) -> String {
        self.parting().await.0
    }

    /// The same, with when to come back, in milliseconds.
    pub(crate) async fn parting(&mut self) -> (String, Option<u32>) {
        let mut parting = (String::new(), None);
        while let Some(message) = self.receive_or_end().await {
            if let FromServer::Refused { reason, retry_after_ms } = message {
                parting = (reason, retry_after_ms);
            }
        }
        parting
    }

    /// Goes without a word, as a closed lid does.
    pub(crate) fn vanish(self) {
        drop(self);
    }
}
