//! The command line and its environment twins, in one documented struct with defaults for
//! development.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;
use potluck_importer::DEFAULT_CONTEXT;
use potluck_protocol::codec::MAX_ICE_SERVERS;

use crate::ice::{CREDENTIAL_LIFETIME, IceEntry, TurnSecret};
use crate::origin::Origins;
use crate::sites::WidgetOptions;

/// Signaling server of a Potluck swarm.
#[derive(Debug, Parser)]
#[command(name = "potluck-server", version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// What to do; serve if left out.
    #[command(subcommand)]
    pub task: Option<Task>,
    /// Used when no task is named.
    #[command(flatten)]
    pub config: Config,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Serve a swarm until Ctrl-C.
    Serve(Box<Config>),
    /// Manage models.
    #[command(subcommand)]
    Model(ModelTask),
}

/// What to do with a model.
#[derive(Debug, Subcommand)]
pub enum ModelTask {
    /// Import a model into the exact format.
    Add {
        /// A Hugging Face folder, a GGUF file, or a model of the Hub: hf:owner/name,
        /// hf:owner/name@revision, hf:owner/name/file.gguf.
        source: String,
        /// How the layers' weights are kept: q8 is as good as the original, q4 half as large and a
        /// little worse.
        #[arg(long, default_value = "q8")]
        weights: WeightFormat,
        /// Positions at most; a model made for fewer keeps its own number.
        #[arg(long, default_value_t = DEFAULT_CONTEXT)]
        context: u32,
        /// What to call it here; its folder's or file's name if left out.
        #[arg(long)]
        name: Option<String>,
        /// Do not compare it with what it was made from afterwards.
        #[arg(long)]
        no_self_test: bool,
        /// The server's data folder.
        #[arg(long, env = "POTLUCK_DATA_DIR", default_value = "potluck-data")]
        data_dir: PathBuf,
    },
    /// List the installed models.
    List {
        /// The server's data folder.
        #[arg(long, env = "POTLUCK_DATA_DIR", default_value = "potluck-data")]
        data_dir: PathBuf,
    },
    /// Compare a model with the floats it was made from.
    Check {
        /// Its name.
        model: String,
        /// A text to measure on; some thousand words say much. A short one of Potluck's own if left
        /// out, as after an import, however long it takes.
        #[arg(long)]
        text: Option<PathBuf>,
        /// What to compare with; what it was imported from if left out.
        #[arg(long)]
        against: Option<String>,
        /// The server's data folder.
        #[arg(long, env = "POTLUCK_DATA_DIR", default_value = "potluck-data")]
        data_dir: PathBuf,
    },
    /// Remove a model.
    Remove {
        /// Its name.
        model: String,
        /// The server's data folder.
        #[arg(long, env = "POTLUCK_DATA_DIR", default_value = "potluck-data")]
        data_dir: PathBuf,
    },
}

/// How a layer's weights are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WeightFormat {
    /// 8 bits.
    Q8,
    /// 4 bits.
    Q4,
}

impl WeightFormat {
    /// Bits a weight.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Q8 => 8,
            Self::Q4 => 4,
        }
    }
}

/// A server's configuration.
#[derive(Clone, Debug, Args)]
pub struct Config {
    /// Address to listen on; port 0 takes a free one. Only this machine can reach the default.
    #[arg(long, env = "POTLUCK_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Folder for models and the database.
    #[arg(long, env = "POTLUCK_DATA_DIR", default_value = "potluck-data")]
    pub data_dir: PathBuf,
    /// Folder of the built page (`cargo xtask build`); without it only the API is served.
    #[arg(long, env = "POTLUCK_PAGE_DIR")]
    pub page_dir: Option<PathBuf>,
    /// STUN or TURN server for nodes on different networks, such as stun:stun.example.org:3478 or
    /// turn:USER:SECRET@turn.example.org:3478?transport=udp. May be given several times.
    #[arg(long = "ice-server", env = "POTLUCK_ICE_SERVERS", value_delimiter = ',')]
    pub ice_servers: Vec<IceEntry>,
    /// Secret shared with the TURN server, coturn's `static-auth-secret`: each node gets
    /// credentials of its own that end within an hour, and turn: needs no USER:SECRET.
    #[arg(long, env = "POTLUCK_TURN_SECRET", hide_env_values = true)]
    pub turn_secret: Option<TurnSecret>,
    /// Names under which the server is known.
    #[command(flatten)]
    pub origins: Origins,
    /// Which sites may show the widget.
    #[command(flatten)]
    pub widgets: WidgetOptions,
    /// Network of a proxy before this server, such as 127.0.0.1 or 10.0.0.0/8: what it says in
    /// Forwarded or X-Forwarded-For of its visitors' addresses counts. May be given several times.
    #[arg(
        long = "trusted-proxy",
        env = "POTLUCK_TRUSTED_PROXIES",
        value_delimiter = ',',
        value_parser = network
    )]
    pub trusted_proxies: Vec<IpNet>,
    /// HTTP connections at most, those of nodes not counted; beyond it the one that has waited
    /// longest for a request makes room.
    #[arg(long, env = "POTLUCK_MAX_HTTP_CONNECTIONS", default_value_t = 10_000)]
    pub max_http_connections: usize,
    /// Connections of nodes at most; beyond it new ones are turned away with a sentence.
    #[arg(long, env = "POTLUCK_MAX_CONNECTIONS", default_value_t = 10_000)]
    pub max_connections: usize,
    /// Connections of nodes from one address at most, and as many of HTTP; of IPv6 from one network
    /// of 64 bits. Classrooms and offices share one.
    #[arg(long, env = "POTLUCK_MAX_CONNECTIONS_PER_ADDRESS", default_value_t = 256)]
    pub max_connections_per_address: usize,
    /// Messages a second from one connection; bursts of four times as many are fine. Opening a
    /// route takes about 20 a peer.
    #[arg(long, env = "POTLUCK_MAX_MESSAGES_PER_SECOND", default_value_t = 200)]
    pub max_messages_per_second: u32,
    /// How long to wait after a volunteer came or went before layers are planned anew,
    /// milliseconds: several often come together.
    #[arg(long = "settle-ms", env = "POTLUCK_SETTLE_MS", default_value_t = 300)]
    pub plan_delay_ms: u64,
    /// Credit work also where requester and volunteer are behind one public address, as in a
    /// classroom. Otherwise one person could be both, and earn by asking themselves.
    #[arg(long, env = "POTLUCK_SAME_ADDRESS_EARNS")]
    pub same_address_earns: bool,
    /// Time limits of connections; not on the command line, as nobody but tests has a reason to
    /// change them.
    #[arg(skip)]
    pub timeouts: Timeouts,
}

