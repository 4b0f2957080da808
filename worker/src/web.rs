//! The node in the page's Web Worker: the transport is a message port to the page, which owns the
//! connections.

use potluck_net::platform;
use potluck_net::platform::port::PortTransport;
use potluck_net::weights::WeightStore;
use potluck_protocol::identity::Identity;
use potluck_protocol::page::{Link, Notice};
use potluck_protocol::server::NodeKind;
use potluck_worker::node::Node;
use potluck_worker::run::run;

/// Says "ready" and runs the node until the page ends the worker.
pub(crate) fn main() {
    console_error_panic_hook::set_once();
    wasm_bindgen_futures::spawn_local(async {
        // The port listens from here on; what the page posted before was lost, so it waits for
        // `Ready`.
        let mut transport = PortTransport::new();
        let commands = transport.commands();
        platform::port::post_notice(&Notice::Ready);
        let mut fresh = [0; 32];
        if getrandom::fill(&mut fresh).is_err() {
            return; // no randomness, no identity; the page sees a worker that never connects
        }
        // One key, one connection: a second tab (one that only asks, say) is somebody else for as
        // long as it is open.
        let claim = platform::claim("potluck-node-key").await;
        let secret = if claim.is_granted() {
            match platform::load_or_create_secret("node.key", || fresh).await {
                Ok(secret) => secret,
                Err(reason) => {
                    let refused = Notice::Link(Link::Refused { reason });
                    return platform::port::post_notice(&refused);
                }
            }
        } else {
            fresh
        };
        let node = Node::new(Identity::from_seed(&secret), NodeKind::Browser);
        let store = WeightStore::new(platform::BlobCache::open().await);
        run(node, transport, commands, store, |notice| platform::port::post_notice(&notice)).await;
    });
}
