//! `model add | list | check | remove`: the models of a data folder, from the command line.
//!
//! Besides its manifest a model keeps its origin, `origins/<name>`, so that `check` finds the floats it was made from.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use potluck_engine::engine::{BackendChoice, Engine};
use potluck_engine::import::float::FloatModel;
use potluck_engine::import::{Options, import};
use potluck_engine::package::{BlobHash, BlobRole, ChatFormat, Manifest, verify_blob};
use potluck_engine::quality::{self, Quality};
use potluck_engine::tokenizer::Tokenizer;
use potluck_protocol::id::ModelId;

use super::download::{Reference, SCHEME};

/// Tokens of a text that are measured at once; each starts without what came before.
const WINDOW: usize = 512;

/// What a model is made from: a folder, a GGUF file, or one of the Hub.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Local(PathBuf),
    Hub(Reference),
}

impl Origin {
    fn parse(text: &str) -> anyhow::Result<Self> {
        if text.starts_with(SCHEME) {
            return Ok(Self::Hub(text.parse()?));
        }
        let path = fs::canonicalize(text).with_context(|| {
            format!("there is no folder or file {text}; models of the Hugging Face Hub are written {SCHEME}owner/name")
        })?;
        Ok(Self::Local(path))
    }

    /// Where it lies, after a download if need be.
    fn fetch(&self) -> anyhow::Result<PathBuf> {
        match self {
            Self::Local(path) => Ok(path.clone()),
            Self::Hub(reference) => reference.fetch(),
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Hub(reference) => reference.to_string(),
        }
    }
}

/// Imports a folder, a GGUF file or a model of the Hub into the data folder; gives its name and id.
///
/// # Errors
/// If it cannot be fetched or imported; nothing is installed then.
pub fn add(source: &str, data_dir: &Path, options: &Options) -> anyhow::Result<(String, ModelId)> {
    let origin = Origin::parse(source)?;
    let path = origin.fetch()?;
    let mut options = options.clone();
    if let (Origin::Hub(reference), None) = (&origin, &options.name) {
        options.name = Some(reference.model_name());
    }
    let bar = ProgressBar::new(0)
        .with_style(ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left")?);
    let imported = import(&path, data_dir, &options, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.read_bytes);
    });
    bar.finish_and_clear();
    let hash = imported.with_context(|| format!("could not import {source}"))?;
    let bytes = fs::read(blob_path(data_dir, hash))?;
    let name = Manifest::from_bytes(&bytes)?.name;
    let origins = data_dir.join("origins");
    fs::create_dir_all(&origins).with_context(|| format!("could not create {}", origins.display()))?;
    fs::write(origins.join(&name), origin.text()).context("could not note where the model came from")?;
    Ok((name, ModelId(hash.0)))
}

/// A table of the installed models.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(data_dir: &Path) -> anyhow::Result<String> {
    let models = installed(data_dir)?;
    if models.is_empty() {
        return Ok(format!("no models in {}; add one with `potluck-server model add`\n", data_dir.display()));
    }
    let header = ["name", "architecture", "layers", "weights", "context", "size", "licence", "id"].map(str::to_owned);
    let mut rows = vec![header];
    for (id, manifest) in &models {
        let config = &manifest.config;
        let megabytes = held_bytes(manifest) as f64 / 1e6;
        rows.push([
            manifest.name.clone(),
            manifest.architecture.clone(),
            config.layers.to_string(),
            format!("{} bit", config.weight_bits),
            config.max_positions.to_string(),
            format!("{megabytes:.1} MB"),
            manifest.license.clone(),
            id.to_string().chars().take(16).collect(),
        ]);
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0)).collect();
    let mut table = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(table, "{}", cells.join("  ").trim_end())?;
    }
    Ok(table)
}

/// Removes a model, and the blobs that no other model uses.
///
/// # Errors
/// If there is none of that name, or files cannot be removed.
pub fn remove(name: &str, data_dir: &Path) -> anyhow::Result<()> {
    let models = installed(data_dir)?;
    let (id, manifest) = find(&models, name)?;
    let used = |(id, manifest): &(BlobHash, Manifest)| {
        let blobs = manifest.blobs_for(0..manifest.config.layers).into_iter().map(|(_, blob)| blob.hash);
        blobs.chain([manifest.tokenizer.hash, *id]).collect::<BTreeSet<BlobHash>>()
    };
    let kept: BTreeSet<BlobHash> = models.iter().filter(|(_, other)| other.name != name).flat_map(used).collect();
    // The name first: a model of which some blobs are gone must not be found.
    remove_file(&data_dir.join("models").join(format!("{name}.json")))?;
    remove_file(&data_dir.join("origins").join(name))?;
    for hash in used(&(*id, manifest.clone())).difference(&kept) {
        remove_file(&blob_path(data_dir, *hash))?;
    }
    Ok(())
}

