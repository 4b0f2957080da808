//! Small random encoders of every family, as Hugging Face folders: their configurations and what
//! `transformers` makes of them are in `crates/reference/tests/encoders.json`.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};

use potluck_model::synthetic::Random;
use safetensors::{Dtype, tensor::TensorView};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

pub const VOCAB: usize = 512;

/// One encoder, by its `config.json`.
#[derive(Clone, Deserialize)]
pub struct Case {
    pub name: String,
    pub config: Value,
    /// Of the first 1, 12 and 47 tokens of [`text`]: a score, or the first four numbers of the mean of
    /// all rows.
    pub golden: [Vec<f64>; 3],
}

#[derive(Deserialize)]
struct Cases {
    /// How the golden numbers were made.
    #[serde(rename = "made")]
    _made: String,
    cases: Vec<Case>,
}

/// Name, shape and numbers.
pub type Tensor = (String, Vec<usize>, Vec<f32>);

pub fn cases() -> Vec<Case> {
    let text = include_str!("../../../reference/tests/encoders.json");
    serde_json::from_str::<Cases>(text).unwrap().cases
}

/// A text of tokens drawn at random, no control tokens among them.
pub fn text() -> Vec<u32> {
    let mut random = Random::new(5);
    let last = i32::try_from(VOCAB - 1).unwrap();
    (0..47).map(|_| random.within(5, last).unsigned_abs()).collect()
}

/// A folder, which is gone when this is.
pub struct Written {
    _whole: TempDir,
    pub folder: PathBuf,
}

impl Case {
    pub fn is(&self, family: &str) -> bool {
        self.config["model_type"] == family
    }

    pub fn scores(&self) -> bool {
        self.config["architectures"][0].as_str().unwrap().ends_with("Classification")
    }

    pub fn number(&self, field: &str) -> usize {
        usize::try_from(self.config[field].as_u64().unwrap()).unwrap()
    }

    /// The folder of one that pools by the mean, whose vectors are as long as they come.
    pub fn write(&self) -> Written {
        let whole = tempfile::tempdir().unwrap();
        let folder = whole.path().join("random");
        fs::create_dir_all(folder.join("1_Pooling")).unwrap();
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        fs::write(folder.join("tokenizer.json"), self.tokenizer().to_string()).unwrap();
        if !self.scores() {
            let pooling = json!({"pooling_mode_mean_tokens": true});
            fs::write(folder.join("1_Pooling/config.json"), pooling.to_string()).unwrap();
        }
        write_weights(&folder, &self.tensors());
        Written { _whole: whole, folder }
    }

    /// Each is drawn by its name (FNV-1a), without the model's own in front, so that whoever draws them in another order draws the same.
    pub fn tensors(&self) -> Vec<Tensor> {
        let root = match self.config["model_type"].as_str().unwrap() {
            _ if !self.scores() => "",
            "bert" => "bert.",
            "modernbert" => "model.",
            _ => "roberta.",
        };
        let mut all = Vec::new();
        let mut add = |name: String, shape: &[usize], middle: f32, spread: f32| {
            let own = name.strip_prefix(root).unwrap_or(&name);
            let seed = own.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let mut random = Random::new(seed);
            let count: usize = shape.iter().product();
            // Nearly normal, as weights are.
            let mut one =
                || (0..4).map(|_| random.within(-1000, 1000)).sum::<i32>() as f32 / 1155.0;
            let values = (0..count).map(|_| middle + spread * one()).collect();
            all.push((name, shape.to_vec(), values));
        };
        let (d, ff) = (self.number("hidden_size"), self.number("intermediate_size"));
        let (is_modern, is_nomic) = (self.is("modernbert"), self.is("nomic_bert"));
        let named = |part: &str| format!("{root}{part}");
        let mut norm = |name: String| {
            add(format!("{name}.weight"), &[d], 1.0, 0.2);
            if !is_modern {
                add(format!("{name}.bias"), &[d], 0.0, 0.5);
            }
        };
        let layers = 0..self.number("num_hidden_layers");
        let norms: &[&str] = match () {
            () if is_modern => &["attn_norm", "mlp_norm"],
            () if is_nomic => &["norm1", "norm2"],
            () => &["attention.output.LayerNorm", "output.LayerNorm"],
        };
        let layer = match () {
            () if is_modern => "layers",
            () if is_nomic => "encoder.layers",
            () => "encoder.layer",
        };
        for index in layers.clone() {
            let is_there = |norm: &&&str| index > 0 || **norm != "attn_norm";
            norms
                .iter()
                .filter(is_there)
                .for_each(|it| norm(named(&format!("{layer}.{index}.{it}"))));
        }
        match () {
            () if is_modern => ["embeddings.norm", "final_norm"].map(named).map(&mut norm),
            () if is_nomic => [norm(named("emb_ln")), ()],
            () => [norm(named("embeddings.LayerNorm")), ()],
        };
        if is_modern && self.scores() {
            norm("head.norm".to_owned());
        }
        let words =
            if is_modern { "embeddings.tok_embeddings" } else { "embeddings.word_embeddings" };
        let mut tables = vec![(words, VOCAB)];
        if !is_modern {
            tables.push(("embeddings.token_type_embeddings", self.number("type_vocab_size")));
        }
        if !is_modern && !is_nomic {
            tables.push(("embeddings.position_embeddings", self.number("max_position_embeddings")));
        }
        for (name, rows) in tables {
            add(named(&format!("{name}.weight")), &[rows, d], 0.0, 0.5);
        }
        let mut linear = |name: String, rows: usize, columns: usize, is_biased: bool| {
            let spread = 1.0 / (columns as f32).sqrt();
            add(format!("{name}.weight"), &[rows, columns], 0.0, spread);
            if is_biased {
                add(format!("{name}.bias"), &[rows], 0.0, 0.5);
            }
        };
        let matrices: &[(&str, usize, usize)] = match () {
            () if is_modern => &[
                ("attn.Wqkv", 3 * d, d),
                ("attn.Wo", d, d),
                ("mlp.Wi", 2 * ff, d),
                ("mlp.Wo", d, ff),
            ],
            () if is_nomic => &[
                ("attn.Wqkv", 3 * d, d),
                ("attn.out_proj", d, d),
                ("mlp.fc11", ff, d),
                ("mlp.fc12", ff, d),
                ("mlp.fc2", d, ff),
            ],
            () => &[
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", ff, d),
                ("output.dense", d, ff),
            ],
        };
        let is_biased = !is_modern && !is_nomic;
        for index in layers {
            for (part, rows, columns) in matrices {
                linear(named(&format!("{layer}.{index}.{part}")), *rows, *columns, is_biased);
            }
        }
        if self.is("bert") {
            linear(named("pooler.dense"), d, d, true);
        }
        if self.scores() {
            let parts: &[(&str, usize, bool)] = match () {
                () if is_modern => &[("head.dense", d, false), ("classifier", 1, true)],
                () if self.is("bert") => &[("classifier", 1, true)],
                () => &[("classifier.dense", d, true), ("classifier.out_proj", 1, true)],
            };
            parts.iter().for_each(|(name, rows, bias)| linear((*name).to_owned(), *rows, d, *bias));
        }
        all
    }

