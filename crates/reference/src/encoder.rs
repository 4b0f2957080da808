//! An encoder in `f64`, straight from the definition: what the integers are measured against.

use std::path::Path;

use potluck_importer::ImportError;
use potluck_importer::encoder::{EncoderSource, MATRICES};
use potluck_model::encoder::{Pooling, layer_shapes};
use potluck_model::package::ModelConfig;

use crate::decoder::{Rows, add, products, softmax};

/// An encoder's files, all of them in memory.
#[derive(Debug)]
pub struct FloatEncoder {
    source: EncoderSource,
    words: Vec<f32>,
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    matrices: Vec<(Vec<f32>, Vec<f32>)>,
    attention_norm: Norm,
    output_norm: Norm,
}

/// Gain and bias.
type Norm = (Vec<f32>, Vec<f32>);

impl FloatEncoder {
    /// Opens a folder.
    ///
    /// # Errors
    /// If it is not an encoder's.
    pub fn open(folder: &Path) -> Result<Self, ImportError> {
        let source = EncoderSource::open(folder)?;
        let config = source.config.clone();
        let width = config.d_model as usize;
        let norm = |name: String| {
            let [gain, bias] =
                ["weight", "bias"].map(|part| source.tensor(&format!("{name}.{part}"), &[width]));
            Ok::<_, ImportError>((gain?, bias?))
        };
        let layer = |index: u32| {
            let name = |part: &str| format!("encoder.layer.{index}.{part}");
            let matrices =
                MATRICES.iter().zip(layer_shapes(&config)).map(|(part, (rows, columns))| {
                    let weights =
                        source.tensor(&name(&format!("{part}.weight")), &[rows, columns])?;
                    Ok((weights, source.tensor(&name(&format!("{part}.bias")), &[rows])?))
                });
            Ok::<_, ImportError>(Layer {
                matrices: matrices.collect::<Result<_, ImportError>>()?,
                attention_norm: norm(name("attention.output.LayerNorm"))?,
                output_norm: norm(name("output.LayerNorm"))?,
            })
        };
        Ok(Self {
            words: source
                .tensor("embeddings.word_embeddings.weight", &[config.vocab as usize, width])?,
            positions: source.positions()?,
            norm: norm("embeddings.LayerNorm".to_owned())?,
            layers: (0..config.layers).map(layer).collect::<Result<_, _>>()?,
            source,
        })
    }

    /// The vector of a text, given with the tokens around it.
    #[must_use]
    pub fn encode(&self, tokens: &[u32]) -> Vec<f64> {
        let ModelConfig { d_model, d_ff, heads, head_dim, .. } = self.source.config;
        let (width, d_ff) = (d_model as usize, d_ff as usize);
        let row = |(position, token): (usize, &u32)| {
            let word = &self.words[*token as usize * width..][..width];
            let place = &self.positions[position * width..][..width];
            word.iter()
                .zip(place)
                .map(|(word, place)| f64::from(*word) + f64::from(*place))
                .collect()
        };
        let mut x: Rows = tokens.iter().enumerate().map(row).collect();
        self.normalise(&mut x, &self.norm);
        for layer in &self.layers {
            let [q, k, v] = [0, 1, 2].map(|at| layer.times(at, width, &x));
            let mut attended = vec![vec![0.0; width]; x.len()];
            for head in 0..heads as usize {
                let part = head * head_dim as usize..(head + 1) * head_dim as usize;
                for (q, out) in q.iter().zip(&mut attended) {
                    let score = |k: &Vec<f64>| {
                        let product: f64 =
                            q[part.clone()].iter().zip(&k[part.clone()]).map(|(q, k)| q * k).sum();
                        product / f64::from(head_dim).sqrt()
                    };
                    let weights = softmax(&k.iter().map(score).collect::<Vec<f64>>());
                    for (weight, v) in weights.iter().zip(&v) {
                        out[part.clone()]
                            .iter_mut()
                            .zip(&v[part.clone()])
                            .for_each(|(out, v)| *out += weight * v);
                    }
                }
            }
            add_rows(&mut x, &layer.times(3, width, &attended));
            self.normalise(&mut x, &layer.attention_norm);
            let mut up = layer.times(4, width, &x);
            for value in up.iter_mut().flatten() {
                *value *= 0.5 * (1.0 + libm::erf(*value / core::f64::consts::SQRT_2));
            }
            add_rows(&mut x, &layer.times(5, d_ff, &up));
            self.normalise(&mut x, &layer.output_norm);
        }
        let mut vector = match self.source.pooling {
            Pooling::Cls => x.swap_remove(0),
            Pooling::Mean => (0..width)
                .map(|at| x.iter().map(|row| row[at]).sum::<f64>() / x.len() as f64)
                .collect(),
        };
        if self.source.normalised {
            let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
            vector.iter_mut().for_each(|value| *value /= length);
        }
        vector
    }

    fn normalise(&self, rows: &mut Rows, (gain, bias): &Norm) {
        for row in rows {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let square =
                row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / row.len() as f64;
            let root = (square + self.source.eps).sqrt();
            for (x, (gain, bias)) in row.iter_mut().zip(gain.iter().zip(bias)) {
                *x = (*x - mean) / root * f64::from(*gain) + f64::from(*bias);
            }
        }
    }
}

impl Layer {
    /// A matrix times every row, with its bias.
    fn times(&self, at: usize, columns: usize, x: &Rows) -> Rows {
        let (weights, bias) = &self.matrices[at];
        let mut rows = vec![Vec::with_capacity(bias.len()); x.len()];
        for (products, bias) in products(weights, columns, x).iter().zip(bias) {
            rows.iter_mut()
                .zip(products)
                .for_each(|(row, product)| row.push(product + f64::from(*bias)));
        }
        rows
    }
}

fn add_rows(x: &mut Rows, y: &Rows) {
    x.iter_mut().zip(y).for_each(|(x, y)| add(x, y));
}