/// Compares a model with the floats it was made from, on a text.
///
/// # Errors
/// If either cannot be read, or they are not the same model.
pub fn check(name: &str, text: &Path, against: Option<&str>, data_dir: &Path) -> anyhow::Result<Quality> {
    let models = installed(data_dir)?;
    let (_, manifest) = find(&models, name)?;
    let origin = match against {
        Some(source) => Origin::parse(source)?,
        None => {
            let noted = fs::read_to_string(data_dir.join("origins").join(name));
            let noted = noted.with_context(|| format!("where {name} came from is not noted; say so with --against"))?;
            Origin::parse(&noted).context("what the model was made from is gone; name another place with --against")?
        }
    };
    let float = FloatModel::open(&origin.fetch()?)?;
    let text = fs::read_to_string(text).with_context(|| format!("could not read {}", text.display()))?;
    let tokenizer = Tokenizer::from_bytes(&read_blob(data_dir, manifest.tokenizer.hash)?)?;
    let plain = ChatFormat { prefix: String::new(), suffix: String::new() };
    let tokens = tokenizer.encode_chat(&plain, &text)?;
    let window = WINDOW.min(manifest.config.max_positions as usize);
    let texts: Vec<Vec<u32>> = tokens.chunks(window).map(<[u32]>::to_vec).collect();
    let bar = ProgressBar::new(tokens.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos} of {len} tokens, {eta} left")?);
    let measured = futures::executor::block_on(async {
        let mut engine = whole_engine(manifest, data_dir).await?;
        let told = &mut |done| bar.set_position(done as u64);
        Ok(quality::measure(&mut engine, manifest.config.layers, &float, &texts, told).await?)
    });
    bar.finish_and_clear();
    measured
}

/// An engine on this processor with all of a model in it.
async fn whole_engine(manifest: &Manifest, data_dir: &Path) -> anyhow::Result<Engine> {
    let mut engine = Engine::new(BackendChoice::Cpu).await?;
    engine.set_model(Arc::new(manifest.clone()), &read_blob(data_dir, manifest.tables.hash)?)?;
    for (role, blob) in manifest.blobs_for(0..manifest.config.layers) {
        let bytes = read_blob(data_dir, blob.hash)?;
        verify_blob(&blob, &bytes)?;
        if role != BlobRole::Tables {
            engine.load(role, &bytes)?;
        }
    }
    Ok(engine)
}

/// All manifests, by name.
fn installed(data_dir: &Path) -> anyhow::Result<Vec<(BlobHash, Manifest)>> {
    super::manifests(data_dir)?
        .into_iter()
        .map(|(path, bytes)| {
            let manifest =
                Manifest::from_bytes(&bytes).with_context(|| format!("{} is no manifest", path.display()))?;
            Ok((BlobHash(*blake3::hash(&bytes).as_bytes()), manifest))
        })
        .collect()
}

fn find<'a>(models: &'a [(BlobHash, Manifest)], name: &str) -> anyhow::Result<&'a (BlobHash, Manifest)> {
    let Some(found) = models.iter().find(|(_, manifest)| manifest.name == name) else {
        let names: Vec<&str> = models.iter().map(|(_, manifest)| manifest.name.as_str()).collect();
        bail!(
            "there is no model {name:?}; installed: {}",
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        );
    };
    Ok(found)
}

/// Bytes of a model's blobs, each counted once.
fn held_bytes(manifest: &Manifest) -> u64 {
    let blobs = manifest.blobs_for(0..manifest.config.layers).into_iter().map(|(_, blob)| (blob.hash, blob.size_bytes));
    let blobs: std::collections::BTreeMap<BlobHash, u64> = blobs.collect();
    blobs.values().sum::<u64>() + manifest.tokenizer.size_bytes
}

fn blob_path(data_dir: &Path, hash: BlobHash) -> PathBuf {
    data_dir.join("blobs").join(hash.to_string())
}

fn read_blob(data_dir: &Path, hash: BlobHash) -> anyhow::Result<Vec<u8>> {
    let path = blob_path(data_dir, hash);
    fs::read(&path).with_context(|| format!("could not read {}; import the model again", path.display()))
}

/// Removes a file; one that is not there is removed already.
fn remove_file(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
