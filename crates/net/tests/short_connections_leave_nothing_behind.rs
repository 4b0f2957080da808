//! Many short connections, some of them given up while they open, cost a node nothing that stays:
//! no sockets and no tasks.
#![cfg(target_os = "linux")]

mod pair;

use std::time::Duration;

use pair::{A, B, HANGS, Pair};
use potluck_net::{Command, Event, Role, Transport};

/// Connections, one after the other.
const CONNECTIONS: usize = 48;
/// Connections that are closed again while they open, each a little later.
const HALF_OPEN: usize = 200;
const STEP: Duration = Duration::from_micros(10);
/// Connections at the beginning, after which everything that is made once was made.
const WARM_UP: usize = 3;

/// Sockets and other files that this process has open, and tasks that the runtime has.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    files: usize,
    tasks: usize,
}

fn held() -> Held {
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    Held { files, tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() }
}

async fn settles_at(expected: &Held) {
    let mut last = held();
    let settled = tokio::time::timeout(HANGS, async {
        while last.files > expected.files || last.tasks > expected.tasks {
            tokio::time::sleep(Duration::from_millis(50)).await;
            last = held();
        }
    });
    assert!(settled.await.is_ok(), "{last:?} are left, {expected:?} were there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn short_connections_leave_nothing_behind() {
    let mut pair = Pair::idle();
    let before = held();
    for _ in 0..WARM_UP {
        connect(&mut pair).await;
    }
    settles_at(&before).await;
    let before = held();
    for _ in 0..CONNECTIONS {
        connect(&mut pair).await;
    }
    settles_at(&before).await;
    for number in 0..HALF_OPEN {
        give_up(&mut pair, number);
    }
    settles_at(&before).await;
    connect(&mut pair).await;
}

/// One that opens, says something, and closes.
async fn connect(pair: &mut Pair) {
    pair.a.send(pair::open(B, Role::Offers));
    pair.b.send(pair::open(A, Role::Answers));
    pair.wait_open().await;
    pair.a.send(Command::ClosePeer { peer: B });
    match pair.next().await {
        (B, Event::PeerClosed { .. }) => {}
        (at, event) => panic!("{at:?}: {event:?}"),
    }
}

/// One that is given up at some step of its opening, while the runtime's other threads work on it.
fn give_up(pair: &mut Pair, number: usize) {
    pair.a.send(pair::open(B, Role::Offers));
    std::thread::sleep(STEP * u32::try_from(number).unwrap_or_default());
    pair.a.send(Command::ClosePeer { peer: B });
}
