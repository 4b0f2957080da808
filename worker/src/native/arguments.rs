//! The command line of `potluck-node`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::RangedI64ValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use potluck_protocol::door::DoorCode;
use potluck_protocol::grant::{GrantedModels, Limits, MAX_GRANT_DAYS, Place, Power, Terms};
use potluck_protocol::id::NodeId;
use potluck_protocol::invitation::{Invitation, TICKET_DAYS};
use potluck_protocol::page::{BackendPreference, Own, OwnPart, SamplingChoice};

use super::checks::{SwarmAddress, question, swarm_address};

/// Lend this computer to a swarm that runs AI models together, or ask one.
///
/// It connects to the server directly: `HTTPS_PROXY` and its like are not used. For https it trusts
/// the certificate authorities of this system.
#[derive(Debug, Parser)]
#[command(name = "potluck-node", version)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) task: Task,
}

#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Hold a few layers of a model and compute them for others, until Ctrl-C.
    ///
    /// It says what you would agree to, and lends only if you say yes with `--accept`. That yes is kept,
    /// signed, for as many days as you say; until then the same command needs no flag.
    ///
    /// A server that is away is waited for. It ends by itself, with an error, only if the server
    /// refuses this node for good (another version, or this key on another connection), or if
    /// nothing can compute here.
    Join(JoinOptions),
    /// Take back what you agreed to with `join --accept`. A node that runs stops at once.
    Withdraw(WithdrawOptions),
    /// Ask the swarm; the answer is printed as it is computed.
    Ask(AskOptions),
    /// Let programs on this machine ask the swarm: by the protocols of OpenAI, Anthropic and Ollama.
    Gateway(GatewayOptions),
    /// Keep this node's key in a file, take it back from one, or begin with a new one.
    Key(KeyOptions),
    /// Make a room: a swarm of its own for those who get its link. Or, with the link to one: let
    /// others in, and see your own key there.
    Room(RoomOptions),
    /// Compute an answer in this process alone: the same text as any swarm gives, bit for bit.
    Local(LocalOptions),
}

