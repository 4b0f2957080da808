//! The built-in model, imported once for all tests of a binary.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use potluck_importer::import_folder;
use potluck_model::package::Manifest;
use potluck_protocol::id::ModelId;

/// A data folder with the model in it.
pub struct Package {
    folder: tempfile::TempDir,
    pub model: ModelId,
    pub manifest: Arc<Manifest>,
}

impl Package {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn blob(&self, hash: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join("blobs").join(hash)).unwrap()
    }
}

pub fn package() -> &'static Package {
    static PACKAGE: OnceLock<Package> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/potluck-tiny");
        let hash = import_folder(&source, folder.path()).unwrap();
        let bytes = std::fs::read(folder.path().join("models/potluck-tiny.json")).unwrap();
        Package {
            folder,
            model: ModelId(hash.0),
            manifest: Arc::new(Manifest::from_bytes(&bytes).unwrap()),
        }
    })
}
