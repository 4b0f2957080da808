//! Names of things: nodes, sessions, models, layer ranges.

use core::fmt;
use core::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A node's Ed25519 public key, 32 bytes; it is the node's only name on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 32]);

/// One answer being computed; 128 bits drawn by the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub [u8; 16]);

/// BLAKE3 of a model's manifest: names weights, tables, tokenizer and numerics at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId(pub [u8; 32]);

/// A person's yes to lending a machine; 128 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId(pub [u8; 16]);

/// A site that shows the widget, as its owner registered it; 128 bits drawn by the server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SiteKey(pub [u8; 16]);

/// A team of volunteers; 128 bits drawn by the server. Whoever has it may join.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TeamId(pub [u8; 16]);

/// A requester's own number for one question, unique within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub u32);

/// One stay of a node with a server, from its welcome until that connection ends; drawn at random
/// by the server. A node that comes back under the same key has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A contiguous, non-empty range of layers: `first` is in it, `end` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LayerRange {
    /// First layer, counted from 0.
    pub first: u32,
    /// One past the last layer.
    pub end: u32,
}

/// A hexadecimal name could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// The text is not hexadecimal of the right length.
    #[error("expected {expected} hexadecimal digits, got {got:?}")]
    NotHex {
        /// How many digits such a name has.
        expected: usize,
        /// What was given.
        got: String,
    },
}

macro_rules! hex_id {
    ($name:ident, $bytes:literal) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER.encode(&self.0))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), HEXLOWER.encode(&self.0[..4]))
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let not_hex = || ParseIdError::NotHex {
                    expected: 2 * $bytes,
                    got: text.chars().take(80).collect(),
                };
                let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| not_hex())?;
                Ok(Self(bytes.try_into().map_err(|_| not_hex())?))
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
                } else {
                    Ok(Self(<[u8; $bytes]>::deserialize(deserializer)?))
                }
            }
        }
    };
}
hex_id!(NodeId, 32);
hex_id!(SessionId, 16);
hex_id!(ModelId, 32);
hex_id!(GrantId, 16);
hex_id!(SiteKey, 16);
hex_id!(TeamId, 16);

impl NodeId {
    /// Two plain words that people can say, derived from the key, so that no peer chooses its own
    /// text.
    ///
    /// 4,096 names: enough to tell neighbours apart, not an identity. Where it matters, show
    /// [`NodeId::short`] beside it.
    #[must_use]
    pub fn name(&self) -> String {
        let pick = |words: &[&'static str; 64], byte: u8| words[usize::from(byte) % 64];
        format!("{} {}", pick(&ADJECTIVES, self.0[0]), pick(&NOUNS, self.0[1]))
    }

    /// The first eight hexadecimal digits.
    #[must_use]
    pub fn short(&self) -> String {
        HEXLOWER.encode(&self.0[..4])
    }
}

impl SessionId {
    /// The same 128 bits as a number, as the engine names sessions.
    #[must_use]
    pub fn as_u128(&self) -> u128 {
        u128::from_le_bytes(self.0)
    }
}

impl LayerRange {
    /// A range, or `None` if it would be empty.
    #[must_use]
    pub fn new(first: u32, end: u32) -> Option<Self> {
        (first < end).then_some(Self { first, end })
    }

    /// How many layers it holds.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.end.saturating_sub(self.first)
    }

    /// True for a range without layers, which only a hostile message can hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The layer numbers, as the engine takes them.
    #[must_use]
    pub fn indices(&self) -> core::ops::Range<u32> {
        self.first..self.end
    }
}

impl fmt::Display for LayerRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            0 => write!(f, "no layer"),
            1 => write!(f, "layer {}", self.first),
            _ => write!(f, "layers {} to {}", self.first, self.end - 1),
        }
    }
}

const ADJECTIVES: [&str; 64] = [
    "Amber", "Autumn", "Brisk", "Bright", "Calm", "Cheery", "Clear", "Copper", "Cosy", "Crisp",
    "Dapper", "Deft", "Early", "Easy", "Fair", "Fresh", "Gentle", "Glad", "Golden", "Grand",
    "Happy", "Hearty", "Honest", "Humble", "Ivory", "Jolly", "Keen", "Kind", "Lively", "Lucky",
    "Mellow", "Merry", "Mild", "Misty", "Neat", "Noble", "Olive", "Patient", "Plain", "Plucky",
    "Proud", "Quick", "Quiet", "Ready", "Rosy", "Round", "Ruby", "Rustic", "Silver", "Simple",
    "Sleek", "Spry", "Steady", "Stout", "Sunny", "Swift", "Tidy", "Trusty", "Velvet", "Warm",
    "Wild", "Winter", "Wise", "Zesty",
];

const NOUNS: [&str; 64] = [
    "Almond", "Apple", "Barley", "Basil", "Bread", "Broth", "Butter", "Carrot", "Cherry",
    "Chestnut", "Cider", "Clove", "Cocoa", "Crumble", "Cumin", "Custard", "Date", "Dill",
    "Dumpling", "Fennel", "Fig", "Ginger", "Grape", "Hazel", "Honey", "Kettle", "Ladle", "Lemon",
    "Lentil", "Loaf", "Mango", "Maple", "Melon", "Mint", "Mulberry", "Nutmeg", "Oat", "Onion",
    "Orange", "Papaya", "Parsley", "Peach", "Pear", "Pepper", "Pickle", "Plum", "Poppy", "Pumpkin",
    "Quince", "Radish", "Raisin", "Rhubarb", "Rice", "Saffron", "Sage", "Sesame", "Spoon",
    "Teapot", "Thyme", "Tomato", "Turnip", "Vanilla", "Walnut", "Whisk",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_back_from_their_text() {
        let node = NodeId(core::array::from_fn(|i| u8::try_from(i * 7).unwrap()));
        assert_eq!(node.to_string().parse::<NodeId>(), Ok(node));
        assert!("12".parse::<NodeId>().is_err());
        assert!("zz".repeat(32).parse::<NodeId>().is_err());
    }

    #[test]
    fn ranges_read_as_people_say_them() {
        assert_eq!(LayerRange { first: 2, end: 4 }.to_string(), "layers 2 to 3");
        assert_eq!(LayerRange { first: 5, end: 6 }.to_string(), "layer 5");
        assert_eq!(LayerRange::new(3, 3), None);
    }

    #[test]
    fn names_hold_only_letters_and_one_space() {
        for word in ADJECTIVES.iter().chain(&NOUNS) {
            assert!(word.chars().all(|c| c.is_ascii_alphabetic()), "{word}");
        }
        assert_eq!(NodeId([0; 32]).name(), "Amber Almond");
    }
}
