//! Matrices that take the same input, in the form that a path reads: query, key and value are one
//! walk over memory, as are gate and up.

use potluck_model::package::Linear;

#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::packed::{Packed, W8, W12};
#[cfg(target_arch = "wasm32")]
use super::simd128::Simd128;
use super::{CpuPath, Multiply, output_exponent, reference};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};

/// Matrices of one width and as many bits, ready for one path.
pub struct Matrices {
    shape: Shape,
    form: Box<dyn Multiply>,
}

#[derive(Debug)]
struct Shape {
    columns: usize,
    /// Of each one's output for an input of exponent 0.
    exponents: Vec<i32>,
}

impl Shape {
    fn packed(self, form: Box<dyn Multiply>) -> Matrices {
        Matrices { shape: self, form }
    }
}

/// The specification's form: as they are.
impl Multiply for Vec<Linear> {
    fn multiply(&self, a: &[i32]) -> Vec<Vec<i32>> {
        let tokens = |matrix: &Linear| {
            a.chunks_exact(matrix.columns).flat_map(|token| reference(matrix, token)).collect()
        };
        self.iter().map(tokens).collect()
    }
}

/// The shape: nobody wants to read all weights.
impl core::fmt::Debug for Matrices {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.shape.fmt(formatter)
    }
}

impl Matrices {
    /// Repacks matrices of eight bits (or four), all of the same width, for a path.
    ///
    /// # Panics
    /// If `path` is not one of this processor's, there is no matrix or they differ so, which are
    /// bugs of the caller.
    #[must_use]
    pub fn new(path: CpuPath, matrices: Vec<Linear>) -> Self {
        Self::checked(path, 0, &matrices).packed(match path {
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx2 => Box::new(Packed::<Avx2<W8>>::new(&matrices)),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx512 => Box::new(Packed::<Avx512<W8>>::new(&matrices)),
            #[cfg(target_arch = "aarch64")]
            CpuPath::Neon => Box::new(Packed::<Neon<W8>>::new(&matrices)),
            #[cfg(target_arch = "wasm32")]
            CpuPath::Simd128 => Box::new(Packed::<Simd128<W8>>::new(&matrices)),
            _ => Box::new(matrices),
        })
    }

    /// The same for matrices of twelve bits. Apart, so that a program without encoders does not
    /// carry their kernels.
    ///
    /// # Panics
    /// As [`Self::new`].
    #[must_use]
    pub fn of_twelve_bits(path: CpuPath, matrices: Vec<Linear>) -> Self {
        Self::checked(path, 4, &matrices).packed(match path {
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx2 => Box::new(Packed::<Avx2<W12>>::new(&matrices)),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx512 => Box::new(Packed::<Avx512<W12>>::new(&matrices)),
            #[cfg(target_arch = "aarch64")]
            CpuPath::Neon => Box::new(Packed::<Neon<W12>>::new(&matrices)),
            #[cfg(target_arch = "wasm32")]
            CpuPath::Simd128 => Box::new(Packed::<Simd128<W12>>::new(&matrices)),
            _ => Box::new(matrices),
        })
    }

    fn checked(path: CpuPath, extra_bits: u32, matrices: &[Linear]) -> Shape {
        let columns = matrices[0].columns;
        let alike =
            |matrix: &Linear| matrix.columns == columns && matrix.extra_bits() == extra_bits;
        assert!(matrices.iter().all(alike), "matrices that take the same input, of as many bits");
        assert!(
            CpuPath::available().contains(&path),
            "{} is not a path of this processor",
            path.name()
        );
        Shape {
            columns,
            exponents: matrices.iter().map(|matrix| output_exponent(matrix, 0)).collect(),
        }
    }

    /// Multiplies every token of `a`, `[tokens, in]`, with every matrix: a `[tokens, out]` for
    /// each.
    ///
    /// # Panics
    /// If `a` is not made of whole tokens, which is a bug of the caller.
    #[must_use]
    pub fn multiply(&self, a: &[i32]) -> Vec<Vec<i32>> {
        assert_eq!(a.len() % self.shape.columns, 0, "tokens as wide as the matrices");
        self.form.multiply(a)
    }

    /// The exponent of a matrix's output for an input block of exponent `e`.
    #[must_use]
    pub fn output_exponent(&self, matrix: usize, e: i32) -> i32 {
        e + self.shape.exponents[matrix]
    }
}