#[derive(Debug, Args)]
pub(super) struct JoinOptions {
    /// Address of the swarm's server, such as `http://127.0.0.1:8080`, or a link that invites to a
    /// room there.
    #[arg(value_parser = swarm_address)]
    pub(super) server: SwarmAddress,
    /// What may compute: a real GPU if there is one, the CPU only, or any GPU adapter.
    #[arg(long, env = "POTLUCK_BACKEND", value_enum, default_value_t = Backend::Auto)]
    pub(super) backend: Backend,
    /// Yes: lend this machine as it says.
    #[arg(long)]
    pub(super) accept: bool,
    /// Share of the processor's time that may be used, percent.
    #[arg(long, env = "POTLUCK_PROCESSOR", default_value_t = 100, value_parser = percent())]
    pub(super) processor: u8,
    /// Share of the GPU's time that may be used, percent.
    #[arg(long, env = "POTLUCK_GPU", default_value_t = 100, value_parser = percent())]
    pub(super) gpu: u8,
    /// Memory that may be used, such as 512MiB or 2GiB.
    #[arg(long, env = "POTLUCK_MEMORY", default_value = "2GiB", value_parser = memory)]
    pub(super) memory: u64,
    /// Data that may be fetched and sent in a day, such as 5GiB.
    #[arg(long, env = "POTLUCK_DATA_A_DAY", default_value = "20GiB", value_parser = memory)]
    pub(super) data_a_day: u64,
    /// Pause while this machine runs on its battery (known on Linux only).
    #[arg(long, env = "POTLUCK_MAINS_ONLY")]
    pub(super) mains_only: bool,
    /// For how many days you agree, at most 90.
    #[arg(long, env = "POTLUCK_DAYS", default_value_t = MAX_GRANT_DAYS, value_parser = days())]
    pub(super) days: u16,
    /// A room to be in instead of the public swarm: the link that invites to it, or what stands
    /// behind `#room=` there. In the environment other users of this machine do not see it.
    #[arg(long, env = "POTLUCK_ROOM", hide_env_values = true)]
    pub(super) room: Option<Invitation>,
    /// The code that a member of a room reads out to you, like 4821-KQ7M: they are asked, and then this
    /// machine is in that room.
    #[arg(long, conflicts_with = "room", requires = "accept")]
    pub(super) code: Option<DoorCode>,
    /// Folder for this node's key, its copies of weights, and what you agreed to.
    #[arg(long, env = "POTLUCK_HOME")]
    pub(super) home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct WithdrawOptions {
    /// Address of the swarm's server, or the link to the room, as in `join`.
    #[arg(value_parser = swarm_address)]
    pub(super) server: SwarmAddress,
    /// The room, as in `join`.
    #[arg(long, env = "POTLUCK_ROOM", hide_env_values = true)]
    pub(super) room: Option<Invitation>,
    /// Folder with what you agreed to, as in `join`.
    #[arg(long, env = "POTLUCK_HOME")]
    pub(super) home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct AskOptions {
    /// Address of the swarm's server, such as `http://127.0.0.1:8080`, or a link that invites to a
    /// room there.
    #[arg(value_parser = swarm_address)]
    pub(super) server: SwarmAddress,
    /// The question.
    #[arg(value_parser = question)]
    pub(super) prompt: String,
    /// The model's name; the swarm's first if left out.
    #[arg(long)]
    pub(super) model: Option<String>,
    #[command(flatten)]
    pub(super) sampling: SamplingOptions,
    #[command(flatten)]
    pub(super) own: OwnOptions,
    /// Give up if the whole answer is not there after so many seconds; 0 waits for volunteers for
    /// ever.
    #[arg(long, default_value_t = 0)]
    pub(super) timeout: u64,
    /// Print one JSON object on stdout instead of the text.
    #[arg(long)]
    pub(super) json: bool,
    /// A room to be in instead of the public swarm: the link that invites to it, or what stands
    /// behind `#room=` there. In the environment other users of this machine do not see it.
    #[arg(long, env = "POTLUCK_ROOM", hide_env_values = true)]
    pub(super) room: Option<Invitation>,
    /// Folder for this node's key and its copy of the tokenizer.
    #[arg(long, env = "POTLUCK_HOME")]
    pub(super) home: Option<PathBuf>,
}

/// What of an answer this machine computes itself.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OwnOptions {
    /// Compute the embedding, so many of the first layers, as many of the last and the head on this
    /// machine: nobody else gets the words or draws the answer's tokens. Others still compute on what
    /// follows from them, which can be turned back into words: see docs/privacy.md.
    #[arg(long, value_name = "LAYERS", conflicts_with = "local", value_parser = value_parser!(u32).range(1..))]
    pub(super) private_ends: Option<u32>,
    /// Compute all of it on this machine: nothing of the question or the answer leaves it. Weights
    /// come from the server.
    #[arg(long)]
    pub(super) local: bool,
    /// Memory that the weights of what is computed on this machine may take, such as 512MiB or 2GiB.
    #[arg(long, env = "POTLUCK_MEMORY", default_value = "2GiB", value_parser = memory)]
    pub(super) memory: u64,
    /// What computes on this machine, where a part of the answer is computed here.
    #[arg(long, env = "POTLUCK_BACKEND", value_enum, default_value_t = Backend::Auto)]
    pub(super) backend: Backend,
}

#[derive(Debug, Args)]
pub(super) struct GatewayOptions {
    /// Address of the swarm's server, such as `http://127.0.0.1:8080`, or a link that invites to a
    /// room there.
    #[arg(value_parser = swarm_address)]
    pub(super) server: SwarmAddress,
    /// Where programs ask. Beyond this machine only with a key.
    #[arg(long, env = "POTLUCK_GATEWAY_LISTEN", default_value = "127.0.0.1:11435")]
    pub(super) listen: SocketAddr,
    /// A key that whoever asks has to show. In the environment other users of this machine do not see
    /// it.
    #[arg(long, env = "POTLUCK_API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<String>,
    #[command(flatten)]
    pub(super) own: OwnOptions,
    /// A room to be in instead of the public swarm: the link that invites to it, or what stands
    /// behind `#room=` there. In the environment other users of this machine do not see it.
    #[arg(long, env = "POTLUCK_ROOM", hide_env_values = true)]
    pub(super) room: Option<Invitation>,
    /// Folder for this node's key and its copies of tokenizers and weights.
    #[arg(long, env = "POTLUCK_HOME")]
    pub(super) home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct KeyOptions {
    #[command(subcommand)]
    pub(super) task: KeyTask,
    /// Folder for this node's key, as in `join`.
    #[arg(long, env = "POTLUCK_HOME", global = true)]
    pub(super) home: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyTask {
    /// Write the key into a new file, which only you can read. Whoever has the file is you.
    Backup {
        /// The file. One that is there already is not written over.
        file: PathBuf,
    },
    /// Use the key of such a file instead of the present one. A page's backup will do as well.
    Restore {
        /// The file.
        file: PathBuf,
        /// Yes: this machine gives up the key that it has.
        #[arg(long)]
        yes: bool,
    },
    /// Use a new key instead of the present one.
    Reset {
        /// Yes: this machine gives up the key that it has.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct RoomOptions {
    /// Address of the server's page, such as `https://potluck.example`, to make a room; or the link to
    /// a room.
    #[arg(value_parser = swarm_address)]
    pub(super) server: SwarmAddress,
    /// Make a room with a list: besides the link, its members need a pass that only this node gives.
    #[arg(long)]
    pub(super) list: bool,
    /// Make a room that computes this model of the server's, in place of its first.
    #[arg(long)]
    pub(super) model: Option<String>,
    /// Let one person in: shows a code to read out, and asks when somebody knocks with it.
    #[arg(long)]
    pub(super) let_in: bool,
    /// Put this key on the list, and print its link. May come several times.
    #[arg(long, value_name = "KEY", conflicts_with = "let_in")]
    pub(super) admit: Vec<NodeId>,
    /// For how many days a key stays on the list.
    #[arg(long, default_value_t = TICKET_DAYS, value_parser = days())]
    pub(super) days: u16,
    /// The room, as in `join`.
    #[arg(long, env = "POTLUCK_ROOM", hide_env_values = true)]
    pub(super) room: Option<Invitation>,
    /// Folder with this node's key, which keeps the list.
    #[arg(long, env = "POTLUCK_HOME")]
    pub(super) home: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct LocalOptions {
    /// Folder with imported models (the server's data folder).
    pub(super) models: PathBuf,
    /// The question.
    #[arg(value_parser = question)]
    pub(super) prompt: String,
    /// The model's name.
    #[arg(long, default_value = "potluck-tiny")]
    pub(super) model: String,
    #[command(flatten)]
    pub(super) sampling: SamplingOptions,
    /// What computes; `scalar` is the specification itself, slow.
    #[arg(long, value_enum, default_value_t = LocalBackend::Cpu)]
    pub(super) backend: LocalBackend,
    /// Print one JSON object on stdout instead of the text.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Clone, Copy, Args)]
pub(super) struct SamplingOptions {
    /// Tokens to sample at most, 1 or more; the model's own limit, or else its context, if left out.
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    pub(super) max_tokens: Option<u32>,
    /// 0 is greedy; the model's own if left out.
    #[arg(long, value_parser = thousandths)]
    pub(super) temperature: Option<u32>,
    /// Keep the likeliest tokens up to this much probability.
    #[arg(long, value_parser = thousandths)]
    pub(super) top_p: Option<u32>,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    #[arg(long)]
    pub(super) top_k: Option<u32>,
    /// What scores of words that the text has already are divided by: 1 for none, 0.5 to 2; the
    /// model's own if left out.
    #[arg(long, value_parser = thousandths)]
    pub(super) repetition_penalty: Option<u32>,
    /// Seed of the sampler: the same seed gives the same answer on any machine. Random if left
    /// out.
    #[arg(long)]
    pub(super) seed: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Backend {
    Auto,
    Cpu,
    Gpu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LocalBackend {
    Scalar,
    Cpu,
    Gpu,
}

impl From<Backend> for BackendPreference {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Auto => Self::Auto,
            Backend::Cpu => Self::Cpu,
            Backend::Gpu => Self::Gpu,
        }
    }
}

impl OwnOptions {
    /// The same as the node takes it.
    pub(super) fn own(&self) -> Option<Own> {
        let ends = self.private_ends.map(|layers| OwnPart::Ends { layers });
        let part = ends.or(self.local.then_some(OwnPart::All))?;
        Some(Own { part, backend: self.backend.into(), memory_bytes: self.memory })
    }
}

impl JoinOptions {
    /// What the person would agree to: everything that the options do not say is as
    /// [`Limits::native`] has it.
    pub(super) fn terms(&self) -> Terms {
        let limits = Limits {
            processor_percent: self.processor,
            gpu_percent: self.gpu,
            memory_bytes: self.memory,
            data_bytes_a_day: self.data_a_day,
            power: if self.mains_only { Power::MainsOnly } else { Power::Any },
            ..Limits::native()
        };
        Terms { place: Place::Native, models: GrantedModels::All, limits, days: self.days }
    }
}

impl SamplingOptions {
    /// The choice, with a random seed where none was given.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub(super) fn choice(self) -> anyhow::Result<SamplingChoice> {
        let seed = match self.seed {
            Some(seed) => seed,
            // 32 bits: easy to read out and type again.
            None => u64::from(getrandom::u32()?),
        };
        Ok(SamplingChoice {
            temperature_milli: self.temperature,
            top_k: self.top_k,
            top_p_milli: self.top_p,
            repetition_penalty_milli: self.repetition_penalty,
            seed,
        })
    }
}

/// 1 to 100.
fn percent() -> RangedI64ValueParser<u8> {
    value_parser!(u8).range(1..=100)
}

/// 1 to the most that a grant may hold.
fn days() -> RangedI64ValueParser<u16> {
    value_parser!(u16).range(1..=i64::from(MAX_GRANT_DAYS))
}

/// `512MiB`, `2GiB`, `1.5GiB`, or plain bytes.
fn memory(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not an amount of memory; write it like 512MiB or 2GiB");
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let (number, shift) = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .unwrap_or((text, 0));
    let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let tenths: u64 = match fraction {
        "" => 0,
        digit if digit.len() == 1 && shift > 0 => digit.parse().map_err(|_| wrong())?,
        _ => return Err(wrong()),
    };
    let unit = 1u64 << shift;
    whole
        .checked_mul(unit)
        .and_then(|bytes| bytes.checked_add(tenths * unit / 10))
        .ok_or_else(wrong)
}

/// A decimal with up to three places, in thousandths, without going through a float.
fn thousandths(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a number like 0.7");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.chars().all(|c| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let whole: u32 = whole.parse().map_err(|_| wrong())?;
    let fraction: u32 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
    whole.checked_mul(1000).and_then(|milli| milli.checked_add(fraction)).ok_or_else(wrong)
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
    fn what_cannot_work_is_refused_before_anything_starts() {
        for line in [
            &["potluck-node", "join", "foo"][..],
            &["potluck-node", "ask", "foo", "Why?"],
            &["potluck-node", "ask", "http://127.0.0.1:8080", " "],
            &["potluck-node", "local", "data", ""],
            &["potluck-node", "local", "data", "Why?", "--max-tokens", "0"],
            &["potluck-node", "ask", "http://127.0.0.1:8080", "Why?", "--max-tokens", "0"],
            &["potluck-node", "ask", "http://127.0.0.1:8080", "Why?", "--max-tokens", "4294967296"],
        ] {
            let error = Arguments::try_parse_from(line).expect_err("refused");
            assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{error}");
            assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn what_is_not_said_is_what_a_native_node_lends() {
        let terms = |line: &[&str]| {
            let line = ["potluck-node", "join", "http://h"].iter().chain(line);
            match Arguments::try_parse_from(line).expect("it parses").task {
                Task::Join(options) => options.terms(),
                other => panic!("{other:?}"),
            }
        };
        let plain = Terms { place: Place::Native, limits: Limits::native(), ..Terms::default() };
        assert_eq!(terms(&[]), plain);
        let limits = Limits {
            processor_percent: 50,
            gpu_percent: 30,
            memory_bytes: 1 << 30,
            data_bytes_a_day: 5 << 30,
            ..Limits::native()
        };
        let said = ["--processor", "50", "--gpu", "30", "--memory", "1GiB", "--data-a-day", "5GiB"];
        assert_eq!(terms(&said), Terms { limits, ..plain.clone() });
        assert_eq!(terms(&["--days", "30", "--accept"]), Terms { days: 30, ..plain });
    }

    #[test]
    fn what_is_computed_here_is_chosen() {
        let own = |line: &[&str]| {
            let line = ["potluck-node", "ask", "http://h", "Why?"].iter().chain(line);
            Arguments::try_parse_from(line).map(|arguments| match arguments.task {
                Task::Ask(options) => options.own.own(),
                other => panic!("{other:?}"),
            })
        };
        let with =
            |part, memory_bytes| Some(Own { part, backend: BackendPreference::Auto, memory_bytes });
        assert_eq!(own(&[]).unwrap(), None);
        let ends = with(OwnPart::Ends { layers: 2 }, 2 << 30);
        assert_eq!(own(&["--private-ends", "2"]).unwrap(), ends);
        let line = ["--local", "--memory", "1GiB"];
        assert_eq!(own(&line).unwrap(), with(OwnPart::All, 1 << 30));
        for wrong in [&["--private-ends", "0"][..], &["--private-ends", "1", "--local"]] {
            assert!(own(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn limits_that_cannot_be_are_refused() {
        for (option, value) in
            [("--processor", "0"), ("--gpu", "101"), ("--days", "91"), ("--days", "0")]
        {
            let line = ["potluck-node", "join", "http://h", option, value];
            let error = Arguments::try_parse_from(line).expect_err("refused");
            assert_eq!(error.kind(), clap::error::ErrorKind::ValueValidation, "{error}");
        }
    }

    #[test]
    fn memory_reads_units() {
        assert_eq!(memory("2GiB"), Ok(2 << 30));
        assert_eq!(memory("1.5GiB"), Ok(3 << 29));
        assert_eq!(memory("4096"), Ok(4096));
        assert!(memory("lots").is_err());
        assert!(memory("99999999999GiB").is_err());
    }

    #[test]
    fn decimals_are_read_exactly() {
        assert_eq!(thousandths("0.7"), Ok(700));
        assert_eq!(thousandths("0"), Ok(0));
        assert_eq!(thousandths("1.005"), Ok(1005));
        assert!(thousandths("-1").is_err());
        assert!(thousandths("0.0001").is_err());
    }
}
