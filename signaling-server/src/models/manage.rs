//! `model add | list | check | remove`: the models of a data folder, from the command line.
//!
//! Besides its manifest a model keeps its origin, `origins/<name>`, so that `check` finds the
//! floats it was made from.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use potluck_engine::encoder::Encoder;
use potluck_engine::engine::{BackendChoice, Engine};
use potluck_engine::import::float::FloatModel;
use potluck_engine::import::float_encoder::FloatEncoder;
use potluck_engine::import::{Options, import};
use potluck_engine::kernels::linear::CpuPath;
use potluck_engine::package::{
    BlobHash, BlobRef, BlobRole, ChatFormat, EncoderManifest, Manifest, ManifestError, ModelConfig,
    verify_blob,
};
use potluck_engine::quality;
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
    let name = match EncoderManifest::from_bytes(&bytes) {
        Ok(encoder) => encoder.name,
        Err(_) => Manifest::from_bytes(&bytes)?.name,
    };
    let origins = data_dir.join("origins");
    fs::create_dir_all(&origins)
        .with_context(|| format!("could not create {}", origins.display()))?;
    fs::write(origins.join(&name), origin.text())
        .context("could not note where the model came from")?;
    Ok((name, ModelId(hash.0)))
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
        remove_file(&blob_path(data_dir, *hash))?;
    }
    Ok(())
}

/// Compares a model with the floats it was made from, on a text; of an encoder every line of it is
/// a text of its own.
///
/// # Errors
/// If either cannot be read, or they are not the same model.
pub fn check(
    name: &str,
    text: &Path,
    against: Option<&str>,
    data_dir: &Path,
) -> anyhow::Result<String> {
    let encoders = encoders(data_dir)?;
    let encoder = encoders.iter().find(|(_, manifest)| manifest.name == name);
    let models = installed(data_dir)?;
    if encoder.is_none() {
        find(&models, name)?;
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
    let text =
        fs::read_to_string(text).with_context(|| format!("could not read {}", text.display()))?;
    if let Some((_, manifest)) = encoder {
        return check_encoder(manifest, &text, &origin.fetch()?, data_dir);
    }
    let (_, manifest) = find(&models, name)?;
    let float = FloatModel::open(&origin.fetch()?)?;
    let tokenizer = Tokenizer::from_bytes(&read_verified(data_dir, &manifest.tokenizer)?)?;
    let plain = ChatFormat { prefix: String::new(), suffix: String::new() };
    let tokens = tokenizer.encode_chat(&plain, &text)?;
    let window = WINDOW.min(manifest.config.max_positions as usize);
    let texts: Vec<Vec<u32>> = tokens.chunks(window).map(<[u32]>::to_vec).collect();
    let bar = ProgressBar::new(tokens.len() as u64)
        .with_style(ProgressStyle::with_template("{wide_bar} {pos} of {len} tokens, {eta} left")?);
    let measured = futures::executor::block_on(async {
        let mut engine = whole_engine(manifest, data_dir).await?;
        let told = &mut |done| bar.set_position(done as u64);
        anyhow::Ok(
            quality::measure(&mut engine, manifest.config.layers, &float, &texts, told).await?,
        )
    });
    bar.finish_and_clear();
    Ok(measured?.to_string())
}

fn check_encoder(
    manifest: &EncoderManifest,
    text: &str,
    origin: &Path,
    data_dir: &Path,
) -> anyhow::Result<String> {
    let float = FloatEncoder::open(origin)?;
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

/// A blob's bytes, which are those that its manifest names.
fn read_verified(data_dir: &Path, blob: &BlobRef) -> anyhow::Result<Vec<u8>> {
    let path = blob_path(data_dir, blob.hash);
    let again = || format!("could not read {}; import the model again", path.display());
    let bytes = fs::read(&path).with_context(again)?;
    verify_blob(blob, &bytes).with_context(again)?;
    Ok(bytes)
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
