//! `model add | list | check | remove`: the models of a data folder, from the command line.
//!
//! Besides its manifest a model keeps its origin, `origins/<name>`, so that `check` finds the
//! floats it was made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use potluck_importer::{Options, import};
use potluck_model::encoder::EncoderManifest;
use potluck_model::package::{BlobHash, BlobRef, BlobRole, Manifest, ManifestError, ModelConfig};
use potluck_protocol::id::ModelId;

use super::checker::{self, On};
use super::compress::{compress_beside, compressed};
use super::download::{Reference, SCHEME};

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

/// A model that was imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// Its name.
    pub name: String,
    /// BLAKE3 of its manifest.
    pub id: ModelId,
    /// The folder or file that it was made from.
    pub source: PathBuf,
}

impl Added {
    /// Compares it with what it was made from, on a short text; a model for which that takes minutes
    /// is left alone. Returns what people read: whatever comes of it, the model stays installed.
    #[must_use]
    pub fn self_test(&self, data_dir: &Path) -> String {
        checker::run(&self.name, On::ShortTextIfQuick, &self.source, data_dir).unwrap_or_else(
            |error| {
                format!(
                    "warning: the self-test was not made, so that nobody knows whether {name} came over well: \
                     {error:#}. It is installed all the same; try again with `potluck-server model check {name} \
                     --data-dir {data_dir:?}`",
                    name = self.name
                )
            },
        )
    }
}

/// Imports a folder, a GGUF file or a model of the Hub into the data folder.
///
/// # Errors
/// If it cannot be fetched or imported; nothing is installed then.
pub fn add(source: &str, data_dir: &Path, options: &Options) -> anyhow::Result<Added> {
    let origin = Origin::parse(source)?;
    let path = origin.fetch()?;
    let mut options = options.clone();
    if let (Origin::Hub(reference), None) = (&origin, &options.name) {
        options.name = Some(reference.model_name());
    }
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    )?);
    let imported = import(&path, data_dir, &options, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.read_bytes);
    });
    bar.finish_and_clear();
    let hash = imported.with_context(|| format!("could not import {source}"))?;
    let bytes = fs::read(blob_path(data_dir, hash))?;
    let (name, tokenizer) = match EncoderManifest::from_bytes(&bytes) {
        Ok(encoder) => (encoder.name, encoder.tokenizer),
        Err(_) => {
            let manifest = Manifest::from_bytes(&bytes)?;
            (manifest.name, manifest.tokenizer)
        }
    };
    compress_beside(&blob_path(data_dir, tokenizer.hash))
        .context("could not compress the tokenizer")?;
    let origins = data_dir.join("origins");
    fs::create_dir_all(&origins)
        .with_context(|| format!("could not create {}", origins.display()))?;
    fs::write(origins.join(&name), origin.text())
        .context("could not note where the model came from")?;
    Ok(Added { name, id: ModelId(hash.0), source: path })
}

/// A table of the installed models.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(data_dir: &Path) -> anyhow::Result<String> {
    let (models, encoders) = (installed(data_dir)?, encoders(data_dir)?);
    if models.is_empty() && encoders.is_empty() {
        return Ok(format!(
            "no models in {}; add one with `potluck-server model add`\n",
            data_dir.display()
        ));
    }
    let header = ["name", "architecture", "layers", "weights", "context", "size", "licence", "id"]
        .map(str::to_owned);
    let mut rows = vec![header];
    let row = |id: &BlobHash, named: [&str; 3], config: &ModelConfig, bytes: u64| {
        let [name, architecture, license] = named.map(str::to_owned);
        let (layers, context) = (config.layers.to_string(), config.max_positions.to_string());
        let (bits, size) =
            (format!("{} bit", config.weight_bits), format!("{:.1} MB", bytes as f64 / 1e6));
        [
            name,
            architecture,
            layers,
            bits,
            context,
            size,
            license,
            id.to_string().chars().take(16).collect(),
        ]
    };
    for (id, manifest) in &models {
        let named = [manifest.name.as_str(), &manifest.architecture, &manifest.license];
        rows.push(row(id, named, &manifest.config, held_bytes(used(*id, manifest))));
    }
    for (id, manifest) in &encoders {
        let named = [manifest.name.as_str(), &manifest.architecture, &manifest.license];
        rows.push(row(id, named, &manifest.config, held_bytes(used_by_encoder(*id, manifest))));
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let mut table = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(table, "{}", cells.join("  ").trim_end())?;
    }
    Ok(table)
}

