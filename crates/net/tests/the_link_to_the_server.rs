//! Messages to and from the server; what happens when it hangs up, falls silent or was never there.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod pair;

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use pair::{HANGS, config};
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_net::{Command, Event, Transport};
use potluck_protocol::codec::MAX_SERVER_MESSAGE_BYTES;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async};

struct Server {
    listener: TcpListener,
}

impl Server {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self) -> String {
        format!("ws://{}/api/v1/socket", self.listener.local_addr().unwrap())
    }

    async fn accept(&self) -> WebSocketStream<TcpStream> {
        accept_async(self.listener.accept().await.unwrap().0).await.unwrap()
    }
}

/// The next message that is not a ping or a pong.
async fn received(socket: &mut WebSocketStream<TcpStream>) -> Option<Message> {
    loop {
        match tokio::time::timeout(HANGS, socket.next()).await.expect("something should come") {
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(message)) => return Some(message),
            Some(Err(_)) | None => return None,
        }
    }
}

async fn next(node: &mut NativeTransport) -> Event {
    tokio::time::timeout(HANGS, node.next_event()).await.expect("something should happen")
}

async fn connected(config: NetConfig) -> (Server, NativeTransport, WebSocketStream<TcpStream>) {
    let server = Server::start().await;
    let mut node = NativeTransport::new(config);
    node.send(Command::OpenServer { url: server.url() });
    let socket = server.accept().await;
    assert_eq!(next(&mut node).await, Event::ServerOpen);
    (server, node, socket)
}

#[tokio::test]
async fn messages_pass_in_order_and_a_farewell_is_said_after_the_last() {
    let (_server, mut node, mut socket) = connected(config()).await;
    for number in 0..50 {
        node.send(Command::SendServer { message: vec![number; 100] });
        socket.send(Message::Binary(vec![number; 200].into())).await.unwrap();
    }
    for number in 0..50 {
        assert_eq!(received(&mut socket).await, Some(Message::Binary(vec![number; 100].into())));
        assert_eq!(next(&mut node).await, Event::ServerMessage { message: vec![number; 200] });
    }
    node.send(Command::SendServer { message: b"last".to_vec() });
    node.send(Command::CloseServer);
    assert_eq!(received(&mut socket).await, Some(Message::Binary(b"last".to_vec().into())));
    assert!(matches!(received(&mut socket).await, Some(Message::Close(_)) | None));
}

#[tokio::test]
async fn a_server_that_hangs_up_is_told() {
    let (_server, mut node, mut socket) = connected(config()).await;
    socket.close(None).await.unwrap();
    assert!(matches!(next(&mut node).await, Event::ServerClosed { .. }));
}

#[tokio::test]
async fn silence_is_the_nodes_to_judge_and_pings_are_answered() {
    let (_server, mut node, mut socket) = connected(config()).await;
    for word in [&b"1"[..], b"2"] {
        socket.send(Message::Ping(word.to_vec().into())).await.unwrap();
        let answer = tokio::time::timeout(HANGS, socket.next()).await.unwrap();
        assert_eq!(answer.unwrap().unwrap(), Message::Pong(word.to_vec().into()));
    }
    let event = tokio::time::timeout(Duration::from_millis(100), node.next_event()).await;
    assert!(event.is_err(), "{event:?}");
}

#[tokio::test]
async fn a_server_that_takes_no_messages_is_given_up() {
    let hurry = NetConfig { server_timeout: Duration::from_millis(300), ..config() };
    // Not read from.
    let (_server, mut node, _socket) = connected(hurry).await;
    for _ in 0..500 {
        node.send(Command::SendServer { message: vec![0; MAX_SERVER_MESSAGE_BYTES] });
    }
    let Event::ServerClosed { reason } = next(&mut node).await else { panic!("not closed") };
    assert!(reason.contains("took no message"), "{reason}");
}

/// Two ends that both wait until the other reads would wait for ever.
#[tokio::test]
async fn messages_are_read_while_others_wait_to_be_written() {
    let (_server, mut node, mut socket) = connected(config()).await;
    const MESSAGES: usize = 200;
    for _ in 0..MESSAGES {
        node.send(Command::SendServer { message: vec![0; MAX_SERVER_MESSAGE_BYTES] });
    }
    // The server writes all it has before it reads anything.
    let serving = async {
        for _ in 0..MESSAGES {
            socket.send(Message::Binary(vec![1; MAX_SERVER_MESSAGE_BYTES].into())).await.unwrap();
        }
        for _ in 0..MESSAGES {
            assert!(matches!(received(&mut socket).await, Some(Message::Binary(_))));
        }
    };
    let reading = async {
        for _ in 0..MESSAGES {
            assert!(matches!(next(&mut node).await, Event::ServerMessage { .. }));
        }
    };
    tokio::time::timeout(HANGS, futures::future::join(serving, reading)).await.unwrap();
}

#[tokio::test]
async fn a_server_that_never_answers_the_dial_is_given_up() {
    let server = Server::start().await;
    let mut node =
        NativeTransport::new(NetConfig { server_timeout: Duration::from_millis(200), ..config() });
    node.send(Command::OpenServer { url: server.url() });
    let Event::ServerClosed { reason } = next(&mut node).await else { panic!("not closed") };
    assert!(reason.contains("did not answer"), "{reason}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let url = Server::start().await.url(); // closed again
    let mut node = NativeTransport::new(config());
    node.send(Command::OpenServer { url });
    let Event::ServerClosed { reason } = next(&mut node).await else { panic!("not closed") };
    assert!(reason.contains("could not reach"), "{reason}");
}

#[tokio::test]
async fn a_message_too_long_ends_the_connection() {
    let (_server, mut node, mut socket) = connected(config()).await;
    socket.send(Message::Binary(vec![0; MAX_SERVER_MESSAGE_BYTES + 1].into())).await.unwrap();
    assert!(matches!(next(&mut node).await, Event::ServerClosed { .. }));
}

#[tokio::test]
async fn a_second_dial_takes_the_place_of_the_first_without_a_word() {
    let (_old, mut node, mut socket) = connected(config()).await;
    let new = Server::start().await;
    node.send(Command::OpenServer { url: new.url() });
    let mut accepted = new.accept().await;
    assert!(matches!(received(&mut socket).await, Some(Message::Close(_)) | None));
    assert_eq!(next(&mut node).await, Event::ServerOpen);
    accepted.send(Message::Binary(b"new".to_vec().into())).await.unwrap();
    assert_eq!(next(&mut node).await, Event::ServerMessage { message: b"new".to_vec() });
}
