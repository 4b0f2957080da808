//! What an import ends with: a short answer of our own through the installed model and through the
//! floats of the files that it was made from, and a sentence on how they compare.
//!
//! ```text
//! source ──▶ floats, f64 ──────────────────────┐
//!    └─import─▶ package ──▶ exact engine, CPU ─┴─▶ perplexities, agreement ──▶ a line, warnings
//! ```
//! A mistake of the import shows as a difference. One in how files are read is on both sides, and
//! shows as a perplexity that no trained model has: so both are printed. It changes nothing of what
//! is installed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::ensure;
use potluck_model::chat::{Conversation, LocalTime};
use potluck_model::package::{Manifest, ModelConfig};

use crate::check::{Installed, decoder_quality, encoder_quality, tokenizer};
use crate::quality::{EncoderQuality, Quality, widest};

/// What somebody asks.
const QUESTION: &str = "Tell me a story about a fox and a lantern.";
/// What is answered, and measured. In plain English, which every model was shown, and as the smallest
/// tell tales: of other languages and of code some have no idea, and say nothing by their numbers.
const ANSWER: &str = "\
Once upon a time, a fox named Luna lived in the forest. She had a lantern. One evening, Luna was out walking \
with the lantern when she heard a cry for help. An owl was stuck in the mud. \"I cannot get out!\" said the owl. \
Luna pulled and pulled, but it was no use. Then she had an idea. She used the lantern to dig a little. Out came \
the owl, covered in mud but smiling. \"Thank you, Luna,\" said the owl. They laughed and went home together.";
/// What answers nothing, for encoders that score answers.
const OTHER: &str = "Water boils at a hundred degrees.";

/// Multiply-accumulates of either side that are made unasked: two and a half billion weights
/// (measured: both sides take half a second of one processor a billion, so 75 s on two).
pub const QUICK_MACS: u64 = 300_000_000_000;

/// By how much the import may change the perplexity, as a part. Eight bits are to change that of a
/// trained model by half a percent at most; four are coarser (potluck-tiny: 0.1 % and 1.4 %). One norm
/// of six layers twice too large makes 6 %, a rotation of another base 11 %.
const MOST_PERPLEXITY_CHANGE: [(u32, f64); 2] = [(4, 0.15), (8, 0.02)];
/// The part of places in which the likeliest token must be the same. Of a hundred, eight bits change
/// one or two, where two tokens are as likely as each other.
const LEAST_AGREEMENT: [(u32, f64); 2] = [(4, 0.80), (8, 0.95)];
/// The least cosine between all logits of a place, for models that do not know the text: they like
/// hardly any token better than the next, so that rounding decides. Random weights have 0.999 with
/// eight bits and 0.85 with four; a part that is missing gives 0.9 and less with eight.
const LEAST_COSINE: [(u32, f64); 2] = [(4, 0.8), (8, 0.99)];
/// The same of models with experts, where rounding sends a token that likes two nearly as well through
/// another one.
const LEAST_ROUTED_COSINE: [(u32, f64); 2] = [(4, 0.6), (8, 0.9)];
/// Between an encoder's vectors; twelve bits give 0.9998.
const LEAST_ENCODER_COSINE: f64 = 0.999;
/// Between an encoder's scores, which are logarithms of odds and reach from -10 to 10 or so: 5 % of odds
/// are 0.05. Random weights differ by 0.001, those of `ModernBERT` by 0.02.
const MOST_SCORE_ERROR: f64 = 0.05;
/// A perplexity over this part of the vocabulary is that of one who guesses.
const GUESSING: f64 = 0.5;

/// Compares the model `name` of a server's data folder with the files at `against`, on a short text,
/// and returns what people read. What takes more than `most_macs` multiply-accumulates is left out, and
/// said to be.
///
/// # Errors
/// If there is no such model, a file cannot be read, or the two are not the same model.
pub fn self_test(
    name: &str,
    against: &Path,
    data_dir: &Path,
    most_macs: Option<u64>,
) -> anyhow::Result<String> {
    match Installed::find(name, data_dir)? {
        Installed::Decoder(manifest) => {
            let (tokens, given) = tokens(&manifest, data_dir)?;
            let macs = macs(&manifest.config, tokens.len());
            if most_macs.is_some_and(|most| macs > most) {
                return Ok(left_out(name, data_dir, macs));
            }
            announce(name, &format!("{} tokens", tokens.len()), macs)?;
            let config = manifest.config.clone();
            let quality = decoder_quality(*manifest, &[tokens], given, against, data_dir)?;
            Ok(report(name, &config, &quality))
        }
        Installed::Encoder(manifest) => {
            let scores = manifest.score.is_some();
            let text = [QUESTION, ANSWER, OTHER][..if scores { 3 } else { 2 }].join("\n");
            let tokens = tokenizer(data_dir, &manifest.tokenizer)?.encode(&text)?.len();
            let macs = macs(&manifest.config, tokens);
            if most_macs.is_some_and(|most| macs > most) {
                return Ok(left_out(name, data_dir, macs));
            }
            announce(name, if scores { "2 pairs" } else { "2 texts" }, macs)?;
            let quality = encoder_quality(&manifest, &text, against, data_dir)?;
            Ok(encoder_report(name, &quality))
        }
    }
}

