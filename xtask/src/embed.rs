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
const FILES: [&str; 6] =
    ["embed.js", "embed.html", "sites.html", "sites.js", "sites.account.js", "sites.words.js"];
/// What these write where the page's document names a file, and what stands around that
/// name there.
const NAMES: [(&str, &str, &str); 5] = [
    ("{{style}}", "<link rel=\"stylesheet\" href=\"", "\""),
    ("{{app}}", "import init from '", "'"),
    ("{{wasm}}", "module_or_path: '", "'"),
    ("{{worker}}", "<meta name=\"worker\" content=\"", "\""),
    ("{{words}}", "<meta name=\"words-zh\" content=\"", "\""),
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
pub(crate) fn squeezed(text: &str) -> String {
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
    use std::collections::BTreeSet;

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
    /// Every sentence that the page of site owners says is in its table of words, and no other is.
    #[test]
    fn the_page_of_site_owners_has_its_words_in_every_language() {
        let read = |name: &str| fs::read_to_string(root().join("static").join(name)).unwrap();
        let words = read("sites.words.js");
        let rows = words.lines().filter_map(|line| line.trim().strip_prefix("['"));
        let known: BTreeSet<&str> =
            rows.filter_map(|row| Some(row.split_once("', '")?.0)).collect();
        let mut said = BTreeSet::new();
        for name in ["sites.js", "sites.account.js", "sites.words.js"] {
            let script = read(name);
            let calls = script.split("say('").skip(1);
            said.extend(calls.filter_map(|rest| Some(rest.split_once('\'')?.0.to_owned())));
        }
        let html = read("sites.html");
        let marked = html.split(" data-say>").skip(1).filter_map(|rest| rest.split_once("</"));
        said.extend(marked.map(|(text, _)| text.split_whitespace().collect::<Vec<_>>().join(" ")));
        assert!(said.len() > 50, "{said:?}");
        assert_eq!(said.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
    }
}
