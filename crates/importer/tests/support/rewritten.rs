//! The built-in model's weights, written again with other names and more tensors.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A tensor to add: name, kind, shape, bytes.
pub(crate) type More = (String, Dtype, Vec<usize>, Vec<u8>);

/// Writes `folder`'s weights again: every tensor under the name that `rename` gives it, and `more`.
pub(crate) fn rewrite(folder: &Path, rename: impl Fn(&str) -> String, more: &[More]) {
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let weights = SafeTensors::deserialize(&bytes).unwrap();
    let own = weights.tensors().into_iter().map(|(name, tensor)| (rename(&name), tensor));
    let more = more.iter().map(|(name, kind, shape, bytes)| {
        (name.clone(), TensorView::new(*kind, shape.clone(), bytes).unwrap())
    });
    let written = safetensors::serialize(own.chain(more), None).unwrap();
    fs::write(path, written).unwrap();
}
