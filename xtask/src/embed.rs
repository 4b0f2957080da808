//! The widget's files and the page of site owners: small documents by hand, beside the page's own.
//!
//! The widget comes to visitors of other sites who were not asked anything yet, so it must be tiny:
//! it names the page's programs and fetches them only after a click. What stands in its files for
//! readers of the source, indentation and comments, is left out.

use std::fs;
use std::path::Path;

use crate::command::{Failure, Outcome, root};
use crate::page::failed;

/// Files of `static/` that are served under these names, whatever is in them: other sites' pages name
/// them.
const FILES: [&str; 4] = ["embed.js", "embed.html", "sites.html", "sites.js"];
/// What these write where the page's document names a file, and what stands around that
/// name there.
const NAMES: [(&str, &str, &str); 4] = [
    ("{{style}}", "<link rel=\"stylesheet\" href=\"", "\""),
    ("{{app}}", "import init from '", "'"),
    ("{{wasm}}", "module_or_path: '", "'"),
    ("{{worker}}", "<meta name=\"worker\" content=\"", "\""),
];

/// Writes them into `staged`. `index` is the page's document as it is served.
pub(crate) fn stage(index: &str, staged: &Path) -> Outcome {
    for name in FILES {
        let source = root().join("static").join(name);
        let text = fs::read_to_string(&source).map_err(|error| failed(&source, &error))?;
        let to = staged.join(name);
        fs::write(&to, with_names(&squeezed(&text), index)?)
            .map_err(|error| failed(&to, &error))?;
    }
    Ok(())
}

/// Without indentation, empty lines and lines that are a comment.
fn squeezed(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let kept: Vec<_> = lines.filter(|line| !line.is_empty() && !line.starts_with("// ")).collect();
    kept.join("\n")
}

/// With the names that the page's files have in this build.
fn with_names(text: &str, index: &str) -> Outcome<String> {
    let mut text = text.to_owned();
    for (placeholder, before, after) in NAMES {
        if !text.contains(placeholder) {
            continue;
        }
        let name = index
            .split_once(before)
            .and_then(|(_, rest)| rest.split_once(after))
            .map(|(name, _)| name)
            .ok_or_else(|| {
                Failure::new(
                    format!("the page's document has no {before}…{after}"),
                    "xtask/src/page.rs writes it, xtask/src/embed.rs reads it: mend the one that changed",
                )
            })?;
        text = text.replace(placeholder, name);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_browser_needs_is_left() {
        assert_eq!(
            squeezed("  a {\n\n    // why\n    b: 'https://c' // d\n  }\n"),
            "a {\nb: 'https://c' // d\n}"
        );
    }

    #[test]
    fn the_widget_names_this_builds_files() {
        let index = "<meta name=\"worker\" content=\"./w-1.js\" /><script>import init from './a-2.js';\n\
                     await init({ module_or_path: './a-3.wasm' });</script>";
        let named = with_names("{{app}} {{wasm}} {{worker}} {{site}}", index).unwrap();
        assert_eq!(named, "./a-2.js ./a-3.wasm ./w-1.js {{site}}");
        assert!(with_names("{{app}}", "<p>").unwrap_err().to_string().contains("import init"));
        assert_eq!(with_names("plain", "<p>").unwrap(), "plain");
    }
}
