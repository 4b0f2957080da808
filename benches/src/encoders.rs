//! A real encoder for a page: ours as a package and as ONNX, and texts as tokens. All-MiniLM-L6-v2,
//! whose weights `cargo xtask` downloads.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use potluck_importer::{Options, import};
use potluck_model::encoder::EncoderManifest;
use potluck_model::tokenizer::Tokenizer;

use crate::peers;

/// What it is called under the folder of shapes.
pub const NAME: &str = "minilm";
/// Texts of a batch.
pub const BATCH: usize = 16;
/// Sentences of our own, one a line.
const SENTENCES: &str = include_str!("../../crates/reference/tests/sentences.txt");

/// Writes everything that the page fetches into `shapes`; false where the model was not downloaded
/// (`POTLUCK_MINILM` names its folder).
///
/// # Errors
/// If it does not import, or Python cannot write ONNX.
pub fn prepare(shapes: &Path) -> anyhow::Result<bool> {
    let Some(source) = std::env::var_os("POTLUCK_MINILM").map(PathBuf::from) else {
        return Ok(false);
    };
    let folder = shapes.join(NAME);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder)?;
    let options = Options { name: Some(NAME.to_owned()), ..Options::default() };
    import(&source, &folder, &options, &mut |_| ()).context("the encoder does not import")?;
    let manifest =
        EncoderManifest::from_bytes(&std::fs::read(folder.join(format!("encoders/{NAME}.json")))?)?;
    let tokenizer = std::fs::read(folder.join("blobs").join(manifest.tokenizer.hash.to_string()))?;
    let tokenizer = Tokenizer::from_bytes(&tokenizer)?;
    let tokens = SENTENCES.lines().take(BATCH).map(|line| tokenizer.encode_text(&manifest, line));
    let tokens = tokens.collect::<Result<Vec<_>, _>>()?;
    ensure!(tokens.len() == BATCH, "too few sentences");
    std::fs::write(folder.join("tokens.json"), serde_json::to_vec(&tokens)?)?;
    peers::export_onnx(&source, &folder.join("model.onnx"))?;
    Ok(true)
}
