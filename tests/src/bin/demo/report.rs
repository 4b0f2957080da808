//! Who computed what: the answer's stages, put together with what the server reports of each node
//! and with the tally.

use anyhow::Context as _;
use e2e::api;
use e2e::question::{Answer, Stage};
use e2e::swarm::Swarm;
use e2e::table::layout;
use e2e::wait::until;
use potluck_protocol::api::{NodeView, SwarmView, TallyRow};
use serde_json::{Value, json};

use crate::options::Options;

/// All that the demo reports.
#[derive(Debug)]
pub(crate) struct Report {
    prompt: String,
    answer: Answer,
    stages: Vec<(Stage, NodeView)>,
    tally: Vec<TallyRow>,
}

impl Report {
    /// Waits for what comes after the answer: the nodes' counters and their credit.
    ///
    /// # Errors
    /// If a node that took part is never credited.
    pub(crate) async fn gather(
        options: &Options,
        swarm: &Swarm,
        before: &SwarmView,
        answer: Answer,
    ) -> anyhow::Result<Self> {
        let url = swarm.url();
        let tally = until("everyone who took part to be credited", async || {
            let tally = api::tally(&url).await?;
            let all = answer
                .stages
                .iter()
                .all(|stage| tally.iter().any(|row| row.node == stage.node && row.receipts > 0));
            Ok(if all { Ok(tally) } else { Err(tally) })
        })
        .await?;
        let rows =
            |view: &SwarmView, stage: &Stage| find(view, stage).map_or(0, |node| node.tokens);
        let after = until("everyone's counters", async || {
            let view = api::swarm(&url).await?;
            let counted =
                answer.stages.iter().all(|stage| rows(&view, stage) > rows(before, stage));
            Ok(if counted { Ok(view) } else { Err(view) })
        })
        .await?;
        let stages = answer
            .stages
            .iter()
            .map(|stage| {
                let mut node =
                    find(&after, stage).context("a node that took part has left")?.clone();
                node.tokens -= rows(before, stage);
                Ok((stage.clone(), node))
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { prompt: options.prompt.clone(), answer, stages, tally })
    }

    /// One line a stage.
    pub(crate) fn table(&self) -> String {
        let headings =
            ["stage", "node", "kind", "backend", "layers", "tokens", "ms a token", "credit (GMAC)"];
        let rows: Vec<Vec<String>> = self
            .stages
            .iter()
            .enumerate()
            .map(|(index, (stage, node))| {
                let credit = self
                    .tally
                    .iter()
                    .find(|row| row.node == stage.node)
                    .map_or(0.0, |row| row.credit_gmac);
                let [first, last] = stage.layers.into();
                vec![
                    (index + 1).to_string(),
                    node.name.clone(),
                    node.kind.to_string(),
                    node.backend.clone(),
                    format!("{first} to {last}"),
                    node.tokens.to_string(),
                    node.ms_per_token_p50.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}")),
                    format!("{credit:.6}"),
                ]
            })
            .collect();
        let rate = self.answer.tokens_per_second();
        format!(
            "{}\n{} tokens, {rate:.1} a second, the first after {:.0} ms; seed {}\n",
            layout(&headings, &rows),
            self.answer.token_ids.len(),
            self.answer.first_token_ms,
            self.answer.seed
        )
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let stages: Vec<Value> = self
            .stages
            .iter()
            .map(|(stage, node)| {
                json!({
                    "node": stage.node,
                    "kind": node.kind,
                    "backend": node.backend,
                    "layers": stage.layers,
                    "tokens": node.tokens,
                    "ms_per_token_p50": node.ms_per_token_p50,
                })
            })
            .collect();
        let tally: Vec<Value> = self
            .tally
            .iter()
            .map(|row| json!({ "node": row.node, "credit_gmac": row.credit_gmac, "receipts": row.receipts }))
            .collect();
        json!({
            "prompt": self.prompt,
            "text": self.answer.text,
            "token_ids": self.answer.token_ids,
            "seed": self.answer.seed,
            "stages": stages,
            "tally": tally,
        })
    }
}

fn find<'a>(view: &'a SwarmView, stage: &Stage) -> Option<&'a NodeView> {
    view.nodes.iter().find(|node| node.id == stage.node)
}