/// The question as the model is asked, and the answer; and how many tokens the question has.
fn tokens(manifest: &Manifest, data_dir: &Path) -> anyhow::Result<(Vec<u32>, usize)> {
    let tokenizer = tokenizer(data_dir, &manifest.tokenizer)?;
    let asked = Conversation::question(QUESTION);
    let mut tokens = tokenizer.encode_chat(&manifest.chat, &asked, LocalTime::default())?;
    let given = tokens.len();
    tokens.extend(tokenizer.encode(ANSWER)?);
    tokens.truncate(manifest.config.max_positions as usize);
    ensure!(
        tokens.len() > given.max(1),
        "the model's context has no room for a question and an answer"
    );
    Ok((tokens, given))
}

/// Multiply-accumulates of one side; those of attention are few in a short text.
fn macs(config: &ModelConfig, tokens: usize) -> u64 {
    let each = u64::from(config.layers) * config.linear_macs_per_layer() + config.head_macs();
    each.saturating_mul(tokens as u64)
}

fn billions(macs: u64) -> f64 {
    macs as f64 / 1e9
}

/// Says, before it takes a while, what is done.
fn announce(name: &str, text: &str, macs: u64) -> std::io::Result<()> {
    writeln!(
        std::io::stderr(),
        "self-test: {text} through {name} and through the floats that it was made from, {:.1} billion \
         multiplications each ...",
        billions(macs)
    )
}

fn left_out(name: &str, data_dir: &Path, macs: u64) -> String {
    format!(
        "self-test: left out, as it would take minutes: {:.0} billion multiplications for either side, and \
         {:.0} are made unasked. Make it with `potluck-server model check {name} --data-dir {data_dir:?}`",
        billions(macs),
        billions(QUICK_MACS)
    )
}

/// What is said of a decoder: a line, and a warning where one is due.
fn report(name: &str, config: &ModelConfig, quality: &Quality) -> String {
    let Quality { positions, exact_perplexity, float_perplexity, agreement, .. } = quality;
    let mut report = format!(
        "self-test: {positions} tokens, perplexity {exact_perplexity:.2} (floats of the source \
         {float_perplexity:.2}, {:+.1} %), the likeliest token is the same in {:.0} % of places",
        quality.perplexity_change() * 100.0,
        agreement * 100.0
    );
    let guesses = *float_perplexity > f64::from(config.vocab) * GUESSING;
    let alike = if guesses {
        let least = if config.experts.is_some() { LEAST_ROUTED_COSINE } else { LEAST_COSINE };
        quality.least_cosine >= limit(&least, config)
    } else {
        // So written that no number is a difference.
        quality.perplexity_change().abs() <= limit(&MOST_PERPLEXITY_CHANGE, config)
            && *agreement >= limit(&LEAST_AGREEMENT, config)
    };
    if !alike {
        let _ = write!(report, "\n{}", differs(name, config.weight_bits));
    }
    if quality.saturated > 0 {
        let _ = write!(
            report,
            "\nwarning: {} values left the range in which the integers are exact; {name} may say nonsense",
            quality.saturated
        );
    }
    if guesses {
        let _ = write!(
            report,
            "\nnote: {name} does not know this text, from the source's floats either (whoever guesses among its \
             {} tokens has a perplexity of as many): its weights are not trained, or not for such texts, or the \
             tokenizer is another model's. Try it, `potluck-node local`, before you offer it to others",
            config.vocab
        );
    }
    report
}

fn encoder_report(name: &str, quality: &EncoderQuality) -> String {
    let (mut report, alike) = match quality {
        EncoderQuality::Vectors(cosines) => {
            let least = cosines.iter().copied().fold(1.0, f64::min);
            let report = format!(
                "self-test: {} texts, cosine between their vectors and those of the source's floats at least \
                 {least:.5}",
                cosines.len()
            );
            // A cosine that is no number is below as well, and `min` passes over it.
            (report, cosines.iter().all(|cosine| *cosine >= LEAST_ENCODER_COSINE))
        }
        EncoderQuality::Scores(scores) => {
            let each: Vec<String> = scores
                .iter()
                .map(|(exact, float)| format!("{exact:.3} (floats of the source {float:.3})"))
                .collect();
            let report = format!(
                "self-test: scores of an answer and of another text {}, at most {:.4} apart",
                each.join(", "),
                widest(scores)
            );
            let near = |(exact, float): &(f64, f64)| (exact - float).abs() <= MOST_SCORE_ERROR;
            (report, scores.iter().all(near))
        }
    };
    if !alike {
        let _ = write!(report, "\n{}", differs(name, 8));
    }
    report
}

