//! How blobs are named: by the BLAKE3 of their bytes, and by their part of a model.

use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// BLAKE3 of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobHash(pub [u8; 32]);

/// A blob's name and size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// BLAKE3 of its bytes.
    pub hash: BlobHash,
    /// Its length, bytes.
    pub size_bytes: u64,
}

/// What part of a model a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlobRole {
    /// Tables that every stage needs.
    Tables,
    /// Tokens to residual rows; with the first layer.
    Embedding,
    /// One layer, without its experts.
    Layer(u32),
    /// Of a layer, one of its experts.
    Expert(u32, u32),
    /// Last norm and logits; with the last layer.
    Head,
}

impl fmt::Display for BlobRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tables => f.write_str("tables"),
            Self::Embedding => f.write_str("embedding"),
            Self::Layer(index) => write!(f, "layer {index}"),
            Self::Expert(layer, index) => write!(f, "expert {index} of layer {layer}"),
            Self::Head => f.write_str("head"),
        }
    }
}

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobHash({self})")
    }
}

/// Not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a blob's hash has 64 lower-case hexadecimal digits")]
pub struct ParseHashError;

impl FromStr for BlobHash {
    type Err = ParseHashError;
    fn from_str(text: &str) -> Result<Self, ParseHashError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| ParseHashError)?;
        Ok(Self(bytes.try_into().map_err(|_| ParseHashError)?))
    }
}

impl Serialize for BlobHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
