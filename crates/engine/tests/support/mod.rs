//! What the native tests share: the built-in model imported into a folder of its own, and engines
//! that hold parts of it. It judges nothing.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::executor::block_on;
use potluck_engine::engine::{BackendChoice, Engine, Input, Output, OutputRequest};
use potluck_engine::sampler::Logits;
use potluck_importer::{Options, import};
use potluck_model::chat::{Conversation, LocalTime};
use potluck_model::package::{BlobHash, BlobRole, Manifest, verify_blob};
use potluck_model::tokenizer::Tokenizer;
use serde_json::Value;
use tempfile::TempDir;

/// The built-in model as the repository has it.
pub fn source_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models/potluck-tiny")
}

/// One of its JSON files.
pub fn source_json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(source_folder().join(name)).unwrap()).unwrap()
}

/// A JSON list of tokens.
pub fn tokens(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|token| u32::try_from(token.as_u64().unwrap()).unwrap())
        .collect()
}

/// An imported model.
pub struct Imported {
    pub folder: TempDir,
    pub id: BlobHash,
    pub manifest: Arc<Manifest>,
}

impl Imported {
    /// The built-in model.
    pub fn tiny() -> Self {
        Self::from(&source_folder(), &Options::default())
    }

    /// The bytes of a blob.
    pub fn blob(&self, hash: BlobHash) -> Vec<u8> {
        fs::read(self.folder.path().join("blobs").join(hash.to_string())).unwrap()
    }

    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::from_bytes(&self.blob(self.manifest.tokenizer.hash)).unwrap()
    }

    /// The model's input for a question.
    pub fn prompt(&self, question: &str) -> Vec<u32> {
        let asked = Conversation::question(question);
        self.tokenizer().encode_chat(&self.manifest.chat, &asked, LocalTime::default()).unwrap()
    }

    /// An imported folder or file.
    pub fn from(source: &Path, options: &Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let id = import(source, folder.path(), options, &mut |_| ()).unwrap();
        let models = fs::read_dir(folder.path().join("models")).unwrap();
        let manifest = fs::read(models.last().unwrap().unwrap().path()).unwrap();
        let manifest = Arc::new(Manifest::from_bytes(&manifest).unwrap());
        Self { folder, id, manifest }
    }

    /// An engine that holds all of the model and has no session.
    pub fn unopened(&self, choice: BackendChoice) -> Engine {
        let mut engine = self.whole(choice);
        engine.close_session(1);
        engine
    }

    /// An engine that holds what `layers` need, nothing else, with session 1 open over them.
    pub fn engine(&self, choice: BackendChoice, layers: Range<u32>) -> Engine {
        let mut engine = block_on(Engine::new(choice)).unwrap();
        engine
            .set_model(Arc::clone(&self.manifest), &self.blob(self.manifest.tables.hash))
            .unwrap();
        for (role, blob) in self.manifest.blobs_for(layers.clone()) {
            let bytes = self.blob(blob.hash);
            verify_blob(&blob, &bytes).unwrap();
            if role != BlobRole::Tables {
                engine.load(role, &bytes).unwrap();
            }
        }
        engine.open_session(1, layers).unwrap();
        engine
    }

    pub fn whole(&self, choice: BackendChoice) -> Engine {
        self.engine(choice, 0..self.manifest.config.layers)
    }
}

/// A step of session 1 that ends with logits.
pub fn logits(engine: &mut Engine, position: u32, tokens: &[u32]) -> Logits {
    match block_on(engine.forward(1, position, Input::Tokens(tokens), OutputRequest::Logits))
        .unwrap()
    {
        Output::Logits(logits) => logits,
        other => panic!("expected logits, got {other:?}"),
    }
}

/// The length of a text as positions count it.
pub fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap()
}
