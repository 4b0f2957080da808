//! `model.safetensors`, whole or in shards that `model.safetensors.index.json` lists.
//!
//! A file is eight bytes with the header's length, the header in JSON, and the data. The header is
//! parsed and checked by the `safetensors` crate (offsets follow each other without holes or
//! overlaps, lengths are what shapes need); what it cannot know without the whole file, that the
//! data is all there, is checked here. Only the header is held in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::element::Element;
use super::file::WeightsFile;
use super::json::json;
use super::tensors::{MAX_DIMENSIONS, MAX_NAME_BYTES, Stored, Tensors, tensor_error};
use crate::error::ImportError;

/// Bytes of a header at most, the `safetensors` crate's own limit.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH_BYTES: usize = 8;
/// Shards at most; the largest models have some hundreds.
const MAX_SHARDS: usize = 1024;
/// The list of shards.
const INDEX: &str = "model.safetensors.index.json";
/// The one file of a model that is not cut.
const WHOLE: &str = "model.safetensors";

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens the weights of a folder.
pub(crate) fn open(folder: &Path) -> Result<Tensors, ImportError> {
    let index = folder.join(INDEX);
    if !index.exists() || folder.join(WHOLE).exists() {
        return read(vec![WeightsFile::open(&folder.join(WHOLE))?]);
    }
    let Index { weight_map } = json(&index)?;
    let shards: BTreeSet<&String> = weight_map.values().collect();
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        return Err(ImportError::Weights(format!(
            "{INDEX}: {} shards, 1 to {MAX_SHARDS} are read",
            shards.len()
        )));
    }
    let mut files = Vec::new();
    for shard in &shards {
        // A name with a folder in it could point outside of this one.
        let plain =
            shard.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        if !plain || !shard.ends_with(".safetensors") {
            let shard: String = shard.chars().take(MAX_NAME_BYTES).collect();
            return Err(ImportError::Weights(format!("{INDEX}: {shard:?} is not a shard's name")));
        }
        files.push(WeightsFile::open(&folder.join(shard))?);
    }
    let tensors = read(files)?;
    // What the index promises and no shard has would be missed only after hours of work.
    let promised = |name: &&String| tensors.has(name) || tensors.has(&format!("model.{name}"));
    match weight_map.keys().find(|name| !promised(name)) {
        Some(name) => Err(tensor_error(name, "is in the index, but in no shard")),
        None => Ok(tensors),
    }
}

/// Reads the headers of files that together are a model.
pub(super) fn read(files: Vec<WeightsFile>) -> Result<Tensors, ImportError> {
    let headers = files.iter().map(header).collect::<Result<Vec<_>, _>>()?;
    let mut tensors = Tensors::new(files);
    for (file, (start, metadata)) in headers.iter().enumerate() {
        for (name, info) in metadata.tensors() {
            if name.len() > MAX_NAME_BYTES || info.shape.len() > MAX_DIMENSIONS {
                let (bytes, dimensions) = (name.len(), info.shape.len());
                let problem =
                    format!("a tensor with a name of {bytes} bytes and {dimensions} dimensions");
                return Err(ImportError::Weights(problem));
            }
            let mut shape = info.shape.clone();
            let element = match info.dtype {
                Dtype::F32 => Element::F32,
                Dtype::F16 => Element::F16,
                Dtype::BF16 => Element::BF16,
                // As gpt-oss is packed: the last two dimensions are blocks and their bytes.
                Dtype::U8 if name.ends_with("_blocks") && is_packed(&shape) => {
                    shape.pop();
                    let blocks = shape.iter_mut().last().into_iter();
                    blocks.for_each(|it| *it = it.saturating_mul(Element::FP4.block()));
                    Element::FP4
                }
                Dtype::U8 if name.ends_with("_scales") => Element::U8,
                // Such as a table of positions, which no architecture asks for.
                _ => continue,
            };
            let offset = start + info.data_offsets.0 as u64;
            let stored = Stored {
                file,
                offset,
                shape,
                element,
                interleaved_heads: None,
                among: None,
                scales: None,
            };
            tensors.add(name, stored)?;
        }
    }
    Ok(tensors.with_whole_names())
}

/// Whether these are blocks of four bits a number.
fn is_packed(shape: &[usize]) -> bool {
    shape.len() > 1 && shape.last() == Some(&Element::FP4.block_bytes())
}

/// A file's header, and where its data starts.
fn header(file: &WeightsFile) -> Result<(u64, Metadata), ImportError> {
    let length = file.read_at(0, LENGTH_BYTES)?;
    let length = length.try_into().map(u64::from_le_bytes).unwrap_or(u64::MAX);
    if length > MAX_HEADER_BYTES {
        return Err(file
            .broken(&format!("a header of {length} bytes, at most {MAX_HEADER_BYTES} are read")));
    }
    let start = LENGTH_BYTES as u64 + length;
    let bytes = file.read_at(LENGTH_BYTES as u64, usize::try_from(length).unwrap_or(usize::MAX))?;
    let metadata: Metadata =
        serde_json::from_slice(&bytes).map_err(|error| file.broken(&error.to_string()))?;
    let expected = start.checked_add(metadata.data_len() as u64);
    if expected != Some(file.size_bytes()) {
        let (expected, got) = (expected.unwrap_or(u64::MAX), file.size_bytes());
        return Err(file.broken(&format!("expected {expected} bytes, got {got}")));
    }
    Ok((start, metadata))
}
