//! What every hostile scenario has: honest nodes with a question whose answer is known, and what
//! must be true of them whatever somebody else does.

#![allow(dead_code, reason = "each scenario is a crate of its own and uses its part")]

pub(crate) mod rogue;

use std::collections::BTreeSet;

use anyhow::ensure;
use e2e::api;
use e2e::question::{Answer, Question};
use e2e::swarm::Swarm;
use e2e::usage;
use e2e::wait::until;
use potluck_protocol::id::NodeId;

/// Honest natives, and what they answer.
pub(crate) struct Honest {
    pub(crate) swarm: Swarm,
    pub(crate) question: Question,
    expected: Option<Answer>,
}

impl Honest {
    /// A server that nobody lends to yet.
    pub(crate) async fn nobody_yet(name: &str) -> anyhow::Result<Self> {
        let swarm = Swarm::start(name).await?;
        let question = Question::new("Tell me a story about a fox and a lantern.", 7).at_most(100);
        Ok(Self { swarm, question, expected: None })
    }

    /// A server and so many natives, who hold all layers.
    pub(crate) async fn serving(name: &str, natives: usize) -> anyhow::Result<Self> {
        let mut honest = Self::nobody_yet(name).await?;
        honest.add(natives)?;
        honest.swarm.serving(natives).await?;
        honest.answers().await?;
        Ok(honest)
    }

    pub(crate) fn url(&self) -> String {
        self.swarm.url()
    }

    /// So many more natives come.
    pub(crate) fn add(&mut self, natives: usize) -> anyhow::Result<()> {
        (0..natives).try_for_each(|_| self.swarm.add_native(&["--backend", "cpu"]))
    }

    /// Asks as a stranger does: the answer must be the one machine's, token for token.
    pub(crate) async fn answers(&mut self) -> anyhow::Result<Answer> {
        let expected = match &self.expected {
            Some(expected) => expected.clone(),
            None => self.swarm.reference_answer(&self.question).await?,
        };
        let answer = self.swarm.ask(&self.question).await?;
        ensure!(
            answer.token_ids == expected.token_ids,
            "{:?} is not what one machine answers: {:?}",
            answer.text,
            expected.text
        );
        self.expected = Some(expected);
        Ok(answer)
    }

    /// Fails if an honest node has ended, or was disconnected even once.
    pub(crate) fn are_undisturbed(&mut self) -> anyhow::Result<()> {
        for (index, node) in self.swarm.natives.iter_mut().enumerate() {
            ensure!(node.is_running(), "honest node {index} has ended");
            ensure!(node.welcomes()? == 1, "honest node {index} was disconnected");
        }
        Ok(())
    }

    /// Waits until nobody but the natives is connected.
    pub(crate) async fn are_alone(&self) -> anyhow::Result<()> {
        let (url, natives) = (self.url(), self.swarm.natives.len());
        until("everybody but the honest nodes to be gone", async || {
            let view = api::swarm(&url).await?;
            Ok(if view.connected as usize == natives { Ok(()) } else { Err(view.connected) })
        })
        .await
    }

    /// Who registered.
    pub(crate) async fn volunteers(&self) -> anyhow::Result<BTreeSet<NodeId>> {
        Ok(api::swarm(&self.url()).await?.nodes.into_iter().map(|node| node.id).collect())
    }

    /// The natives' memory now.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let pids: Vec<u32> = self.swarm.natives.iter().map(e2e::node::Node::id).collect();
        Memory::of(pids)
    }

    /// The server's memory now.
    pub(crate) fn server_memory(&self) -> anyhow::Result<Memory> {
        Memory::of(vec![self.swarm.server.id()])
    }
}

/// Memory of processes at some moment, to be compared with the most that they ever had.
pub(crate) struct Memory(Vec<(u32, u64)>);

impl Memory {
    fn of(pids: Vec<u32>) -> anyhow::Result<Self> {
        let now = pids.into_iter().map(|pid| Ok((pid, usage::memory_bytes(pid)?)));
        Ok(Self(now.collect::<anyhow::Result<_>>()?))
    }

    /// Fails if one of them took more than so many bytes on top, at any moment since.
    pub(crate) fn grew_at_most(&self, bytes: u64) -> anyhow::Result<()> {
        for (pid, before) in &self.0 {
            let grown = usage::peak_memory_bytes(*pid)?.saturating_sub(*before);
            ensure!(
                grown <= bytes,
                "process {pid} grew by {} MB, at most {} MB allowed",
                grown >> 20,
                bytes >> 20
            );
        }
        Ok(())
    }
}
