//! A question and a text, as an encoder that scores takes them.

/// Tokens of both, with those around and between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// All of them.
    pub tokens: Vec<u32>,
    /// Where the text begins, whose kind may be another than the question's.
    pub second: usize,
}

impl Pair {
    /// How many tokens are left of a question of `first` tokens and a text of `second`, where `most`
    /// fit together: the longer one loses its last ones until both are alike, then both do.
    #[must_use]
    pub fn lengths(first: usize, second: usize, most: usize) -> (usize, usize) {
        if first + second <= most {
            return (first, second);
        }
        let (shorter, half) = (first.min(second), most / 2);
        if shorter <= half {
            let rest = most - shorter;
            if first <= second { (shorter, rest) } else { (rest, shorter) }
        } else if first <= second {
            (half, most - half)
        } else {
            (most - half, half)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `tokenizers` cuts them, `longest_first`.
    #[test]
    fn the_longer_one_is_cut_first() {
        assert_eq!(Pair::lengths(3, 4, 10), (3, 4));
        assert_eq!(Pair::lengths(3, 40, 10), (3, 7));
        assert_eq!(Pair::lengths(40, 3, 10), (7, 3));
        assert_eq!(Pair::lengths(40, 50, 11), (5, 6));
        assert_eq!(Pair::lengths(50, 40, 11), (6, 5));
        assert_eq!(Pair::lengths(5, 50, 10), (5, 5));
    }
}
