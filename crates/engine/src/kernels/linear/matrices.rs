//! Matrices that take the same input, in the form that a path reads: query, key and value are one walk over memory, as are gate and up.

use crate::package::Linear;

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::packed::Packed;
#[cfg(target_arch = "wasm32")]
use super::simd128::Simd128;
use super::{CpuPath, EXPONENT_STEP, reference};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// Matrices of one width, ready for one path.
#[derive(Debug)]
pub struct Matrices {
    columns: usize,
    exponents: Vec<i32>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Plain(Vec<Linear>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Packed<Avx2>),
    #[cfg(target_arch = "x86_64")]
    Avx512(Packed<Avx512>),
    #[cfg(target_arch = "aarch64")]
    Neon(Packed<Neon>),
    #[cfg(target_arch = "wasm32")]
    Simd128(Packed<Simd128>),
}

impl Matrices {
    /// Repacks matrices, all of the same width, for a path.
    ///
    /// # Panics
    /// If `path` is not one of this processor's, there is no matrix or their widths differ, which are bugs of the caller.
    #[must_use]
    pub fn new(path: CpuPath, matrices: Vec<Linear>) -> Self {
        let columns = matrices[0].columns;
        assert!(matrices.iter().all(|matrix| matrix.columns == columns), "matrices that take the same input");
        assert!(CpuPath::available().contains(&path), "{} is not a path of this processor", path.name());
        Self {
            columns,
            exponents: matrices.iter().map(|matrix| matrix.exponent).collect(),
            form: match path {
                #[cfg(target_arch = "x86_64")]
                CpuPath::Avx2 => Form::Avx2(Packed::new(&matrices)),
                #[cfg(target_arch = "x86_64")]
                CpuPath::Avx512 => Form::Avx512(Packed::new(&matrices)),
                #[cfg(target_arch = "aarch64")]
                CpuPath::Neon => Form::Neon(Packed::new(&matrices)),
                #[cfg(target_arch = "wasm32")]
                CpuPath::Simd128 => Form::Simd128(Packed::new(&matrices)),
                _ => Form::Plain(matrices),
            },
        }
    }

    /// Multiplies every token of `a`, `[tokens, in]`, with every matrix: a `[tokens, out]` for each.
    ///
    /// # Panics
    /// If `a` is not made of whole tokens, which is a bug of the caller.
    #[must_use]
    pub fn multiply(&self, a: &[i32]) -> Vec<Vec<i32>> {
        assert_eq!(a.len() % self.columns, 0, "tokens as wide as the matrices");
        match &self.form {
            Form::Plain(matrices) => matrices
                .iter()
                .map(|matrix| a.chunks_exact(self.columns).flat_map(|token| reference(matrix, token)).collect())
                .collect(),
            #[cfg(target_arch = "x86_64")]
            Form::Avx2(packed) => packed.multiply(a),
            #[cfg(target_arch = "x86_64")]
            Form::Avx512(packed) => packed.multiply(a),
            #[cfg(target_arch = "aarch64")]
            Form::Neon(packed) => packed.multiply(a),
            #[cfg(target_arch = "wasm32")]
            Form::Simd128(packed) => packed.multiply(a),
        }
    }

    /// The exponent of a matrix's output for an input block of exponent `e`.
    #[must_use]
    pub fn output_exponent(&self, matrix: usize, e: i32) -> i32 {
        e + self.exponents[matrix] + EXPONENT_STEP
    }
}
