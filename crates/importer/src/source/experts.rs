//! Experts as files have them: tensors of their own, one of each kind for all of a layer's, or gpt-oss's,
//! whose gate and up lie in turns; and a shared MLP, which is cut into experts behind the others. Each gets
//! the names that most models have for it.

use potluck_model::package::{Experts, MAX_EXPERTS, MAX_EXPERTS_USED, MAX_LAYERS};

use super::Shape;
use super::tensors::{Among, Tensors};
use crate::error::ImportError;

/// Gives every expert tensors of its own.
pub(super) fn unstack(tensors: &mut Tensors, shape: &Shape) -> Result<(), ImportError> {
    tensors.rename(usual_name)?;
    for layer in 0..shape.layers.min(MAX_LAYERS) {
        let layer = format!("model.layers.{layer}.mlp");
        for part in ["gate_proj", "up_proj", "down_proj"] {
            for kind in ["weight", "bias"] {
                let name = |expert: &str| format!("{layer}.experts{expert}.{part}.{kind}");
                tensors.unstack(&name(""), |expert| name(&format!(".{expert}")))?;
            }
        }
        if let Some(experts) = shape.experts.filter(|_| shape.architecture == "gptoss") {
            take_apart(tensors, &layer, experts, shape.d_model as usize)?;
        }
        if let Some(experts) = shape.experts.filter(|experts| experts.shared > 0) {
            cut_shared(tensors, &layer, experts, shape.d_model as usize)?;
        }
    }
    Ok(())
}

/// What other models call a tensor of Mixtral's experts, or of gpt-oss's router.
fn usual_name(name: &str) -> Option<String> {
    if let Some((layer, part)) = name.split_once(".mlp.router.") {
        return Some(format!("{layer}.mlp.gate.{part}"));
    }
    let (layer, part) = name.split_once(".block_sparse_moe.")?;
    let Some((expert, matrix)) = part.strip_prefix("experts.").and_then(|it| it.split_once('.'))
    else {
        return Some(format!("{layer}.mlp.{part}"));
    };
    let matrix = match matrix {
        "w1.weight" => "gate_proj.weight",
        "w2.weight" => "down_proj.weight",
        "w3.weight" => "up_proj.weight",
        other => other,
    };
    Some(format!("{layer}.mlp.experts.{expert}.{matrix}"))
}

/// Gives gpt-oss's experts theirs. What is packed is `[experts, outputs, inputs]`, what is not is
/// `[experts, inputs, outputs]`; the outputs of gate and up take turns in both.
fn take_apart(
    tensors: &mut Tensors,
    layer: &str,
    experts: Experts,
    d_model: usize,
) -> Result<(), ImportError> {
    // More are refused by their number.
    let (count, d_ff) = (experts.count.min(MAX_EXPERTS) as usize, experts.d_ff as usize);
    for (whole, inputs, parts) in [
        ("gate_up_proj", d_model, &["gate_proj", "up_proj"][..]),
        ("down_proj", d_ff, &["down_proj"]),
    ] {
        let turns = parts.len();
        let outputs = if turns > 1 { turns * d_ff } else { d_model };
        let rows = outputs / turns;
        // Where the first output of a part of an expert is, and from one to the next.
        let all = |kind: &'static str| {
            (0..count).flat_map(move |expert| {
                let name = move |part: &str| format!("{layer}.experts.{expert}.{part}.{kind}");
                parts.iter().enumerate().map(move |(turn, part)| (name(part), expert, turn))
            })
        };
        let name = format!("{layer}.experts.{whole}");
        let bias = |(name, expert, turn): (String, usize, usize)| {
            let first = expert * outputs + turn;
            (name, vec![rows], Among { first, row_stride: turns, column_stride: 1 })
        };
        let shape = [count, outputs];
        tensors.take_apart((&format!("{name}_bias"), None), &shape, all("bias").map(bias))?;
        let matrix = |first, row_stride, column_stride| {
            (vec![rows, inputs], Among { first, row_stride, column_stride })
        };
        let loose = |(name, expert, turn): (String, usize, usize)| {
            let (shape, among) = matrix(expert * inputs * outputs + turn, turns, outputs);
            (name, shape, among)
        };
        let shape = [count, inputs, outputs];
        tensors.take_apart((&name, None), &shape, all("weight").map(loose))?;
        let packed = |(name, expert, turn): (String, usize, usize)| {
            let first = (expert * outputs + turn) * inputs;
            let (shape, among) = matrix(first, turns * inputs, 1);
            (name, shape, among)
        };
        let (blocks, scales) = (format!("{name}_blocks"), format!("{name}_scales"));
        let shape = [count, outputs, inputs];
        tensors.take_apart((&blocks, Some(&scales)), &shape, all("weight").map(packed))?;
    }
    Ok(())
}

/// Cuts a shared MLP into experts of the others' width: what it gives is the sum of what they give.
fn cut_shared(
    tensors: &mut Tensors,
    layer: &str,
    experts: Experts,
    d_model: usize,
) -> Result<(), ImportError> {
    let (count, d_ff) = (experts.count, experts.d_ff as usize);
    // More are refused by their number.
    let shared = experts.shared.min(MAX_EXPERTS_USED) as usize;
    let whole = shared * d_ff;
    for (part, shape) in [
        ("gate_proj", [whole, d_model]),
        ("up_proj", [whole, d_model]),
        ("down_proj", [d_model, whole]),
    ] {
        let name = format!("{layer}.shared_expert.{part}.weight");
        let expert = |(index, expert): (usize, u32)| {
            let name = format!("{layer}.experts.{expert}.{part}.weight");
            let (shape, first) = if part == "down_proj" {
                (vec![d_model, d_ff], index * d_ff)
            } else {
                (vec![d_ff, d_model], index * d_ff * d_model)
            };
            let row_stride = if part == "down_proj" { whole } else { d_model };
            (name, shape, Among { first, row_stride, column_stride: 1 })
        };
        let parts = (0..shared).zip(count..).map(expert);
        tensors.take_apart((&name, None), &shape, parts)?;
    }
    // Older GGUF files have a vector.
    let gate = format!("{layer}.shared_expert_gate.weight");
    if tensors.shape(&gate).is_some_and(|shape| shape.len() == 1) {
        let row = Among { first: 0, row_stride: d_model, column_stride: 1 };
        let part = (gate.clone(), vec![1, d_model], row);
        tensors.take_apart((&gate, None), &[d_model], std::iter::once(part))?;
    }
    Ok(())
}
