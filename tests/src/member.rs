//! A member of a swarm who speaks the protocol itself, message by message: what the benchmark has
//! ten thousand of, and what a hostile one is made of.
//!
//! Nothing happens behind the caller's back but heartbeats: they are sent, and their answers taken,
//! whenever a message is waited for. A member that nobody waits at falls silent, as one does that
//! has gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _};
use potluck_protocol::codec::{MAX_SERVER_MESSAGE_BYTES, decode_from_server, encode};
use potluck_protocol::grant::{Limits, SignedGrant, Terms};
use potluck_protocol::id::{LayerRange, ModelId, NodeId, RequestId};
use potluck_protocol::identity::{Identity, Purpose};
use potluck_protocol::lease::SignedLease;
use potluck_protocol::server::{
    Capabilities, FromServer, ModelSummary, NodeKind, Session, ToServer, challenge_bytes,
};
use potluck_protocol::{NUMERICS_VERSION, PROTOCOL_VERSION};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::wait::PATIENCE;

/// Read buffer of a member's socket; the default of 128 KiB would make ten thousand of them larger
/// than the server.
const READ_BUFFER_BYTES: usize = 2 * 1024;

/// A member.
#[derive(Debug)]
pub struct Member {
    identity: Identity,
    models: Vec<ModelSummary>,
    origin: String,
    socket: WebSocketStream<TcpStream>,
    /// How long nothing may be sent before a heartbeat is; none before the welcome.
    heartbeat: Option<Duration>,
    last_sent: Instant,
    next_request: u32,
}

/// A member that only stays: it sends its heartbeats and takes what comes. Dropped, it leaves
/// without a word.
#[derive(Debug)]
pub struct Kept {
    task: Option<JoinHandle<anyhow::Result<Member>>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Member {
    /// Connects to the server at `url` (`http://127.0.0.1:8080`) and proves the key that `number`
    /// stands for.
    ///
    /// # Errors
    /// If there is no connection, or the server says something else than the handshake has.
    pub async fn join(url: &str, number: u64) -> anyhow::Result<Self> {
        let mut member = Self::connect(url, number).await?;
        member.prove().await?;
        Ok(member)
    }

    /// Connects, and sends nothing yet.
    ///
    /// # Errors
    /// If there is no connection.
    pub async fn connect(url: &str, number: u64) -> anyhow::Result<Self> {
        Self::connect_with(url, number, None).await
    }

    /// Connects with a receive buffer of so many bytes in the system, so that a member that does
    /// not read is soon full.
    ///
    /// # Errors
    /// If there is no connection.
    pub async fn connect_with(
        url: &str,
        number: u64,
        receive_buffer_bytes: Option<u32>,
    ) -> anyhow::Result<Self> {
        let authority = url.strip_prefix("http://").context("the server speaks plain HTTP")?;
        let address: SocketAddr = authority.parse().context("the server has an address")?;
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let stream = socket.connect(address).await.context("the server takes no connection")?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(MAX_SERVER_MESSAGE_BYTES));
        let request = format!("ws://{authority}/api/v1/socket");
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(Self {
            identity: identity(number),
            models: Vec::new(),
            origin: url.to_owned(),
            socket,
            heartbeat: None,
            last_sent: Instant::now(),
            next_request: 0,
        })
    }

    /// The handshake, from `Hello` to the welcome.
    ///
    /// # Errors
    /// If the server says something else than the handshake has, or ends the connection.
    pub async fn prove(&mut self) -> anyhow::Result<()> {
        let node = self.node();
        let hello =
            ToServer::Hello { protocol: PROTOCOL_VERSION, numerics: NUMERICS_VERSION, node };
        self.send(&hello).await?;
        let nonce = match self.receive().await? {
            FromServer::Challenge { nonce } => nonce,
            other => bail!("expected a challenge, got {other:?}"),
        };
        let bytes = challenge_bytes(&nonce, node, &self.origin);
        let signature = self.identity.sign(Purpose::Challenge, &bytes);
        self.send(&ToServer::Prove { origin: self.origin.clone(), signature, room: None }).await?;
        match self.receive().await? {
            FromServer::Welcome { models, heartbeat_ms, .. } => {
                self.models = models;
                self.heartbeat = Some(Duration::from_millis(u64::from(heartbeat_ms)));
                Ok(())
            }
            other => bail!("expected a welcome, got {other:?}"),
        }
    }

