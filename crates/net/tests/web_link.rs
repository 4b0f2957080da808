//! The page's end of the port, with a worker written in JavaScript at the other.
#![cfg(target_arch = "wasm32")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::time::Duration;

use futures::channel::mpsc;
use futures::{FutureExt as _, StreamExt as _};
use potluck_net::platform::port::WorkerLink;
use potluck_net::platform::sleep;
use potluck_protocol::id::RequestId;
use potluck_protocol::page::{AnswerEvent, Command, Failure, Notice};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_browser);

/// What no test should ever wait for: beyond it something hangs.
const HANGS: Duration = Duration::from_secs(15);

/// Says it is ready late, then asks for a peer whenever it hears a command, and tells what the
/// page's transport said to that.
const WORKER: &str = "data:text/javascript,
    onmessage = ({ data: { meta } }) => {
        const send = (request, reason) =>
            postMessage({ meta: { Page: { Answer: { request, event: { Failed: { kind: 'Swarm', reason } } } } } });
        if (meta.Page) {
            send(meta.Page.Cancel.request, 'heard');
            const peer = '02'.repeat(32);
            postMessage({ meta: { Net: { OpenPeer: { peer, role: 'Offers', ice_servers: [] } } } });
            const SendPeer = { peer, channel: 'Control', frame: [] };
            postMessage({ meta: { Net: { SendPeer } }, bytes: new Uint8Array([1]) });
        } else if (meta.Net.Signal.signal.Offer) {
            send(0, meta.Net.Signal.signal.Offer.sdp.slice(0, 3));
        }
    };
    setTimeout(() => postMessage({ meta: { Page: 'Ready' } }), 100);";

struct Heard {
    notices: mpsc::UnboundedReceiver<Notice>,
    errors: mpsc::UnboundedReceiver<String>,
}

fn spawn(url: &str) -> (WorkerLink, Heard) {
    let ((say, notices), (fail, errors)) = (mpsc::unbounded(), mpsc::unbounded());
    let link = WorkerLink::spawn(
        url,
        move |notice| say.unbounded_send(notice).unwrap(),
        move |error| fail.unbounded_send(error).unwrap(),
    );
    (link.unwrap(), Heard { notices, errors })
}

impl Heard {
    async fn notice(&mut self) -> Notice {
        futures::select! {
            notice = self.notices.next() => notice.unwrap(),
            error = self.errors.next() => panic!("{error:?}"),
            () = sleep(HANGS).fuse() => panic!("nothing happens"),
        }
    }
}

fn answer(request: u32, reason: &str) -> Notice {
    let request = RequestId(request);
    Notice::Answer {
        request,
        event: AnswerEvent::Failed { kind: Failure::Swarm, reason: reason.to_owned() },
    }
}

#[wasm_bindgen_test]
async fn commands_wait_for_the_worker_and_connections_are_the_pages() {
    let (link, mut heard) = spawn(WORKER);
    link.command(Command::Cancel { request: RequestId(7) });
    assert_eq!(heard.notice().await, Notice::Ready);
    assert_eq!(heard.notice().await, answer(7, "heard"));
    assert_eq!(heard.notice().await, answer(0, "v=0"), "the first line of a session description");
    link.command(Command::Cancel { request: RequestId(8) });
    assert_eq!(heard.notice().await, answer(8, "heard"));
    link.terminate();
    assert_eq!(heard.notices.next().await, None, "nothing holds on to the callbacks");
}

#[wasm_bindgen_test]
async fn a_worker_that_breaks_down_is_told() {
    for (url, text) in [
        ("data:text/javascript,throw new Error('broken')", "broken"),
        ("./not_there_loader.js", "load"),
        ("data:text/javascript,postMessage(5)", "something else"),
    ] {
        let (_link, mut heard) = spawn(url);
        let error = futures::select! {
            error = heard.errors.next() => error.unwrap(),
            () = sleep(HANGS).fuse() => panic!("nothing happens"),
        };
        assert!(error.contains(text), "{error}");
    }
}
