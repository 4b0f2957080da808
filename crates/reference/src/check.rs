//! Compares an installed model with the files it was made from, on a text.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use potluck_engine::encoder::Encoder;
use potluck_engine::kernels::linear::CpuPath;
use potluck_model::encoder::EncoderManifest;
use potluck_model::package::{BlobRef, Manifest, is_name};
use potluck_model::tokenizer::Tokenizer;

use crate::decoder::FloatModel;
use crate::encoder::FloatEncoder;
use crate::package::{Package, read_verified};
use crate::quality::{EncoderQuality, Quality, measure_installed};

/// Tokens of a text that are measured at once; each starts without what came before.
const WINDOW: usize = 512;

/// A model of a data folder.
pub(crate) enum Installed {
    /// Texts to next tokens.
    Decoder(Box<Manifest>),
    /// Texts to vectors.
    Encoder(Box<EncoderManifest>),
}

impl Installed {
    /// The model of this name.
    pub(crate) fn find(name: &str, data_dir: &Path) -> anyhow::Result<Self> {
        // A name becomes a path: one that could leave the folder is no model's.
        ensure!(is_name(name), "{name:?} is no model's name");
        let manifest = |kind: &str| data_dir.join(kind).join(format!("{name}.json"));
        let (model, encoder) = (manifest("models"), manifest("encoders"));
        ensure!(
            model.exists() || encoder.exists(),
            "there is no model {name:?} in {}",
            data_dir.display()
        );
        if encoder.exists() {
            return Ok(Self::Encoder(Box::new(EncoderManifest::from_bytes(&fs::read(encoder)?)?)));
        }
        Ok(Self::Decoder(Box::new(Manifest::from_bytes(&fs::read(model)?)?)))
    }
}

/// Compares the model `name` of a server's data folder with the files at `against`; of an encoder
/// every line of the text is a text of its own, of one that scores pairs the first is a question, and
/// every other a text that may answer it. Returns what people read.
///
/// # Errors
/// If there is no such model, a file cannot be read, or the two are not the same model.
pub fn check(name: &str, text: &Path, against: &Path, data_dir: &Path) -> anyhow::Result<String> {
    let installed = Installed::find(name, data_dir)?;
    let text =
        fs::read_to_string(text).with_context(|| format!("could not read {}", text.display()))?;
    match installed {
        Installed::Decoder(manifest) => {
            let tokens = tokenizer(data_dir, &manifest.tokenizer)?.encode(&text)?;
            let window = WINDOW.min(manifest.config.max_positions as usize);
            let texts: Vec<Vec<u32>> = tokens.chunks(window).map(<[u32]>::to_vec).collect();
            Ok(decoder_quality(*manifest, &texts, 1, against, data_dir)?.to_string())
        }
        Installed::Encoder(manifest) => {
            Ok(encoder_quality(&manifest, &text, against, data_dir)?.to_string())
        }
    }
}

/// How an installed decoder compares with the files at `against`, on `texts`, of each of which the
/// first `given` tokens are not asked for.
pub(crate) fn decoder_quality(
    manifest: Manifest,
    texts: &[Vec<u32>],
    given: usize,
    against: &Path,
    data_dir: &Path,
) -> anyhow::Result<Quality> {
    let float = FloatModel::open(against)?.with_context(manifest.config.max_positions);
    let package = Package::new(data_dir, manifest);
    let tokens: usize = texts.iter().map(Vec::len).sum();
    let bar = ProgressBar::new(tokens as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos} of {len} tokens, {eta} left")?);
    let progress = &mut |done| bar.set_position(done as u64);
    let measured =
        futures::executor::block_on(measure_installed(&package, &float, texts, given, progress));
    bar.finish_and_clear();
    Ok(measured?)
}

/// How an installed encoder compares with the files at `against`, on every line that is not blank; on
/// one at least.
pub(crate) fn encoder_quality(
    manifest: &EncoderManifest,
    text: &str,
    against: &Path,
    data_dir: &Path,
) -> anyhow::Result<EncoderQuality> {
    let float = FloatEncoder::open(against)?;
    let tokenizer = tokenizer(data_dir, &manifest.tokenizer)?;
    let mut parts = HashMap::new();
    for (role, blob) in manifest.blobs() {
        parts.insert(role, read_verified(data_dir, &blob)?);
    }
    // Every part of the manifest is in the map.
    let part = |role| Cow::Borrowed(parts.get(&role).map_or(&[][..], Vec::as_slice));
    let encoder = Encoder::new(CpuPath::detect(), Arc::new(manifest.clone()), part)?;
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    if manifest.score.is_some() {
        let question = lines.next().unwrap_or_default();
        let mut scores = Vec::new();
        for line in lines {
            let pair = tokenizer.encode_pair(manifest, question, line)?;
            let float = float.score(&pair).context("the source makes vectors, no scores")?;
            for score in encoder.score(std::slice::from_ref(&pair))? {
                scores.extend(score.to_f64().first().map(|exact| (*exact, float)));
            }
        }
        ensure!(!scores.is_empty(), "a question, and a line to score with it, are needed");
        return Ok(EncoderQuality::Scores(scores));
    }
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
    Ok(EncoderQuality::Vectors(cosines))
}

/// A model's tokenizer.
pub(crate) fn tokenizer(data_dir: &Path, blob: &BlobRef) -> anyhow::Result<Tokenizer> {
    Ok(Tokenizer::from_bytes(&read_verified(data_dir, blob)?)?)
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
