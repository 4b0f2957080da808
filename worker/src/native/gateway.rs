//! `potluck-node gateway`: programs on this machine ask a swarm, by the protocols that they know.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use futures::StreamExt as _;
use futures::channel::mpsc;
use potluck_gateway::{Settings, Swarm, serve};
use potluck_net::platform::{NativeTransport, NetConfig};
use potluck_protocol::page::{Command, Link, Notice};
use potluck_protocol::server::NodeKind;
use potluck_worker::node::Node;
use potluck_worker::run::run;
use tokio::net::TcpListener;

use super::arguments::GatewayOptions;
use super::clock::local_time_s;
use super::home;
use super::terminal::{say, say_no_proxy};

pub(super) async fn gateway(options: GatewayOptions) -> anyhow::Result<ExitCode> {
    check(options.listen, options.api_key.as_deref())?;
    let (identity, store, _in_use) = home::open(options.home.clone()).await?;
    let listener = TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    let own = options.own.own();
    let (server, room) = options.server.with(options.room);
    // Beside a node of the same home that lends: neither ends the other's connection.
    let node = Node::new(identity, NodeKind::Native).beside();
    let transport = NativeTransport::new(NetConfig::for_server(&server));
    let (commands, receiver) = mpsc::unbounded();
    commands.unbounded_send(Command::Connect { server: server.clone(), room })?;
    let swarm = Swarm::new(commands, own, local_time_s);
    let (ends, mut ended) = mpsc::unbounded();
    let reported = swarm.clone();
    let mut log = Log::default();
    let running = run(node, transport, receiver, store, move |notice| {
        log.print(&notice);
        if let Notice::Link(Link::Refused { reason }) = &notice {
            // The receiver outlives the loop.
            let _ = ends.unbounded_send(reason.clone());
        }
        reported.handle(notice);
    });
    say(&format!("asking {server} for programs at http://{address}"));
    say(&format!("OpenAI's clients: base URL http://{address}/v1; Ollama's: http://{address}"));
    let settings = Settings { api_key: options.api_key };
    // What is being answered when it ends is broken off: a signal means now.
    let serving = serve(listener, swarm, settings, std::future::pending());
    tokio::select! {
        () = running => bail!("the node stopped"),
        served = serving => served?,
        Some(reason) = ended.next() => bail!("the server refused this node: {reason}"),
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Beyond this machine, whoever asks has to show a key.
fn check(listen: SocketAddr, api_key: Option<&str>) -> anyhow::Result<()> {
    if api_key.is_some_and(str::is_empty) {
        bail!("the key is empty; leave --api-key out for none, or make one up");
    }
    if !listen.ip().is_loopback() && api_key.is_none() {
        bail!(
            "{listen} can be reached from other machines, so whoever asks has to show a key: choose \
             one with --api-key, or in the environment as POTLUCK_API_KEY"
        );
    }
    Ok(())
}

/// What a person at the terminal hears: of the connection only.
#[derive(Debug, Default)]
struct Log {
    has_been_lost: bool,
}

impl Log {
    fn print(&mut self, notice: &Notice) {
        match notice {
            Notice::Link(Link::Open) => say("connected"),
            Notice::Link(Link::Lost { reason, retry_ms }) => {
                let seconds = f64::from(*retry_ms) / 1000.0;
                say(&format!(
                    "no connection to the server ({reason}); trying again in {seconds:.1} s"
                ));
                if !std::mem::replace(&mut self.has_been_lost, true) {
                    say_no_proxy();
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_machine_a_key_is_wanted() {
        let here: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
        assert!(check(here, None).is_ok());
        assert!(check(here, Some("")).is_err());
        assert!(check(everywhere, Some("secret")).is_ok());
        let words = check(everywhere, None).unwrap_err().to_string();
        assert!(words.contains("--api-key"), "{words}");
    }
}