    /// Its `tokenizer.json`, as such models have it.
    pub fn tokenizer(&self) -> Value {
        match self.config["model_type"].as_str().unwrap() {
            "xlm-roberta" => unigram(),
            "modernbert" => byte_level(),
            _ => word_piece(),
        }
    }
}

pub fn write_weights(folder: &Path, tensors: &[Tensor]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let views: Vec<_> = views.collect();
    fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None).unwrap())
        .unwrap();
}

/// Texts that cutters of words differ in.
pub const TEXTS: [&str; 8] = [
    "a fox and a lantern",
    "Foxes, LANTERNS! don't",
    "caf\u{e9} na\u{ef}ve \u{4e2d}\u{6587} x",
    "  two  blanks\tand\na line ",
    "\u{ff21}\u{ff22} \u{fb01}sh\u{a0}and\u{3000}more",
    "[CLS] typed </s> <mask> [SEP]",
    "letters, \"quoted\" ones.",
    "",
];

const WORDS: [&str; 12] = [
    "a", "fox", "foxes", "and", "the", "lantern", "lanterns", "don", "cafe", "two", "line", "fish",
];

/// Pieces of up to two letters, and what is left of the vocabulary for nobody.
fn filled(mut tokens: Vec<String>, unused: impl Fn(usize) -> String) -> Vec<String> {
    let next = tokens.len();
    assert!(next < VOCAB);
    tokens.extend((next..VOCAB).map(unused));
    tokens
}

fn letters() -> impl Iterator<Item = String> + Clone {
    ('a'..='z').chain('0'..='9').map(String::from)
}

pub const CONTROLS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

pub fn word_piece_tokens() -> Vec<String> {
    let mut tokens: Vec<String> = CONTROLS.map(str::to_owned).to_vec();
    tokens.extend(
        ["!", ",", ".", "\"", "'", "[", "]", "<", ">", "/", "\u{4e2d}", "\u{6587}"]
            .map(str::to_owned),
    );
    tokens.extend(letters().chain(letters().map(|letter| format!("##{letter}"))));
    tokens.extend(WORDS[1..].iter().map(|word| (*word).to_owned()));
    filled(tokens, |at| format!("[unused{at}]"))
}

fn added(id: usize, content: &str) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
           "normalized": false, "special": true})
}

fn template((first, last): (&str, usize), (end, end_id): (&str, usize), twice: bool) -> Value {
    let kind = u32::from(!twice);
    let special = |id: &str, kind: u32| json!({"SpecialToken": {"id": id, "type_id": kind}});
    let text = |id: &str, kind: u32| json!({"Sequence": {"id": id, "type_id": kind}});
    let mut pair = vec![special(first, 0), text("A", 0), special(end, 0)];
    pair.extend(twice.then(|| special(end, 0)));
    pair.extend([text("B", kind), special(end, kind)]);
    json!({
        "type": "TemplateProcessing",
        "single": [special(first, 0), text("A", 0), special(end, 0)],
        "pair": pair,
        "special_tokens": {
            first: {"id": first, "ids": [last], "tokens": [first]},
            end: {"id": end, "ids": [end_id], "tokens": [end]},
        },
    })
}

