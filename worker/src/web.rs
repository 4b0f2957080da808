//! The node in the page's Web Worker: the transport is a message port to the page, which owns the
//! connections.

use futures::stream::{Stream, StreamExt as _, unfold};
use potluck_net::platform::port::{PortTransport, post_notice};
use potluck_net::platform::{self, Claim};
use potluck_net::weights::WeightStore;
use potluck_protocol::identity::Identity;
use potluck_protocol::page::{Command, KeyNotice, KeyTask, Link, Notice};
use potluck_protocol::server::NodeKind;
use potluck_worker::keys::{Keys, Step};
use potluck_worker::node::Node;
use potluck_worker::run::run;
use web_time::{SystemTime, UNIX_EPOCH};

/// Where the key is kept.
const KEY_FILE: &str = "node.key";

/// Says "ready" and runs the node until the page ends the worker.
pub(crate) fn main() {
    console_error_panic_hook::set_once();
    wasm_bindgen_futures::spawn_local(async {
        // The port listens from here on; what the page posted before was lost, so it waits for
        // `Ready`.
        let mut transport = PortTransport::new();
        let commands = transport.commands();
        post_notice(&Notice::Ready);
        // Without randomness no identity; the page sees a worker that never connects.
        let Some(fresh) = fresh() else { return };
        // One key, one connection: a second tab (one that only asks, say) is somebody else for as
        // long as it is open.
        let claim = platform::claim("potluck-node-key").await;
        let is_own = claim.is_granted();
        let secret = if is_own {
            match platform::load_or_create_secret(KEY_FILE, || fresh).await {
                Ok(secret) => secret,
                Err(reason) => {
                    return post_notice(&Notice::Link(Link::Refused { reason }));
                }
            }
        } else {
            fresh
        };
        let node = Node::new(Identity::from_seed(&secret), NodeKind::Browser);
        let store = WeightStore::new(platform::BlobCache::open().await);
        let keeper = Keeper { keys: Keys::new(secret, is_own), claim: Some(claim) };
        let commands = Box::pin(others(commands, keeper));
        run(node, transport, commands, store, |notice| post_notice(&notice)).await;
    });
}

/// The commands that are the node's; those about the key are done on their way.
fn others(
    commands: impl Stream<Item = Command> + Unpin,
    keeper: Keeper,
) -> impl Stream<Item = Command> {
    unfold((commands, keeper), |(mut commands, mut keeper)| async move {
        loop {
            match commands.next().await? {
                Command::Key(task) => keeper.perform(task).await,
                command => {
                    keeper.keys.note(&command);
                    return Some((command, (commands, keeper)));
                }
            }
        }
    })
}

/// The key, with the claim on it.
struct Keeper {
    keys: Keys,
    claim: Option<Claim>,
}

impl Keeper {
    async fn perform(&mut self, task: KeyTask) {
        let Some(fresh) = fresh() else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let notice = match self.keys.handle(task, fresh, now_ms) {
            Step::Say(notice) => notice,
            Step::Keep(secret) => {
                let outcome = platform::replace_secret(KEY_FILE, &secret).await;
                self.keys.kept(secret, outcome)
            }
        };
        if matches!(notice, KeyNotice::Changed { .. })
            && let Some(Claim::Held(lock)) = self.claim.take()
        {
            // The page starts another worker now, which is to find it free.
            lock.release().await;
        }
        post_notice(&Notice::Key(notice));
    }
}

fn fresh() -> Option<[u8; 32]> {
    let mut fresh = [0; 32];
    getrandom::fill(&mut fresh).ok().map(|()| fresh)
}
