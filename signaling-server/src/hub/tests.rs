use potluck_protocol::id::{ModelId, RequestId};
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
    id: ConnectionId,
    inbox: mpsc::Receiver<FromServer>,
}

impl Connection {
    async fn open(hub: &Hub, seed: u8, outbox: usize) -> Self {
        let identity = Identity::from_seed(&[seed; 32]);
        let (sender, inbox) = mpsc::channel(outbox);
        let id = hub.join(identity.node(), sender).await;
        Self { identity, id, inbox }
    }

    fn node(&self) -> NodeId {
        self.identity.node()
    }

    async fn send(&self, hub: &Hub, message: ToServer) {
        hub.receive(self.node(), self.id, message).await;
    }

    async fn receive(&mut self) -> FromServer {
        self.inbox.recv().await.expect("the connection is open")
    }

    /// Registers, and has all layers ready.
    async fn serve(&mut self, hub: &Hub, model: ModelId) {
        let capabilities = Capabilities {
            kind: NodeKind::Native,
            backend: "avx2".to_owned(),
            memory_bytes: 1 << 30,
            macs_per_ms: 1_000,
        };
        self.send(hub, ToServer::Register { capabilities, lease: None }).await;
        while !matches!(self.receive().await, FromServer::Assign { lease: Some(_), .. }) {}
        let layers = potluck_protocol::id::LayerRange { first: 0, end: LAYERS };
        self.send(hub, ToServer::LayersReady { model, layers }).await;
    }

    async fn ask(&mut self, hub: &Hub, model: ModelId) -> Session {
        let ask = ToServer::Ask { request: RequestId(1), model, exclude: Vec::new() };
        self.send(hub, ask).await;
        loop {
            if let FromServer::Route { session, .. } = self.receive().await {
                return session;
            }
        }
    }
}

fn scheduler(models: Arc<Models>) -> Scheduler {
    Scheduler::new(Settings {
        models,
        authority: authority(),
        plan_delay: Duration::ZERO,
        same_address_earns: false,
        seed: [1; 32],
    })
}

#[tokio::test]
async fn a_connection_that_does_not_read_is_let_go_and_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let info = model(LAYERS);
    let model = info.id;
    let mut models = Models::default();
    models.add(info);
    let hub = Hub::start(scheduler(Arc::new(models)), store);

    let mut stage = Connection::open(&hub, 1, OUTBOX).await;
    stage.serve(&hub, model).await;
    let mut other = Connection::open(&hub, 2, OUTBOX).await;
    let others_session = other.ask(&hub, model).await;
    // Room for the route and one signal.
    let mut slow = Connection::open(&hub, 3, 2).await;
    let ask = ToServer::Ask { request: RequestId(1), model, exclude: Vec::new() };
    slow.send(&hub, ask).await;
    for sdp in ["fits", "does not fit"] {
        let signal = Signal::Offer { sdp: sdp.to_owned() };
        let signal = SignedSignal::new(&stage.identity, slow.node(), signal);
        hub.signal(stage.node(), slow.node(), signal).await;
    }

    let ended = loop {
        if let FromServer::SessionEnded { session, .. } = stage.receive().await {
            break session;
        }
    };
    assert_ne!(ended, others_session.id);
    assert_eq!(hub.view().await.unwrap().connected, 2);
    // What was on its way still comes, then the end: the socket closes with it.
    assert!(matches!(slow.receive().await, FromServer::Route { .. }));
    assert!(matches!(slow.receive().await, FromServer::Signal { .. }));
    assert_eq!(slow.inbox.recv().await, None);
    // What it sends until then is ignored.
    slow.send(&hub, ToServer::Cancel { request: RequestId(1) }).await;

    let signal =
        SignedSignal::new(&other.identity, stage.node(), Signal::Offer { sdp: "after".to_owned() });
    hub.signal(other.node(), stage.node(), signal).await;
    let FromServer::Signal { from, .. } = stage.receive().await else { panic!("not the signal") };
    assert_eq!(from, other.node());
    assert_ne!(other.ask(&hub, model).await.id, others_session.id);
}

#[tokio::test]
async fn what_comes_late_from_an_old_connection_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).await.unwrap();
    let models = Arc::new(Models::default());
    let hub = Hub::start(scheduler(models), store);
    let mut old = Connection::open(&hub, 1, OUTBOX).await;
    let new = Connection::open(&hub, 1, OUTBOX).await;
    let refused = old.receive().await;
    assert!(matches!(refused, FromServer::Refused { reason, .. } if reason.contains("elsewhere")));
    assert_eq!(old.inbox.recv().await, None);
    hub.leave(old.node(), old.id).await;
    assert_eq!(hub.view().await.unwrap().connected, 1);
    hub.leave(new.node(), new.id).await;
    assert_eq!(hub.view().await.unwrap().connected, 0);
}