/// Removes a model, and the blobs that no other model uses.
///
/// # Errors
/// If there is none of that name, or files cannot be removed.
pub fn remove(name: &str, data_dir: &Path) -> anyhow::Result<()> {
    let (models, encoders) = (installed(data_dir)?, encoders(data_dir)?);
    let parts = |bytes: BTreeMap<BlobHash, u64>| bytes.into_keys().collect::<BTreeSet<BlobHash>>();
    let models =
        models.iter().map(|(id, manifest)| ("models", &manifest.name, parts(used(*id, manifest))));
    let encoders = encoders
        .iter()
        .map(|(id, manifest)| ("encoders", &manifest.name, parts(used_by_encoder(*id, manifest))));
    let all: Vec<_> = models.chain(encoders).collect();
    let Some((kind, _, own)) = all.iter().find(|(_, known, _)| *known == name) else {
        bail!(
            "there is no model {name:?}; installed: {}",
            names(all.iter().map(|(_, name, _)| name.as_str()))
        );
    };
    let kept: BTreeSet<BlobHash> = all
        .iter()
        .filter(|(_, other, _)| *other != name)
        .flat_map(|(_, _, blobs)| blobs.iter().copied())
        .collect();
    // The name first: a model of which some blobs are gone must not be found.
    remove_file(&data_dir.join(kind).join(format!("{name}.json")))?;
    remove_file(&data_dir.join("origins").join(name))?;
    for hash in own.difference(&kept) {
        let path = blob_path(data_dir, *hash);
        remove_file(&path)?;
        remove_file(&compressed(&path))?;
    }
    Ok(())
}

/// Compares a model with the floats it was made from, on a text; of an encoder every line of it is
/// a text of its own. Without a text on a short one, as after an import.
///
/// # Errors
/// If either cannot be read, they are not the same model, or the program that compares is missing.
pub fn check(
    name: &str,
    text: Option<&Path>,
    against: Option<&str>,
    data_dir: &Path,
) -> anyhow::Result<String> {
    let encoders = encoders(data_dir)?;
    if !encoders.iter().any(|(_, manifest)| manifest.name == name) {
        find(&installed(data_dir)?, name)?;
    }
    let origin = match against {
        Some(source) => Origin::parse(source)?,
        None => {
            let noted = fs::read_to_string(data_dir.join("origins").join(name));
            let noted = noted.with_context(|| {
                format!("where {name} came from is not noted; say so with --against")
            })?;
            Origin::parse(&noted).context(
                "what the model was made from is gone; name another place with --against",
            )?
        }
    };
    checker::run(name, text.map_or(On::ShortText, On::Text), &origin.fetch()?, data_dir)
}

/// All models, by name.
fn installed(data_dir: &Path) -> anyhow::Result<Vec<(BlobHash, Manifest)>> {
    read_all(data_dir, "models", Manifest::from_bytes)
}

/// All encoders, by name.
fn encoders(data_dir: &Path) -> anyhow::Result<Vec<(BlobHash, EncoderManifest)>> {
    read_all(data_dir, "encoders", EncoderManifest::from_bytes)
}

fn read_all<T>(
    data_dir: &Path,
    kind: &str,
    read: impl Fn(&[u8]) -> Result<T, ManifestError>,
) -> anyhow::Result<Vec<(BlobHash, T)>> {
    super::manifests(&data_dir.join(kind))?
        .into_iter()
        .map(|(path, bytes)| {
            let manifest =
                read(&bytes).with_context(|| format!("{} is no manifest", path.display()))?;
            Ok((BlobHash(*blake3::hash(&bytes).as_bytes()), manifest))
        })
        .collect()
}

fn find<'a>(
    models: &'a [(BlobHash, Manifest)],
    name: &str,
) -> anyhow::Result<&'a (BlobHash, Manifest)> {
    models.iter().find(|(_, manifest)| manifest.name == name).with_context(|| {
        let known = models.iter().map(|(_, manifest)| manifest.name.as_str());
        format!("there is no model {name:?}; installed: {}", names(known))
    })
}

/// For people.
fn names<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

/// A model's blobs and their bytes.
fn used(id: BlobHash, manifest: &Manifest) -> BTreeMap<BlobHash, u64> {
    sized(id, manifest.blobs_for(0..manifest.config.layers), manifest.tokenizer)
}

/// An encoder's blobs and their bytes.
fn used_by_encoder(id: BlobHash, manifest: &EncoderManifest) -> BTreeMap<BlobHash, u64> {
    sized(id, manifest.blobs(), manifest.tokenizer)
}

/// Each blob once, the manifest among them; its own bytes do not count.
fn sized(
    id: BlobHash,
    parts: Vec<(BlobRole, BlobRef)>,
    tokenizer: BlobRef,
) -> BTreeMap<BlobHash, u64> {
    let blobs = parts.into_iter().map(|(_, blob)| blob).chain([tokenizer]);
    blobs.map(|blob| (blob.hash, blob.size_bytes)).chain([(id, 0)]).collect()
}

fn held_bytes(blobs: BTreeMap<BlobHash, u64>) -> u64 {
    blobs.into_values().sum()
}

fn blob_path(data_dir: &Path, hash: BlobHash) -> PathBuf {
    data_dir.join("blobs").join(hash.to_string())
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