fn vocabulary(tokens: &[String]) -> Map<String, Value> {
    tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect()
}

fn word_piece() -> Value {
    let tokens = word_piece_tokens();
    let specials: Vec<Value> = (0..5).map(|id| added(id, &tokens[id])).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": specials,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template(("[CLS]", 2), ("[SEP]", 3), false),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary(&tokens)},
    })
}

/// Pieces with their scores; the embedding has more rows than there are pieces.
pub fn unigram_pieces() -> Vec<(String, f64)> {
    let mut pieces: Vec<(String, f64)> =
        ["<s>", "<pad>", "</s>", "<unk>"].map(|it| (it.to_owned(), 0.0)).to_vec();
    let all = WORDS.iter().map(|word| format!("\u{2581}{word}"));
    let all = all.chain(["\u{2581}".to_owned(), "an".to_owned(), "er".to_owned()]).chain(letters());
    let all = all.chain(
        [
            "A", "B", "F", "L", "C", "S", "E", "P", "N", "R", "T", "D", "I", "O", "W", "[", "]",
            "<", ">", "/", ".", "\"", "\u{e9}", "\u{ef}", "\u{4e2d}", "\u{6587}", ",", "!", "'",
        ]
        .map(str::to_owned),
    );
    // What an `f32` says exactly.
    pieces.extend(all.zip(2_u8..).map(|(piece, at)| (piece, -f64::from(at) * 0.125)));
    pieces
}

/// A map of five letters to others, as `SentencePiece` compiles it: a double array whose cells are free,
/// but for some, and the letters that they stand for. Full-width A and B, the ligature of f and i, two
/// blanks.
pub fn charsmap() -> Vec<u8> {
    let mut cells: Vec<u32> = (0..256).map(|at| at ^ 1).collect();
    let used = [
        (0, 199_680),
        (1, 167_106),
        (2, 1440),
        (3, 2_147_483_648),
        (4, 132_224),
        (5, 6528),
        (6, 131_244),
        (7, 15_745),
        (8, 2_147_483_654),
        (9, 2465),
        (10, 6562),
        (11, 2_147_483_650),
        (12, 2_147_483_652),
        (13, 12),
        (22, 194_748),
        (32, 168_163),
        (44, 137_455),
    ];
    for (at, value) in used {
        cells[at] = value;
    }
    let size = u32::try_from(cells.len() * 4).unwrap();
    let cells = cells.iter().flat_map(|cell| cell.to_le_bytes());
    size.to_le_bytes().into_iter().chain(cells).chain(*b" \0A\0B\0fi\0").collect()
}

fn unigram() -> Value {
    let pieces = unigram_pieces();
    let specials: Vec<Value> = (0..4).map(|id| added(id, &pieces[id].0)).collect();
    let blanks = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": specials,
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64(&charsmap())},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, blanks]},
        "post_processor": template(("<s>", 0), ("</s>", 2), true),
        "decoder": blanks,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": false},
    })
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().chain([&0; 2]).take(3).fold(0, |word, byte| word << 8 | u32::from(*byte));
        for at in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * at) & 63) as usize];
            text.push(if at > three.len() { '=' } else { char::from(letter) });
        }
    }
    text
}

/// Bytes as byte-level vocabularies spell them, and some pairs.
pub fn byte_level_tokens() -> Vec<String> {
    let mut tokens: Vec<String> = CONTROLS.map(str::to_owned).to_vec();
    let is_shown = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden = (0..256_u32).filter(|byte| !is_shown(byte)).zip(256_u32..);
    let shown = (0..256_u32).filter(is_shown).map(|byte| (byte, byte));
    let mut bytes: Vec<(u32, u32)> = shown.chain(hidden).collect();
    bytes.sort_unstable();
    tokens.extend(bytes.iter().map(|(_, letter)| char::from_u32(*letter).unwrap().to_string()));
    tokens.extend(merges().iter().map(|[left, right]| format!("{left}{right}")));
    tokens.push("  ".to_owned());
    filled(tokens, |at| format!("[unused{at}]"))
}

pub fn merges() -> Vec<[&'static str; 2]> {
    vec![["f", "o"], ["fo", "x"], ["a", "n"], ["an", "d"], ["\u{120}", "a"], ["\u{120}", "l"]]
}

fn byte_level() -> Value {
    let tokens = byte_level_tokens();
    let mut specials: Vec<Value> = (0..5).map(|id| added(id, &tokens[id])).collect();
    let blanks = tokens.iter().position(|token| token == "  ").unwrap();
    let mut two = added(blanks, "  ");
    two["special"] = json!(false);
    specials.push(two);
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let merges: Vec<String> = merges().iter().map(|pair| pair.join(" ")).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": specials,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": bytes,
        "post_processor": template(("[CLS]", 2), ("[SEP]", 3), false),
        "decoder": bytes,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "ignore_merges": false, "vocab": vocabulary(&tokens), "merges": merges},
    })
}
