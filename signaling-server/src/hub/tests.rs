use potluck_protocol::grant::{SignedGrant, Terms};
use potluck_protocol::id::{LayerRange, ModelId, RequestId};
use potluck_protocol::identity::Identity;
use potluck_protocol::server::{Capabilities, NodeKind, Session, Signal};

use super::*;
use crate::authority::tests::authority;
use crate::models::Models;
use crate::models::tests::model;
use crate::scheduler::Settings;

const LAYERS: u32 = 6;

struct Connection {
    identity: Identity,
    member: Member,
    inbox: mpsc::Receiver<Box<FromServer>>,
    ended: oneshot::Receiver<Ending>,
}

impl Connection {
    async fn open(hub: &Hub, seed: u8, outbox: usize) -> Self {
        Self::open_as(hub, hub.number(), seed, outbox).await
    }

    async fn open_as(hub: &Hub, number: Number, seed: u8, outbox: usize) -> Self {
        let identity = Identity::from_seed(&[seed; 32]);
        let (sender, inbox) = mpsc::channel(outbox);
        let (end, ended) = oneshot::channel();
        let link = Link { outbox: sender, end };
        let member = hub.join(identity.node(), number, Standing::default(), link).await;
        Self { identity, member, inbox, ended }
    }

    fn node(&self) -> NodeId {
        self.identity.node()
    }

    async fn receive(&mut self) -> FromServer {
        *self.inbox.recv().await.expect("the connection is open")
    }

    /// Registers, and has all layers ready.
    async fn serve(&mut self, model: ModelId) {
        let capabilities = Capabilities {
            kind: NodeKind::Native,
            backend: "avx2".to_owned(),
            memory_bytes: 1 << 30,
            macs_per_ms: 1_000,
        };
        let today_s = authority().unix_time(Duration::ZERO).as_secs();
        let grant = Terms::default().grant(self.identity.node(), "http://test".to_owned(), today_s);
        let grant = Box::new(SignedGrant::new(&self.identity, grant));
        self.member.receive(ToServer::Register { capabilities, grant, lease: None }).await;
        while !matches!(self.receive().await, FromServer::Assign { lease: Some(_), .. }) {}
        let layers = LayerRange { first: 0, end: LAYERS };
        self.member.receive(ToServer::LayersReady { model, layers }).await;
    }

    async fn ask(&mut self, request: u32, model: ModelId) -> Session {
        self.member.receive(question(request, model)).await;
        loop {
            if let FromServer::Route { session, .. } = self.receive().await {
                return session;
            }
        }
    }

    async fn offer(&self, to: NodeId, sdp: &str) {
        let signal = Signal::Offer { sdp: sdp.to_owned() };
        self.member.signal(to, SignedSignal::new(&self.identity, to, signal, None)).await;
    }

    async fn reason(self) -> (String, Option<Duration>) {
        match self.ended.await.expect("the hub says why") {
            Ending::Refused { reason, retry_after } => (reason, retry_after),
            Ending::Gone => panic!("not a word"),
        }
    }
}

fn question(request: u32, model: ModelId) -> ToServer {
    ToServer::Ask { request: RequestId(request), model, exclude: Vec::new(), continues: None }
}

fn hub() -> (Hub, ModelId) {
    let info = model(LAYERS);
    let model = info.id;
    let mut models = Models::default();
    models.add(info);
    let scheduler = Scheduler::new(Settings {
        models: Arc::new(models),
        authority: authority(),
        plan_delay: Duration::ZERO,
        same_address_earns: false,
        seed: [1; 32],
    });
    (Hub::start(scheduler, Instant::now()), model)
}

#[tokio::test]
async fn a_connection_that_does_not_read_is_let_go_and_others_go_on() {
    let (hub, model) = hub();
    let mut stage = Connection::open(&hub, 1, OUTBOX).await;
    stage.serve(model).await;
    let mut other = Connection::open(&hub, 2, OUTBOX).await;
    let others_session = other.ask(1, model).await;
    // Room for two routes.
    let slow = Connection::open(&hub, 3, 2).await;
    for request in 1..=3 {
        slow.member.receive(question(request, model)).await;
    }

    let mut ended = Vec::new();
    while ended.len() < 3 {
        if let FromServer::SessionEnded { session, .. } = stage.receive().await {
            ended.push(session);
        }
    }
    assert!(!ended.contains(&others_session.id));
    assert_eq!(hub.view(0).await.unwrap().connected, 2);
    // What it sends until it learns of it is ignored.
    slow.member.receive(question(4, model)).await;
    // It is ended at once, not after what is in its outbox, and the hub holds nothing of it any more.
    assert_eq!(slow.inbox.len(), 2);
    assert!(slow.inbox.is_closed());
    let (reason, retry_after) = slow.reason().await;
    assert!(reason.contains("did not read") && retry_after.is_some(), "{reason} {retry_after:?}");

    other.offer(stage.node(), "after").await;
    let FromServer::Signal { from, .. } = stage.receive().await else { panic!("not the signal") };
    assert_eq!(from, other.node());
    assert_ne!(other.ask(2, model).await.id, others_session.id);
}

