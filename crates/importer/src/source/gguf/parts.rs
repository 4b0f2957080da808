//! A model in several GGUF files, as llama.cpp cuts them: `NAME-00001-of-00003.gguf` and so on.

use std::path::{Path, PathBuf};

/// What such a name ends with, before the extension.
const DIGITS: usize = 5;
/// Parts at most; the largest models have some dozens.
pub(super) const MAX_PARTS: usize = 1024;

/// A name of a part, taken to pieces.
struct Part<'a> {
    /// Before the numbers.
    stem: &'a str,
    /// Behind them: the extension, as it is written.
    extension: &'a str,
    count: usize,
}

fn part(name: &str) -> Option<Part<'_>> {
    let (rest, extension) = name.rsplit_once('.')?;
    let (rest, count) = rest.rsplit_once("-of-")?;
    let (stem, index) = rest.rsplit_once('-')?;
    let number = |digits: &str| {
        let is_number = digits.len() == DIGITS && digits.bytes().all(|it| it.is_ascii_digit());
        is_number.then(|| digits.parse::<usize>().ok()).flatten()
    };
    let (index, count) = (number(index)?, number(count)?);
    ((1..=count).contains(&index) && count <= MAX_PARTS && !stem.is_empty()).then_some(Part {
        stem,
        extension,
        count,
    })
}

/// The names of all parts of the model that a file of this name is a part of, in order; the name alone
/// if it is not one.
#[must_use]
pub fn gguf_parts(name: &str) -> Vec<String> {
    let Some(Part { stem, extension, count }) = part(name) else { return vec![name.to_owned()] };
    (1..=count).map(|index| format!("{stem}-{index:05}-of-{count:05}.{extension}")).collect()
}

/// The same of a path.
pub(super) fn paths(path: &Path) -> Vec<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let names = gguf_parts(&name.unwrap_or_default());
    if names.len() == 1 {
        vec![path.to_owned()]
    } else {
        names.iter().map(|it| path.with_file_name(it)).collect()
    }
}

/// What the model is called: the file's name without its number and extension.
pub(super) fn model_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match part(&name) {
        Some(Part { stem, .. }) => stem.to_owned(),
        None => {
            path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_by_their_numbers() {
        let all = ["a-b-00001-of-00003.gguf", "a-b-00002-of-00003.gguf", "a-b-00003-of-00003.gguf"];
        for name in all {
            assert_eq!(gguf_parts(name), all);
            assert_eq!(model_name(Path::new(name)), "a-b");
        }
        for whole in [
            "a.gguf",
            "a-1-of-3.gguf",
            "a-00004-of-00003.gguf",
            "a-00000-of-00003.gguf",
            "-00001-of-00002.gguf",
            "a-00001-of-99999.gguf",
            "a-0000x-of-00003.gguf",
        ] {
            assert_eq!(gguf_parts(whole), [whole]);
        }
        assert_eq!(model_name(Path::new("x/a.b.gguf")), "a.b");
        assert_eq!(
            paths(Path::new("x/a-00001-of-00002.gguf"))[1],
            Path::new("x/a-00002-of-00002.gguf")
        );
    }
}
