//! Compares an installed model with the files it was made from, on a text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use potluck_engine::encoder::Encoder;
use potluck_engine::engine::{BackendChoice, Engine};
use potluck_engine::kernels::linear::CpuPath;
use potluck_model::encoder::EncoderManifest;
use potluck_model::package::{BlobRef, BlobRole, Manifest, is_name, verify_blob};
use potluck_model::tokenizer::Tokenizer;

use crate::decoder::FloatModel;
use crate::encoder::FloatEncoder;
use crate::quality;

/// Tokens of a text that are measured at once; each starts without what came before.
const WINDOW: usize = 512;

/// Compares the model `name` of a server's data folder with the files at `against`; of an encoder
/// every line of the text is a text of its own. Returns what people read.
///
/// # Errors
/// If there is no such model, a file cannot be read, or the two are not the same model.
pub fn check(name: &str, text: &Path, against: &Path, data_dir: &Path) -> anyhow::Result<String> {
    // A name becomes a path: one that could leave the folder is no model's.
    ensure!(is_name(name), "{name:?} is no model's name");
    let manifest = |kind: &str| data_dir.join(kind).join(format!("{name}.json"));
    let (model, encoder) = (manifest("models"), manifest("encoders"));
    ensure!(
        model.exists() || encoder.exists(),
        "there is no model {name:?} in {}",
        data_dir.display()
    );
    let text =
        fs::read_to_string(text).with_context(|| format!("could not read {}", text.display()))?;
    if encoder.exists() {
        let manifest = EncoderManifest::from_bytes(&fs::read(encoder)?)?;
        return check_encoder(&manifest, &text, against, data_dir);
    }
    check_decoder(&Manifest::from_bytes(&fs::read(model)?)?, &text, against, data_dir)
}

fn check_decoder(
    manifest: &Manifest,
    text: &str,
    against: &Path,
    data_dir: &Path,
) -> anyhow::Result<String> {
    let float = FloatModel::open(against)?.with_context(manifest.config.max_positions);
    let tokenizer = Tokenizer::from_bytes(&read_verified(data_dir, &manifest.tokenizer)?)?;
    let tokens = tokenizer.encode(text)?;
    let window = WINDOW.min(manifest.config.max_positions as usize);
    let texts: Vec<Vec<u32>> = tokens.chunks(window).map(<[u32]>::to_vec).collect();
    let bar = ProgressBar::new(tokens.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos} of {len} tokens, {eta} left")?);
    let measured = futures::executor::block_on(async {
        let mut engine = whole_engine(manifest, data_dir).await?;
        let progress = &mut |done| bar.set_position(done as u64);
        anyhow::Ok(
            quality::measure(&mut engine, manifest.config.layers, &float, &texts, progress).await?,
        )
    });
    bar.finish_and_clear();
    Ok(measured?.to_string())
}

fn check_encoder(
    manifest: &EncoderManifest,
    text: &str,
    against: &Path,
    data_dir: &Path,
) -> anyhow::Result<String> {
    let float = FloatEncoder::open(against)?;
    let tokenizer = Tokenizer::from_bytes(&read_verified(data_dir, &manifest.tokenizer)?)?;
    let mut parts = HashMap::new();
    for (role, blob) in manifest.blobs() {
        parts.insert(role, read_verified(data_dir, &blob)?);
    }
    // Every part of the manifest is in the map.
    let part = |role| Cow::Borrowed(parts.get(&role).map_or(&[][..], Vec::as_slice));
    let encoder = Encoder::new(CpuPath::detect(), Arc::new(manifest.clone()), part)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let texts = lines
        .map(|line| Ok(tokenizer.encode_text(manifest, line)?))
        .collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(!texts.is_empty(), "there is no line to measure on");
    let mut cosines = Vec::with_capacity(texts.len());
    for text in &texts {
        for vector in encoder.encode(&[text])? {
            cosines.push(cosine(&vector.to_f64(), &float.encode(text)));
        }
    }
    let least = cosines.iter().copied().fold(1.0, f64::min);
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    Ok(format!("texts   {}\ncosine  at least {least:.6}, {mean:.6} on average", texts.len()))
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// An engine on this processor with all of a model in it.
async fn whole_engine(manifest: &Manifest, data_dir: &Path) -> anyhow::Result<Engine> {
    let mut engine = Engine::new(BackendChoice::Cpu).await?;
    engine.set_model(Arc::new(manifest.clone()), &read_verified(data_dir, &manifest.tables)?)?;
    for (role, blob) in manifest.blobs_for(0..manifest.config.layers) {
        if role != BlobRole::Tables {
            engine.load(role, &read_verified(data_dir, &blob)?)?;
        }
    }
    Ok(engine)
}

/// A blob's bytes, which are those that its manifest names.
fn read_verified(data_dir: &Path, blob: &BlobRef) -> anyhow::Result<Vec<u8>> {
    let path = data_dir.join("blobs").join(blob.hash.to_string());
    let again = || format!("could not read {}; import the model again", path.display());
    let bytes = fs::read(&path).with_context(again)?;
    verify_blob(blob, &bytes).with_context(again)?;
    Ok(bytes)
}
