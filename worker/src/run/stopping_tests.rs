//! The person takes the machine back while its engine starts.

use futures::channel::mpsc;
use potluck_net::{Command as NetCommand, Event};
use potluck_protocol::grant::Terms;
use potluck_protocol::identity::Identity;
use potluck_protocol::page::{BackendPreference, LendingPhase};
use potluck_protocol::server::NodeKind;

use super::*;

/// A network on which nobody is.
struct Nobody;

impl Transport for Nobody {
    fn send(&mut self, _: NetCommand) {}

    async fn next_event(&mut self) -> Event {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_engine_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut commands, receiver) = mpsc::channel(8);
    let backend = BackendPreference::Cpu;
    let server = "http://127.0.0.1:9".to_owned();
    commands.try_send(Command::Connect { server, room: None }).unwrap();
    commands.try_send(Command::Lend { backend, terms: Terms::default() }).unwrap();
    commands.try_send(Command::StopLending).unwrap();
    drop(commands);
    let mut phases = Vec::new();
    let notice = |notice| {
        if let Notice::Lending(lending) = notice {
            phases.push(lending.phase);
        }
    };
    let node = Node::new(Identity::from_seed(&[7; 32]), NodeKind::Native);
    let store = WeightStore::new(platform::BlobCache::new(folder.path()));
    run(node, Nobody, receiver, store, notice).await;
    assert_eq!(phases, [LendingPhase::Starting, LendingPhase::Idle]);
}
