//! The structs that kernels read as uniforms, byte for byte as in the `.wgsl` files
//! (`tests/wgsl_valid.rs` compares them). They hold shapes and exponents only; every table, weight
//! and activation is a storage buffer.

use std::mem::offset_of;

use bytemuck::{Pod, Zeroable};

/// How a struct lies in memory.
#[derive(Debug)]
pub struct Layout {
    /// The struct's name, here and in the kernels.
    pub name: &'static str,
    /// Its size in bytes.
    pub size_bytes: usize,
    /// Name and offset in bytes of every field, in order.
    pub fields: &'static [(&'static str, usize)],
}

/// Declares the structs and lists how they lie in memory.
macro_rules! uniforms {
    ($(
        $(#[$attribute:meta])*
        pub struct $name:ident { $($(#[$field_attribute:meta])* pub $field:ident: $type:ty,)+ }
    )+) => {
        $(
            $(#[$attribute])*
            #[repr(C)]
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
            pub struct $name { $($(#[$field_attribute])* pub $field: $type,)+ }
        )+

        /// Every struct, for tests that compare them with the kernels'.
        pub const LAYOUTS: &[Layout] = &[$(Layout {
            name: stringify!($name),
            size_bytes: size_of::<$name>(),
            fields: &[$((stringify!($field), offset_of!($name, $field))),+],
        }),+];
    };
}

uniforms! {
    /// One call, or the rows of one session in it: written before every submission.
    pub struct Forward {
        /// Position of the first row in its session.
        pub position: u32,
        /// Rows of the call, or of the session in it.
        pub rows: u32,
        /// The first row in the call.
        pub first_row: u32,
    }

    /// The model's shape: written once a model.
    pub struct Model {
        /// Width of the residual stream.
        pub d_model: u32,
        /// Width between the MLP's projections.
        pub d_ff: u32,
        /// Query heads.
        pub heads: u32,
        /// Key and value heads.
        pub kv_heads: u32,
        /// Elements of a head, even.
        pub head_dim: u32,
        /// `round(log2(e) / sqrt(head_dim) * 2^15)`.
        pub qk_scale: u32,
        /// Fraction bits of the residual stream.
        pub residual_fraction_bits: i32,
        /// `eps * d_model = eps_mantissa * 2^eps_exponent`.
        pub eps_mantissa: u32,
        /// See `eps_mantissa`.
        pub eps_exponent: i32,
    }

    /// One RMSNorm.
    pub struct Norm {
        /// `gain * sqrt(d_model) = mantissas * 2^gain_exponent`.
        pub gain_exponent: i32,
    }

    /// One piece of one matrix.
    pub struct Linear {
        /// Input width / 32.
        pub groups: u32,
        /// Output rows of this piece.
        pub out_rows: u32,
        /// The piece's first output row in the whole matrix.
        pub first_out: u32,
        /// `i32` values from one row of outputs to the next.
        pub out_stride: u32,
        /// Weight exponent + 22; read only when adding to the residual stream.
        pub exponent: i32,
        /// Fraction bits of the residual stream; read only when adding to it.
        pub residual_fraction_bits: i32,
        /// 1: the outputs are added to the residual stream; 0: they are stored.
        pub add_to_residual: u32,
    }

    /// Exponents of a layer's query, key and value projections: weight exponent + 22 each, or 0
    /// where every head has an exponent of its own.
    pub struct Projections {
        /// Of the queries.
        pub query_exponent: i32,
        /// Of the keys.
        pub key_exponent: i32,
        /// Of the values.
        pub value_exponent: i32,
        /// 1: a row has one exponent, that of the projections' input; else one for every head.
        pub exponents_a_row: u32,
        /// 1: queries and keys turn.
        pub rotates: u32,
        /// Where the layer's rotation begins among all.
        pub rotation_start: u32,
        /// Bits of a position that its place in the cache does not have: those of whole rings.
        pub dropped: u32,
    }

    /// Biases and norms of a layer's heads.
    pub struct Heads {
        /// Weight exponent + 22, as the next two.
        pub query_exponent: i32,
        /// Of the keys.
        pub key_exponent: i32,
        /// Of the values.
        pub value_exponent: i32,
        /// Of the queries' bias.
        pub query_bias_exponent: i32,
        /// Of the keys' bias.
        pub key_bias_exponent: i32,
        /// Of the values' bias.
        pub value_bias_exponent: i32,
        /// Of the queries' gain.
        pub query_gain_exponent: i32,
        /// Of the keys' gain.
        pub key_gain_exponent: i32,
        /// `eps * head_dim = eps_mantissa * 2^eps_exponent`.
        pub eps_mantissa: u32,
        /// See `eps_mantissa`.
        pub eps_exponent: i32,
        /// 1: there are biases.
        pub biased: u32,
        /// 1: query and key heads are normalised.
        pub normalised: u32,
    }

    /// What is added to an encoder's residual stream, and the norm after it; or a decoder's `LayerNorm`.
    pub struct AddNorm {
        /// Of the matrix: weight exponent + 26; of encoders alone.
        pub exponent: i32,
        /// Of the matrix's bias; of encoders alone.
        pub bias_exponent: i32,
        /// `gain * sqrt(d_model) = mantissas * 2^gain_exponent`.
        pub gain_exponent: i32,
        /// Of the norm's bias.
        pub norm_bias_exponent: i32,
    }

    /// Exponents of an up projection without a gate.
    pub struct Gelu {
        /// Weight exponent + 22; + 26 of an encoder's, which has twelve bits.
        pub exponent: i32,
        /// Of its bias.
        pub bias_exponent: i32,
        /// 1: there is a bias.
        pub biased: u32,
    }

    /// Exponents of a layer's gate and up projections: weight exponent + 22 each.
    pub struct GateUp {
        /// Of the gate.
        pub gate_exponent: i32,
        /// Of the up projection.
        pub up_exponent: i32,
        /// Of the gate's bias.
        pub gate_bias_exponent: i32,
        /// Of the up projection's.
        pub up_bias_exponent: i32,
        /// 1: there are biases.
        pub biased: u32,
        /// Of gate and up, Q26; 0: there is none.
        pub limit: i32,
    }

    /// A router.
    pub struct Routing {
        /// Experts to choose from.
        pub experts: u32,
        /// Experts that are chosen for a row.
        pub used: u32,
        /// 1: the weights of the chosen sum to one; 0: those of all.
        pub renormalised: u32,
        /// Of the router's first matrix: weight exponent + 22.
        pub first_exponent: i32,
        /// Of its second.
        pub second_exponent: i32,
        /// 1: scores have biases.
        pub biased: u32,
        /// Of a row: one an expert, and one of those that are shared.
        pub scores: u32,
        /// Experts that are shared.
        pub always: u32,
    }

    /// A piece of the matrices of a layer's experts.
    pub struct ExpertMatrices {
        /// Input width / 32.
        pub groups: u32,
        /// Output rows of each.
        pub out_rows: u32,
        /// The first expert of this piece.
        pub first_expert: u32,
        /// Experts in this piece.
        pub experts: u32,
        /// Pairs of a row and an expert that have the same input.
        pub pairs_a_input: u32,
    }

    /// Between the experts' matrices.
    pub struct ExpertGateUp {
        /// Width of an expert.
        pub d_ff: u32,
        /// Experts of a row.
        pub used: u32,
        /// 1: there are biases.
        pub biased: u32,
        /// Of gate and up, Q26; 0: there is none.
        pub limit: i32,
    }

    /// What experts give, added to the residual stream.
    pub struct AddExperts {
        /// Width of the residual stream.
        pub d_model: u32,
        /// Experts of a row.
        pub used: u32,
        /// Of the residual stream.
        pub residual_fraction_bits: i32,
        /// 1: there are biases.
        pub biased: u32,
    }

    /// What is made of a matrix's outputs before they are added to the residual stream.
    pub struct AddRow {
        /// Of the matrix: weight exponent + 22.
        pub exponent: i32,
        /// Of its bias.
        pub bias_exponent: i32,
        /// `gain * sqrt(d_model) = mantissas * 2^gain_exponent`.
        pub gain_exponent: i32,
        /// 1: there is a bias.
        pub biased: u32,
        /// 1: there is a norm.
        pub normalised: u32,
    }

    /// Norms of whole query and key rows.
    pub struct RowNorms {
        /// Of the queries' gain.
        pub query_gain_exponent: i32,
        /// Of the keys' gain.
        pub key_gain_exponent: i32,
        /// `eps * width` of the queries.
        pub query_eps_mantissa: u32,
        /// See `query_eps_mantissa`.
        pub query_eps_exponent: i32,
        /// `eps * width` of the keys.
        pub key_eps_mantissa: u32,
        /// See `key_eps_mantissa`.
        pub key_eps_exponent: i32,
    }

    /// What becomes of a layer's scores, or of the logits, besides. A uniform, as `Exp2`.
    pub struct Scoring {
        /// Positions that a row sees; 0: all before it.
        pub window: u32,
        /// 1: every head has a sink.
        pub has_sinks: u32,
        /// Of the cap; 0: there is none.
        pub inverse: u32,
        /// The largest power of two that is not above the cap.
        pub exponent: i32,
        /// `[1025]`, and three that fill the last vector.
        pub softcap: [[u32; 4]; 257],
        /// `[MAX_HEADS]`, Q16.
        pub sinks: [[i32; 4]; 64],
    }

    /// Logits under a cap.
    pub struct CapLogits {
        /// Tokens.
        pub vocab: u32,
        /// Of the output matrix: weight exponent + 22.
        pub exponent: i32,
    }

    /// What tokens are sampled from.
    pub struct Sample {
        /// Tokens.
        pub vocab: u32,
        /// Of the output matrix: weight exponent + 22.
        pub exponent: i32,
    }

    /// The table `EXP2`: a uniform, as WebGPU promises no more than eight storage buffers to a
    /// kernel.
    pub struct Exp2 {
        /// `[257]`, and three that fill the last vector.
        pub entries: [[u32; 4]; 65],
    }
}
