//! An encoder's folder: `config.json` of each family, and what `sentence-transformers` puts beside it.

use std::fs;
use std::path::Path;

use potluck_model::encoder::{Family, Pooling};
use potluck_model::package::{LayerKind, MAX_LAYERS};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::names::folder_name;
use super::{Around, Description, Opened, activation};
use crate::error::ImportError;
use crate::rope;
use crate::source::json::{json, optional_json};
use crate::source::{Activation, folder, open_safetensors};

/// What folders name as their architecture, and whether it scores pairs.
const ARCHITECTURES: [(&str, Family, bool); 9] = [
    ("BertModel", Family::Bert, false),
    ("BertForMaskedLM", Family::Bert, false),
    ("BertForSequenceClassification", Family::Bert, true),
    ("XLMRobertaModel", Family::Bert, false),
    ("XLMRobertaForSequenceClassification", Family::Bert, true),
    ("NomicBertModel", Family::Nomic, false),
    ("ModernBertModel", Family::Modern, false),
    ("ModernBertForMaskedLM", Family::Modern, false),
    ("ModernBertForSequenceClassification", Family::Modern, true),
];
/// How fast Nomic's and `ModernBERT`'s pairs turn where the configuration does not say: as `transformers`
/// has it.
const NOMIC_THETA: f64 = 1000.0;
const GLOBAL_THETA: f64 = 160_000.0;
const LOCAL_THETA: f64 = 10_000.0;
/// `ModernBERT`'s own: positions of a window, and every so many layers one that sees all.
const LOCAL_ATTENTION: u32 = 128;
const GLOBAL_EVERY: u32 = 3;

/// `1_Pooling/config.json`.
#[derive(Debug, Default, Deserialize)]
struct PoolingConfig {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    /// As newer folders say it.
    pooling_mode: Option<String>,
}

/// One of `modules.json`.
#[derive(Debug, Deserialize)]
struct Module {
    #[serde(rename = "type")]
    kind: String,
}

/// `sentence_bert_config.json`.
#[derive(Debug, Default, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<u32>,
}

/// `config.json`, whose keys differ from family to family.
struct Config(Map<String, Value>);

fn unsupported<T>(what: String, supported: &str) -> Result<T, ImportError> {
    Err(ImportError::Unsupported { what, supported: supported.to_owned() })
}

impl Config {
    fn read(path: &Path) -> Result<Self, ImportError> {
        Ok(Self(json(&path.join("config.json"))?))
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A count under one of these keys.
    fn count(&self, keys: &[&str]) -> Result<Option<u32>, ImportError> {
        let Some((key, value)) = keys.iter().find_map(|key| Some((key, self.get(key)?))) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|count| u32::try_from(count).ok());
        count.map(Some).ok_or_else(|| self.wrong(key, value))
    }

    fn needed(&self, keys: &[&str]) -> Result<u32, ImportError> {
        let missing = || ImportError::Unsupported {
            what: format!("a config.json without {}", keys.join(" or ")),
            supported: "those that say it".to_owned(),
        };
        self.count(keys)?.ok_or_else(missing)
    }

