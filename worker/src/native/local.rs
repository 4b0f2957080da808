//! `potluck-node local`: the answer that every swarm must equal, on the command line.

use std::io::Write as _;
use std::process::ExitCode;

use potluck_engine::engine::BackendChoice;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_protocol::terminal::printable;
use potluck_worker::local::{Model, Question};
use serde_json::json;

use super::arguments::{LocalBackend, LocalOptions};
use super::clock::local_time_s;
use super::terminal::{cut_off, say, word};

pub(super) async fn local(options: LocalOptions) -> anyhow::Result<ExitCode> {
    let model = Model::open(&options.models, &options.model)?;
    let choice = options.sampling.choice()?;
    let question = Question {
        conversation: &Conversation::question(&options.prompt),
        asked_at: LocalTime(local_time_s()),
        sampling: choice,
        max_tokens: options.sampling.max_tokens,
    };
    let backend = match options.backend {
        LocalBackend::Scalar => BackendChoice::Scalar,
        LocalBackend::Cpu => BackendChoice::Cpu,
        LocalBackend::Gpu => BackendChoice::Gpu,
    };
    let answer = model.answer(backend, &question).await?;
    if options.json {
        let object = json!({
            "prompt": options.prompt,
            "text": answer.text,
            "token_ids": answer.token_ids,
            "seed": choice.seed,
            "decode_ms": u64::try_from(answer.decode.as_millis())?,
            "tokens": answer.token_ids.len(),
            "end": word(answer.end),
        });
        writeln!(std::io::stdout(), "{object}")?;
    } else {
        writeln!(std::io::stdout(), "{}", printable(&answer.text))?;
        say(&format!("{}seed {}", cut_off(answer.end), choice.seed));
    }
    Ok(ExitCode::SUCCESS)
}