#[tokio::test]
async fn what_comes_late_from_an_old_connection_is_ignored() {
    let (hub, model) = hub();
    let old = Connection::open(&hub, 1, OUTBOX).await;
    let new = Connection::open(&hub, 1, OUTBOX).await;
    assert_eq!(hub.view(0).await.unwrap().connected, 1);
    assert!(old.inbox.is_closed());
    old.member.receive(question(1, model)).await;
    assert_eq!(hub.view(0).await.unwrap().waiting, 0);
    old.member
        .signal(
            new.node(),
            SignedSignal::new(
                &old.identity,
                new.node(),
                Signal::Offer { sdp: String::new() },
                None,
            ),
        )
        .await;
    let Connection { member, ended, .. } = old;
    member.leave().await;
    let Ok(Ending::Refused { reason, retry_after }) = ended.await else { panic!("not a word") };
    assert!(reason.contains("elsewhere") && retry_after.is_none(), "{reason} {retry_after:?}");
    assert_eq!(hub.view(0).await.unwrap().connected, 1);
    new.member.leave().await;
    assert_eq!(hub.view(0).await.unwrap().connected, 0);
}

#[tokio::test]
async fn of_two_connections_the_one_that_was_proved_last_counts() {
    let (hub, _) = hub();
    let older = hub.number();
    let new = Connection::open(&hub, 1, OUTBOX).await;
    // It took longer from its proof until it joined.
    let old = Connection::open_as(&hub, older, 1, OUTBOX).await;
    let (reason, retry_after) = old.reason().await;
    assert!(reason.contains("elsewhere") && retry_after.is_none(), "{reason} {retry_after:?}");
    assert!(!new.inbox.is_closed());
    new.member.leave().await;
    assert_eq!(hub.view(0).await.unwrap().connected, 0);
}

#[tokio::test]
async fn a_flood_of_signals_is_lost_and_lets_nobody_go() {
    let (hub, model) = hub();
    let mut stage = Connection::open(&hub, 1, OUTBOX).await;
    stage.serve(model).await;
    let mut flooding = Connection::open(&hub, 2, OUTBOX).await;
    let session = flooding.ask(1, model).await;
    // The stage reads nothing meanwhile.
    for _ in 0..2 * OUTBOX {
        flooding.offer(stage.node(), "again").await;
    }
    let mut other = Connection::open(&hub, 3, OUTBOX).await;
    let others = other.ask(1, model).await;
    assert_eq!(stage.inbox.len(), SIGNALS_IN_OUTBOX + 1);
    let mut served = Vec::new();
    while served.len() < 2 {
        if let FromServer::Serve { session, .. } = stage.receive().await {
            served.push(session.id);
        }
    }
    assert_eq!(served, [session.id, others.id]);
}

#[tokio::test]
async fn one_connection_has_a_small_part_of_the_queue() {
    // Nobody takes messages out, as if the hub were busy.
    let (messages, mut queue) = mpsc::channel(HUB_QUEUE);
    let hub = Hub { messages, next_connection: Arc::default(), start: Instant::now() };
    let [flooding, other] = [1, 2].map(|connection| Member {
        hub: hub.clone(),
        sender: Sender { node: NodeId([1; 32]), connection: Number(connection) },
        share: Arc::new(Semaphore::new(SHARE)),
    });
    let flood = async {
        for request in 0.. {
            flooding.receive(question(request, ModelId([0; 32]))).await;
        }
    };
    tokio::select! {
        biased;
        () = flood => panic!("it does not end"),
        // It waits, and another does not.
        () = other.receive(ToServer::Deregister) => {}
    }
    assert_eq!(queue.len(), SHARE + 1);
    // What the hub has taken makes room again.
    queue.recv().await.unwrap();
    flooding.receive(ToServer::Deregister).await;
    assert_eq!(queue.len(), SHARE + 1);
}

#[tokio::test]
async fn a_hub_that_stops_tells_everybody_to_come_back() {
    let (hub, _) = hub();
    let before = Connection::open(&hub, 1, OUTBOX).await;
    hub.stop().await;
    let after = Connection::open(&hub, 2, OUTBOX).await;
    for connection in [before, after] {
        let (reason, retry_after) = connection.reason().await;
        assert!(reason.contains("stopping") && retry_after.is_some(), "{reason} {retry_after:?}");
    }
}

#[tokio::test]
async fn a_hub_that_panics_is_noticed() {
    let (hub, _) = hub();
    let limit = Duration::from_secs(30);
    assert!(hub.ping(limit).await);
    hub.send(Message::Panic).await;
    hub.ended().await;
    assert!(!hub.ping(limit).await);
    assert!(hub.view(0).await.is_none());
}