    fn number(&self, keys: &[&str]) -> Result<Option<f64>, ImportError> {
        let Some((key, value)) = keys.iter().find_map(|key| Some((key, self.get(key)?))) else {
            return Ok(None);
        };
        value.as_f64().map(Some).ok_or_else(|| self.wrong(key, value))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    fn wrong(&self, key: &str, value: &Value) -> ImportError {
        let value: String = value.to_string().chars().take(64).collect();
        ImportError::Unsupported {
            what: format!("{key} {value} in config.json"),
            supported: "what this kind of encoder usually has there".to_owned(),
        }
    }

    /// Refuses the first of these that has another value than the one that changes nothing.
    fn same(&self, expected: &[(&str, Value)]) -> Result<(), ImportError> {
        for (key, neutral) in expected {
            if let Some(value) = self.get(key)
                && value != neutral
                && value.as_f64().is_none_or(|it| Some(it) != neutral.as_f64())
            {
                return Err(self.wrong(key, value));
            }
        }
        Ok(())
    }

    fn architecture(&self) -> Option<(&'static str, Family, bool)> {
        let named = self.get("architectures")?.as_array()?;
        let [named] = named.as_slice() else { return None };
        ARCHITECTURES.into_iter().find(|(known, ..)| named == known)
    }

    /// How many numbers a head that classifies gives.
    fn labels(&self) -> usize {
        let named = self.get("id2label").and_then(Value::as_object).map(Map::len);
        let counted = self.get("num_labels").and_then(Value::as_u64);
        // What `transformers` takes where neither is there.
        named.or(counted.and_then(|count| usize::try_from(count).ok())).unwrap_or(2)
    }
}

/// Whether a folder is an encoder's.
pub(super) fn is_one(path: &Path) -> bool {
    let config = fs::read(path.join("config.json")).unwrap_or_default();
    let config: Option<Map<String, Value>> = serde_json::from_slice(&config).ok();
    config.is_some_and(|config| Config(config).architecture().is_some())
}

/// Opens a folder.
pub(super) fn open(path: &Path) -> Result<Opened, ImportError> {
    let (description, tokenizer, around) = described(path)?;
    let mut tensors = open_safetensors(path)?;
    let (family, scores) = (description.family, description.scores);
    // Of BERT's heads one pools with its own pooler.
    let pools =
        scores && Config::read(path)?.architecture().is_some_and(|(it, ..)| it.starts_with("Bert"));
    tensors.rename(|name| {
        let renamed = folder_name(family, scores, name);
        let named = renamed.as_deref().unwrap_or(name);
        match named.strip_prefix("pooler.dense.") {
            Some(kind) if pools => Some(format!("score.dense.{kind}")),
            _ => renamed,
        }
    })?;
    Ok(Opened {
        name: folder::folder_name(path)?,
        license: folder::license(path)?,
        description,
        tokenizer,
        around,
        tensors,
    })
}

/// What a folder's small files say.
pub(super) fn described(path: &Path) -> Result<(Description, Vec<u8>, Around), ImportError> {
    let config = Config::read(path)?;
    let Some((name, family, scores)) = config.architecture() else {
        return unsupported("this folder's architecture".to_owned(), "that of an encoder");
    };
    let mut description = match family {
        Family::Bert => bert(&config, name.starts_with("XLMRoberta"))?,
        Family::Nomic => nomic(&config)?,
        Family::Modern => modern(&config, scores)?,
    };
    description.scores = scores;
    if scores {
        if config.labels() != 1 {
            let what = format!("a classifier of {} labels", config.labels());
            return unsupported(what, "one label, a score");
        }
    } else {
        description.pooling = pooling(path)?;
        let modules: Vec<Module> = optional_json(&path.join("modules.json"))?;
        let known = ["Transformer", "Pooling", "Normalize"];
        let is_known = |kind: &str| known.iter().any(|known| kind.ends_with(known));
        if let Some(Module { kind }) = modules.iter().find(|module| !is_known(&module.kind)) {
            let kind: String = kind.chars().take(64).collect();
            return unsupported(format!("the module {kind:?} (modules.json)"), &known.join(", "));
        }
        description.normalised = modules.iter().any(|it| it.kind.ends_with("Normalize"));
    }
    let sentence: SentenceConfig = optional_json(&path.join("sentence_bert_config.json"))?;
    let most = sentence.max_seq_length.unwrap_or(u32::MAX);
    description.max_positions = description.max_positions.min(most);
    let (tokenizer, around) = tokenizer(&path.join("tokenizer.json"))?;
    Ok((description, tokenizer, around))
}

fn pooling(path: &Path) -> Result<Pooling, ImportError> {
    let config: PoolingConfig = optional_json(&path.join("1_Pooling/config.json"))?;
    let named = config.pooling_mode.as_deref();
    let mean = config.pooling_mode_mean_tokens || named == Some("mean");
    let cls = config.pooling_mode_cls_token || named == Some("cls");
    match (mean, cls) {
        (true, false) => Ok(Pooling::Mean),
        (false, true) => Ok(Pooling::Cls),
        _ => unsupported("this folder's pooling (1_Pooling/config.json)".to_owned(), "mean, cls"),
    }
}

/// What the families have alike, by the names that most have for it.
fn common(config: &Config, family: Family) -> Result<Description, ImportError> {
    Ok(Description {
        family,
        layers: config.needed(&["num_hidden_layers", "n_layer"])?,
        d_model: config.needed(&["hidden_size", "n_embd"])?,
        d_ff: config.needed(&["intermediate_size", "n_inner"])?,
        heads: config.needed(&["num_attention_heads", "n_head"])?,
        vocab: config.needed(&["vocab_size"])?,
        max_positions: config.needed(&["max_position_embeddings", "n_positions"])?,
        first_position: 0,
        known_kinds: config.count(&["type_vocab_size"])?.unwrap_or(0),
        eps: config
            .number(&["layer_norm_eps", "layer_norm_epsilon", "norm_eps"])?
            .unwrap_or(if family == Family::Modern { 1e-5 } else { 1e-12 }),
        activation: Activation::Gelu,
        kinds: Vec::new(),
        rotations: Vec::new(),
        pooling: Pooling::Cls,
        normalised: false,
        scores: false,
    })
}

fn bert(config: &Config, is_xlm_roberta: bool) -> Result<Description, ImportError> {
    let mut description = common(config, Family::Bert)?;
    let named = config.text("hidden_act").unwrap_or("gelu");
    description.activation = activation(named, &[Activation::Gelu])?;
    if config.text("position_embedding_type").is_some_and(|kind| kind != "absolute") {
        return unsupported("this kind of positions".to_owned(), "absolute positions");
    }
    config.same(&[("is_decoder", false.into()), ("add_cross_attention", false.into())])?;
    if is_xlm_roberta {
        // Positions are counted from behind the one of padding.
        description.first_position =
            config.count(&["pad_token_id"])?.unwrap_or(1).saturating_add(1);
        description.max_positions =
            description.max_positions.saturating_sub(description.first_position);
    }
    Ok(description)
}

fn nomic(config: &Config) -> Result<Description, ImportError> {
    let mut description = common(config, Family::Nomic)?;
    let named = config.text("hidden_act").or(config.text("activation_function")).unwrap_or("silu");
    description.activation = activation(named, &[Activation::Silu])?;
    let [no, one] = [Value::from(false), Value::from(1.0)];
    let switches = [
        "causal",
        "qkv_proj_bias",
        "mlp_fc1_bias",
        "mlp_fc2_bias",
        "prenorm",
        "parallel_block",
        "rotary_emb_interleaved",
        "use_rms_norm",
        "scale_attn_by_inverse_layer_idx",
    ];
    config.same(&switches.map(|key| (key, no.clone())))?;
    config.same(&[("rotary_emb_fraction", one), ("scale_attn_weights", true.into())])?;
    for key in ["rotary_emb_scale_base", "moe_every_n_layers", "rope_scaling"] {
        if let Some(value) = config.get(key).filter(|value| value.as_f64() != Some(0.0)) {
            return Err(config.wrong(key, value));
        }
    }
    // Beyond those the makers stretch, by the length of each text.
    if let Some(trained) = config.count(&["max_trained_positions"])? {
        description.max_positions = description.max_positions.min(trained);
    } else if let Some(value) = config.get("rotary_scaling_factor") {
        return Err(config.wrong("rotary_scaling_factor", value));
    }
    let said = config.number(&["rotary_emb_base", "rope_theta"])?;
    let theta = theta(config, None)?.or(said).unwrap_or(NOMIC_THETA);
    turning(config, &mut description, &[theta], |_| LayerKind::PLAIN)?;
    Ok(description)
}

fn modern(config: &Config, scores: bool) -> Result<Description, ImportError> {
    let mut description = common(config, Family::Modern)?;
    let both = [Activation::Gelu, Activation::Silu];
    let named = config.text("hidden_activation").unwrap_or("gelu");
    description.activation = activation(named, &both)?;
    let no = Value::from(false);
    config.same(&["norm_bias", "attention_bias", "mlp_bias"].map(|key| (key, no.clone())))?;
    if let Some(value) = config.get("rope_scaling") {
        return Err(config.wrong("rope_scaling", value));
    }
    if scores {
        config.same(&[("classifier_bias", no), ("classifier_activation", "gelu".into())])?;
        description.pooling = match config.text("classifier_pooling").unwrap_or("cls") {
            "cls" => Pooling::Cls,
            "mean" => Pooling::Mean,
            other => return unsupported(format!("classifier_pooling {other:?}"), "cls, mean"),
        };
        if description.activation != Activation::Gelu {
            let what = "a score of a ModernBERT whose MLP is gated by silu".to_owned();
            return unsupported(what, "gelu in both");
        }
    }
    let global = theta(config, Some("full_attention"))?
        .or(config.number(&["global_rope_theta"])?)
        .unwrap_or(GLOBAL_THETA);
    // A key that says nothing means the others'.
    let own = if config.0.contains_key("local_rope_theta") { global } else { LOCAL_THETA };
    let local = theta(config, Some("sliding_attention"))?
        .or(config.number(&["local_rope_theta"])?)
        .unwrap_or(own);
    let reach = config.count(&["local_attention"])?.unwrap_or(LOCAL_ATTENTION) / 2;
    let every = config.count(&["global_attn_every_n_layers"])?.unwrap_or(GLOBAL_EVERY).max(1);
    let listed = config.get("layer_types").and_then(Value::as_array);
    let is_global = |index: u32| match listed {
        Some(listed) => listed.get(index as usize).is_some_and(|kind| kind == "full_attention"),
        None => index.is_multiple_of(every),
    };
    turning(config, &mut description, &[global, local], |index| {
        modern_kind(is_global(index), reach)
    })?;
    Ok(description)
}

/// A layer that sees all, or so many positions on both sides.
pub(crate) fn modern_kind(is_global: bool, reach: u32) -> LayerKind {
    LayerKind {
        window: (!is_global).then_some(reach.saturating_add(1)),
        rotation: Some(u32::from(!is_global)),
        experts: false,
    }
}

/// How fast queries and keys turn by `rope_parameters`, of layers of one type where it tells them apart.
fn theta(config: &Config, of: Option<&str>) -> Result<Option<f64>, ImportError> {
    let all = config.get("rope_parameters");
    let own = match of {
        Some(of) => all.and_then(|all| all.get(of)),
        None => all,
    };
    let Some(own) = own else { return Ok(None) };
    if own.get("rope_type").and_then(Value::as_str).is_some_and(|kind| kind != "default") {
        return Err(config.wrong("rope_parameters", own));
    }
    Ok(own.get("rope_theta").and_then(Value::as_f64))
}

/// Lets all layers turn, each of its kind.
fn turning(
    config: &Config,
    description: &mut Description,
    thetas: &[f64],
    kind: impl Fn(u32) -> LayerKind,
) -> Result<(), ImportError> {
    let heads = description.heads.max(1);
    let head_dim = description.d_model / heads;
    if let Some(said) = config.count(&["head_dim"])?.filter(|said| *said != head_dim) {
        return unsupported(format!("heads of {said}"), "heads that are together as wide as rows");
    }
    description.rotations =
        thetas.iter().map(|theta| rope::frequencies(*theta, head_dim)).collect::<Result<_, _>>()?;
    // More are refused by their number.
    description.kinds = (0..description.layers.min(MAX_LAYERS)).map(kind).collect();
    Ok(())
}

/// The tokenizer without its own padding and cutting, and what it puts around texts.
fn tokenizer(path: &Path) -> Result<(Vec<u8>, Around), ImportError> {
    let mut json: Value = json(path)?;
    for field in ["truncation", "padding"] {
        json[field] = Value::Null;
    }
    let around = Around::of(&json["post_processor"])?;
    let bytes = serde_json::to_vec(&json)
        .map_err(|source| ImportError::Json { path: path.to_owned(), source })?;
    Ok((bytes, around))
}