    /// Its keys.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Its public key.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.identity.node()
    }

    /// The first model of the welcome.
    ///
    /// # Errors
    /// If the server has none.
    pub fn model(&self) -> anyhow::Result<&ModelSummary> {
        self.models.first().context("the server has no model")
    }

    /// Offers to compute; `lease` is what it claims to hold still.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn register(&mut self, lease: Option<SignedLease>) -> anyhow::Result<()> {
        self.register_with(capabilities(), lease).await
    }

    /// The same with what it says of itself, under a grant that holds.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn register_with(
        &mut self,
        capabilities: Capabilities,
        lease: Option<SignedLease>,
    ) -> anyhow::Result<()> {
        let limits = Limits { memory_bytes: capabilities.memory_bytes, ..Limits::native() };
        let terms = Terms { limits, ..Terms::default() };
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let grant = terms.grant(self.node(), self.origin.clone(), now_s);
        let grant = Box::new(SignedGrant::new(&self.identity, grant));
        self.send(&ToServer::Register { capabilities, grant, lease }).await
    }

    /// Waits for an assignment, and says that its layers are ready, whether they are or not.
    ///
    /// # Errors
    /// If the connection ends first, or there is no assignment.
    pub async fn load(&mut self) -> anyhow::Result<SignedLease> {
        loop {
            if let FromServer::Assign { lease: Some(lease), .. } = self.receive().await? {
                self.layers_ready(lease.lease.model, lease.lease.layers).await?;
                return Ok(lease);
            }
        }
    }

    /// Says that these layers are ready.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn layers_ready(&mut self, model: ModelId, layers: LayerRange) -> anyhow::Result<()> {
        self.send(&ToServer::LayersReady { model, layers }).await
    }

    /// Asks for a route under a number that it had not used yet.
    ///
    /// # Errors
    /// If the connection has ended, or the server has no model.
    pub async fn send_ask(&mut self) -> anyhow::Result<RequestId> {
        self.send_ask_without(&[]).await
    }

    async fn send_ask_without(&mut self, exclude: &[NodeId]) -> anyhow::Result<RequestId> {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let (model, exclude) = (self.model()?.id, exclude.to_vec());
        self.send(&ToServer::Ask { request, model, exclude, continues: None }).await?;
        Ok(request)
    }

    /// Asks and waits for what comes of it: a session, or the reason why there is none.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn ask(&mut self) -> anyhow::Result<Result<Session, String>> {
        self.ask_without(&[]).await
    }

    /// The same without these nodes, as far as others have their layers.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn ask_without(
        &mut self,
        exclude: &[NodeId],
    ) -> anyhow::Result<Result<Session, String>> {
        let asked = self.send_ask_without(exclude).await?;
        loop {
            match self.receive().await? {
                FromServer::Route { request, session } if request == asked => {
                    return Ok(Ok(session));
                }
                FromServer::RequestRefused { request, reason } if request == asked => {
                    return Ok(Err(reason));
                }
                _ => {}
            }
        }
    }

    /// Sends a heartbeat and waits for the server's; how long that took.
    ///
    /// # Errors
    /// If the connection ends first.
    pub async fn heartbeat_round_trip(&mut self) -> anyhow::Result<Duration> {
        let sent = Instant::now();
        self.send(&ToServer::Heartbeat).await?;
        while !matches!(self.next_message().await?, FromServer::Heartbeat) {}
        Ok(sent.elapsed())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn send(&mut self, message: &ToServer) -> anyhow::Result<()> {
        self.send_frame(Message::binary(encode(message))).await
    }

    /// Sends what need not be a message.
    ///
    /// # Errors
    /// If the connection has ended, or the system takes nothing more.
    pub async fn send_frame(&mut self, frame: Message) -> anyhow::Result<()> {
        self.last_sent = Instant::now();
        timeout(PATIENCE, self.socket.send(frame))
            .await
            .context("the server takes nothing more")?
            .context("the connection has ended")
    }

    /// The connection itself, for who does not even speak WebSocket.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    /// The next message, heartbeats apart; sends them meanwhile.
    ///
    /// # Errors
    /// If the connection ends, with the server's sentence where it gives one, or none comes for as
    /// long as anything may take.
    pub async fn receive(&mut self) -> anyhow::Result<FromServer> {
        let next = async {
            loop {
                match self.next_message().await? {
                    FromServer::Heartbeat => {}
                    message => return Ok(message),
                }
            }
        };
        timeout(PATIENCE, next).await.context("the server says nothing")?
    }

    /// Waits until the server ends the connection; its sentence, or nothing.
    ///
    /// # Errors
    /// If it does not.
    pub async fn ended(&mut self) -> anyhow::Result<String> {
        let end = async {
            loop {
                match self.socket.next().await {
                    Some(Ok(Message::Binary(bytes))) => {
                        if let FromServer::Refused { reason, .. } = decode_from_server(&bytes)? {
                            return Ok(reason);
                        }
                    }
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Ok(String::new()),
                    Some(Ok(_)) => {}
                }
            }
        };
        timeout(PATIENCE, end).await.context("the server does not end the connection")?
    }

    /// Only stays from now on.
    #[must_use]
    pub fn keep(self) -> Kept {
        Kept::of(|stop| self.stay(stop, false, |_| {}))
    }

    /// Accepts every assignment from now on, and computes nothing; `hear` is told of all that
    /// comes.
    #[must_use]
    pub fn keep_lending(self, hear: impl FnMut(&FromServer) + Send + 'static) -> Kept {
        Kept::of(|stop| self.stay(stop, true, hear))
    }

    /// Until it is stopped, or the connection ends.
    async fn stay(
        mut self,
        mut stop: oneshot::Receiver<()>,
        lends: bool,
        mut hear: impl FnMut(&FromServer),
    ) -> anyhow::Result<Self> {
        loop {
            let message = tokio::select! {
                message = self.next_message() => message?,
                _ = &mut stop => return Ok(self),
            };
            if let FromServer::Assign { lease: Some(lease), .. } = &message
                && lends
            {
                self.layers_ready(lease.lease.model, lease.lease.layers).await?;
            }
            hear(&message);
        }
    }

    /// The next message of any kind, for as long as it takes.
    async fn next_message(&mut self) -> anyhow::Result<FromServer> {
        loop {
            let due = self.heartbeat.map(|every| self.last_sent + every);
            let frame = tokio::select! {
                frame = self.socket.next() => frame,
                () = async {
                    match due {
                        Some(due) => sleep_until(due).await,
                        None => std::future::pending().await,
                    }
                } => {
                    self.send(&ToServer::Heartbeat).await?;
                    continue;
                }
            };
            match frame {
                Some(Ok(Message::Binary(bytes))) => match decode_from_server(&bytes)? {
                    FromServer::Refused { reason, .. } => bail!("refused: {reason}"),
                    message => return Ok(message),
                },
                Some(Ok(Message::Close(_))) | None => bail!("the server ended the connection"),
                Some(Err(error)) => return Err(error).context("the connection broke"),
                Some(Ok(_)) => {}
            }
        }
    }
}

impl Kept {
    fn of<F>(stay: impl FnOnce(oneshot::Receiver<()>) -> F) -> Self
    where
        F: Future<Output = anyhow::Result<Member>> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        Self { task: Some(tokio::spawn(stay(stopped))), stop: Some(stop) }
    }

    /// True while its connection lasts.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// The member again, to be told what to do.
    ///
    /// # Errors
    /// If its connection has ended; why.
    pub async fn back(mut self) -> anyhow::Result<Member> {
        // An error means that the connection has ended, and so has the task.
        let _ = self.stop.take().context("it is stopped once")?.send(());
        self.task.take().context("it is stopped once")?.await?
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// The keys that a number stands for: the same in every run, and nobody else's.
#[must_use]
pub fn identity(number: u64) -> Identity {
    let mut seed = *b"a member of Potluck's e2e ------";
    seed[24..].copy_from_slice(&number.to_le_bytes());
    Identity::from_seed(&seed)
}

/// What every member says that it can do: enough for any part of the built-in model.
#[must_use]
pub fn capabilities() -> Capabilities {
    Capabilities {
        kind: NodeKind::Native,
        backend: "avx2".to_owned(),
        memory_bytes: 1 << 30,
        macs_per_ms: 1_000_000,
    }
}
