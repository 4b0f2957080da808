//! An installed model, and an engine that holds as little of it as it can.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_engine::engine::{BackendChoice, Engine, EngineError, LoadError};
use potluck_model::package::{BlobError, BlobRef, Manifest, verify_blob};

/// A model of a server's data folder.
#[derive(Debug)]
pub struct Package {
    data_dir: PathBuf,
    manifest: Arc<Manifest>,
}

/// A package could not be used.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// A blob is not there.
    #[error("could not read {path}; import the model again")]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A blob is not the one that the manifest names.
    #[error("{path} is damaged; import the model again")]
    Blob {
        /// Where it is.
        path: PathBuf,
        /// How so.
        #[source]
        source: BlobError,
    },
    /// There is no engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The engine does not take a blob.
    #[error(transparent)]
    Load(#[from] LoadError),
}

impl Package {
    /// The model with this manifest in a data folder; nothing is read yet.
    #[must_use]
    pub fn new(data_dir: &Path, manifest: Manifest) -> Self {
        Self { data_dir: data_dir.to_owned(), manifest: Arc::new(manifest) }
    }

    /// What it is made of.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// An engine on this processor that knows the model and holds none of its weights.
    pub(crate) async fn engine(&self) -> Result<Engine, PackageError> {
        let mut engine = Engine::new(BackendChoice::Cpu).await?;
        let tables = read_verified(&self.data_dir, &self.manifest.tables)?;
        engine.set_model(Arc::clone(&self.manifest), &tables)?;
        Ok(engine)
    }

    /// Makes an engine hold what `layers` need and nothing else.
    pub(crate) fn hold_only(
        &self,
        engine: &mut Engine,
        layers: Range<u32>,
    ) -> Result<(), PackageError> {
        let wanted = self.manifest.blobs_for(layers);
        let held = engine.held();
        for role in held.iter().filter(|role| !wanted.iter().any(|(wanted, _)| wanted == *role)) {
            engine.unload(*role);
        }
        for (role, blob) in wanted.iter().filter(|(role, _)| !held.contains(role)) {
            engine.load(*role, &read_verified(&self.data_dir, blob)?)?;
        }
        Ok(())
    }
}

/// A blob's bytes, which are those that its manifest names.
pub(crate) fn read_verified(data_dir: &Path, blob: &BlobRef) -> Result<Vec<u8>, PackageError> {
    let path = data_dir.join("blobs").join(blob.hash.to_string());
    match fs::read(&path) {
        Ok(bytes) => match verify_blob(blob, &bytes) {
            Ok(()) => Ok(bytes),
            Err(source) => Err(PackageError::Blob { path, source }),
        },
        Err(source) => Err(PackageError::Read { path, source }),
    }
}