fn differs(name: &str, weight_bits: u32) -> String {
    let what = if weight_bits < 8 {
        "`--weights q8` keeps more of it. If that differs as well, the import is wrong:"
    } else {
        "The import is probably wrong:"
    };
    format!(
        "warning: {name} differs from what it was made from by more than rounding to {weight_bits} bits explains. \
         It is installed, but do not offer it to others yet. {what} measure it on a longer text, `potluck-server model \
         check {name} --text FILE`, report it with the model's name, and take it away with `potluck-server model \
         remove {name}`"
    )
}

/// The limit for a model's bits a weight.
fn limit(limits: &[(u32, f64); 2], config: &ModelConfig) -> f64 {
    let [four, eight] = limits;
    if config.weight_bits <= four.0 { four.1 } else { eight.1 }
}

#[cfg(test)]
mod tests {
    use potluck_model::synthetic;

    use super::*;

    const VOCAB: u32 = 2048;

    fn config(weight_bits: u32) -> ModelConfig {
        ModelConfig { weight_bits, ..synthetic::config(1, 64, 64, (2, 1, 32), VOCAB, 64) }
    }

    /// How a well imported model does.
    fn good() -> Quality {
        Quality {
            positions: 99,
            exact_perplexity: 20.1,
            float_perplexity: 20.0,
            agreement: 0.98,
            worst_top_logit: 0.1,
            least_cosine: 0.9998,
            saturated: 0,
            residual_bits: 20,
        }
    }

    fn of(quality: Quality, weight_bits: u32) -> String {
        report("fox", &config(weight_bits), &quality)
    }

    #[test]
    fn a_good_import_is_one_line() {
        assert_eq!(
            of(good(), 8),
            "self-test: 99 tokens, perplexity 20.10 (floats of the source 20.00, +0.5 %), the likeliest token is the same in \
             98 % of places"
        );
    }

    #[test]
    fn a_difference_is_a_warning_with_what_to_do() {
        let nan = Quality { exact_perplexity: f64::NAN, ..good() };
        let surprised = Quality { exact_perplexity: 20.5, ..good() };
        let not_surprised = Quality { exact_perplexity: 19.5, ..good() };
        let of_another_mind = Quality { agreement: 0.94, ..good() };
        for quality in [nan, surprised, not_surprised, of_another_mind] {
            let report = of(quality, 8);
            let (line, warning) = report.split_once('\n').unwrap();
            assert!(line.starts_with("self-test: 99 tokens"), "{report}");
            assert!(warning.starts_with("warning: fox differs"), "{report}");
            assert!(warning.contains("model check fox --text FILE"), "{report}");
        }
        // Four bits are coarser, and eight are the advice.
        assert!(!of(surprised, 4).contains("warning"));
        assert!(!of(of_another_mind, 4).contains("warning"));
        let coarse = of(Quality { exact_perplexity: 30.0, ..good() }, 4);
        assert!(coarse.contains("--weights q8"), "{coarse}");
        let outside = of(Quality { saturated: 3, ..good() }, 8);
        assert!(outside.contains("warning: 3 values left the range"), "{outside}");
    }

    #[test]
    fn who_guesses_is_said_to_and_judged_by_all_logits() {
        let guess = Quality {
            exact_perplexity: 4100.0,
            float_perplexity: 4000.0,
            agreement: 0.9,
            ..good()
        };
        let report = of(guess, 8);
        assert!(report.contains("note: fox does not know this text"), "{report}");
        assert!(report.contains("2048 tokens") && !report.contains("warning"), "{report}");
        let report = of(Quality { least_cosine: 0.9, ..guess }, 8);
        assert!(report.contains("warning: fox differs") && report.contains("note:"), "{report}");
        // One that the import alone makes guess is no such model.
        let broken = of(Quality { exact_perplexity: 4000.0, ..good() }, 8);
        assert!(broken.contains("warning: fox differs") && !broken.contains("note:"), "{broken}");
    }

    #[test]
    fn an_encoder_is_judged_by_its_vectors() {
        let vectors = |cosines: [f64; 2]| EncoderQuality::Vectors(cosines.to_vec());
        let good = encoder_report("owl", &vectors([0.9999, 0.99985]));
        assert_eq!(
            good,
            "self-test: 2 texts, cosine between their vectors and those of the source's floats at least 0.99985"
        );
        for cosines in [[0.9999, 0.99], [0.9999, f64::NAN]] {
            assert!(encoder_report("owl", &vectors(cosines)).contains("warning: owl differs"));
        }
        let scores = |exact| EncoderQuality::Scores(vec![(1.25, 1.251), (exact, -3.0)]);
        assert_eq!(
            encoder_report("owl", &scores(-3.0)),
            "self-test: scores of an answer and of another text 1.250 (floats of the source 1.251), -3.000 (floats of \
             the source -3.000), at most 0.0010 apart"
        );
        for exact in [-3.1, f64::NAN] {
            assert!(encoder_report("owl", &scores(exact)).contains("warning: owl differs"));
        }
    }
}