impl Config {
    /// What must hold between options.
    ///
    /// # Errors
    /// If it does not, with the option to change.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.ice_servers.len() <= MAX_ICE_SERVERS,
            "at most {MAX_ICE_SERVERS} times --ice-server, as browsers take no more"
        );
        for entry in &self.ice_servers {
            entry.check(self.turn_secret.is_some()).context("--ice-server")?;
        }
        Ok(())
    }
}

/// An address, or a network with the length of its prefix.
fn network(text: &str) -> Result<IpNet, String> {
    let alone = text.parse::<IpAddr>().map(IpNet::from);
    alone.or_else(|_| text.parse()).map_err(|_| {
        "write an address or a network, such as 127.0.0.1, 10.0.0.0/8 or fd00::/8".to_owned()
    })
}

/// Time limits of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the open socket to the proof of the key.
    pub handshake: Duration,
    /// How long a node may have said nothing before it says that it is there.
    pub heartbeat: Duration,
    /// Between two ticks in which silence is counted.
    pub silence_tick: Duration,
    /// A node that says nothing for so many ticks is gone.
    pub silence_ticks: u8,
    /// For one message to be sent; slower readers are let go.
    pub send: Duration,
    /// How long a node that stays connected keeps its credentials for relays before it is told new
    /// ones.
    pub credentials: Duration,
    /// From a connection's opening, or the last answer over it, to the end of a request's head.
    pub head: Duration,
    /// How long an answer may wait for a reader who takes nothing of it.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // Time enough for a slow phone on a slow network, and not for one who only holds
            // connections open.
            handshake: Duration::from_secs(10),
            // Ten thousand nodes that do nothing else send 1,700 a second.
            heartbeat: Duration::from_secs(6),
            // Gone after 12 to 16 s: two heartbeats may be lost on the way, and the third is in time.
            // Those in whose answer a node takes part notice sooner that it is silent.
            silence_tick: Duration::from_secs(4),
            silence_ticks: 4,
            send: Duration::from_secs(5),
            // They are good for an hour, so a clock that is wrong by minutes does no harm.
            credentials: CREDENTIAL_LIFETIME / 2,
            // A phone's head takes a second; pages ask again within it, and reopen otherwise.
            head: Duration::from_secs(15),
            // Longer than a change of network takes.
            write: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn nothing_but_this_machine_can_reach_the_default() {
        let arguments = Arguments::parse_from(["potluck-server"]);
        assert!(arguments.config.listen.ip().is_loopback());
    }
    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let arguments = [&["potluck-server"], arguments].concat();
        let parsed = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
        parsed.config.check().map_err(|error| format!("{error:#}"))?;
        Ok(parsed.config)
    }

    #[test]
    fn networks_of_proxies_are_read() {
        let config = parse(&["--trusted-proxy", "127.0.0.1,10.0.0.0/8,::1"]).unwrap();
        let read: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(read, ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]);
        for wrong in ["nginx", "10.0.0.0/33", ""] {
            let said = parse(&["--trusted-proxy", wrong]).unwrap_err();
            assert!(said.contains("such as 127.0.0.1"), "{said}");
        }
    }

    #[test]
    fn a_relay_needs_credentials_or_the_secret_that_makes_them() {
        let relay = ["--ice-server", "turn:127.0.0.1:3478"];
        let said = parse(&relay).unwrap_err();
        assert!(said.contains("--turn-secret"), "{said}");
        assert!(parse(&[&relay[..], &["--turn-secret", "north"]].concat()).is_ok());
        assert!(parse(&["--ice-server", "turn:anna:hush@127.0.0.1:3478"]).is_ok());
        let said = parse(&["--ice-server", "stun.example.org:3478"]).unwrap_err();
        assert!(said.contains("write stun:HOST:PORT"), "{said}");
    }
}
