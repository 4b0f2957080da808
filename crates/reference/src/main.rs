//! `potluck-model-check`: prints how close an installed model comes to the floats it was made from.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use potluck_reference::check::check;
use potluck_reference::self_test::{QUICK_MACS, self_test};

/// Compare an installed model with the files it was made from.
#[derive(Debug, Parser)]
#[command(name = "potluck-model-check", version)]
struct Arguments {
    /// The model's name.
    model: String,
    /// A text to measure on; some thousand words say much. A short one of Potluck's own if left
    /// out: is anything wrong at all?
    #[arg(long)]
    text: Option<PathBuf>,
    /// On the short text: only if that takes seconds rather than minutes.
    #[arg(long, conflicts_with = "text")]
    if_quick: bool,
    /// The folder or GGUF file to compare with.
    #[arg(long)]
    against: PathBuf,
    /// The server's data folder.
    #[arg(long, env = "POTLUCK_DATA_DIR", default_value = "potluck-data")]
    data_dir: PathBuf,
}

fn main() -> ExitCode {
    let Arguments { model, text, if_quick, against, data_dir } = Arguments::parse();
    let report = match text {
        Some(text) => check(&model, &text, &against, &data_dir),
        None => self_test(&model, &against, &data_dir, if_quick.then_some(QUICK_MACS)),
    };
    let printed = report.and_then(|report| Ok(writeln!(std::io::stdout(), "{report}")?));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done if stderr is gone too.
            let _ = writeln!(std::io::stderr(), "potluck-model-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}
