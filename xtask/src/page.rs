//! The page as a folder of files, made of `index.html`, the style, the icon and two wasm programs.
//!
//! This is the part of trunk that Potluck's page needs: it reads the same `<link data-trunk …>`
//! elements and runs the same commands, so that both make the same page and share what they
//! compile. Trunk itself takes nine minutes to install, which whoever only wants to see the demo
//! need not wait for; `trunk serve` stays the tool for work on the page.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, Outcome, cargo, clean, root, run};
use crate::embed;
use crate::setup::Builders;
use crate::shrink::{self, WasmOpt};
use crate::wasm_target::WASM_TARGET;

mod split;

/// What `index.html` starts its links to what is to be built with.
const LINK: &str = "<link data-trunk ";

/// What the files with the words of a language end with.
const WORDS: &str = ".ftl";

/// Where a page is put together before it is published.
pub(crate) fn staged_folder() -> PathBuf {
    root().join("target/page/staged")
}

/// Builds the page and its worker into [`staged_folder`].
pub(crate) fn stage(builders: &Builders) -> Outcome {
    let staged = staged_folder();
    if staged.exists() {
        fs::remove_dir_all(&staged).map_err(|error| failed(&staged, &error))?;
    }
    fs::create_dir_all(&staged).map_err(|error| failed(&staged, &error))?;
    let source = root().join("index.html");
    let html = fs::read_to_string(&source).map_err(|error| failed(&source, &error))?;
    let tools = Tools { builders, wasm_opt: shrink::wasm_opt() };
    let html = with_build(&replace_links(&html, |link| put(&tools, link, &staged))?);
    embed::stage(&html, &staged)?;
    let index = staged.join("index.html");
    fs::write(&index, html).map_err(|error| failed(&index, &error))
}

/// What makes wasm programs and what makes them small.
struct Tools<'a> {
    builders: &'a Builders,
    wasm_opt: Option<WasmOpt>,
}

impl Tools<'_> {
    fn shrink(&self, wasm: &Path) -> Outcome {
        self.wasm_opt.as_ref().map_or(Ok(()), |wasm_opt| shrink::file(wasm_opt, wasm))
    }
}

/// With the name of this build, which is another one if any file is: the document names them all.
fn with_build(html: &str) -> String {
    let build = format!("<meta name=\"build\" content=\"{}\" /></head>", hash(html.as_bytes()));
    html.replacen("</head>", &build, 1)
}

/// Puts into `staged` what the link names; what stands in the page in its place, and what is added
/// at the end of the head.
fn put(tools: &Tools<'_>, link: &Link<'_>, staged: &Path) -> Outcome<(String, String)> {
    let href = link.attribute("href").ok_or_else(|| misunderstood(link.0))?;
    match (link.attribute("rel"), link.attribute("data-type")) {
        (Some("css"), None) => {
            let name = put_hashed(&root().join(href), staged, "")?;
            Ok((format!("<link rel=\"stylesheet\" href=\"./{name}\" />"), String::new()))
        }
        (Some("icon"), None) => {
            let name = put_hashed(&root().join(href), staged, "")?;
            Ok((format!("<link rel=\"icon\" href=\"./{name}\" />"), String::new()))
        }
        // What others know by its name: a manifest, its icons, what is shown without a connection.
        (Some("copy-file"), None) if !href.ends_with(WORDS) => {
            let file = root().join(href);
            let name = file.file_name().ok_or_else(|| misunderstood(link.0))?;
            fs::copy(&file, staged.join(name)).map_err(|error| failed(&file, &error))?;
            Ok((String::new(), String::new()))
        }
        // Words of a language, which are not fetched before somebody wants them: the page's program
        // looks the name up then.
        (Some("copy-file"), None) => {
            let file = root().join(href);
            let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
            let language = stem.ok_or_else(|| misunderstood(link.0))?;
            let name = put_hashed(&file, staged, "")?;
            let meta = format!("<meta name=\"words-{language}\" content=\"./{name}\" />");
            Ok((meta, String::new()))
        }
        (Some("rust"), None) => {
            let name = link.attribute("data-bin").ok_or_else(|| misunderstood(link.0))?;
            let split = split::program(tools, href, name)?;
            let [js, wasm, later] = split.put(staged)?;
            Ok((start_script(&js, &wasm), preloads(&[&js, &later], &wasm)))
        }
        // Nothing of it is fetched before a click; the page's program looks the name up then.
        (Some("rust"), Some("worker")) => {
            let name = link.attribute("data-bin").ok_or_else(|| misunderstood(link.0))?;
            let bound = whole(tools, href, name)?;
            let js = put_hashed(&bound.with_extension("js"), staged, "")?;
            let wasm = put_hashed(&wasm_beside(&bound, name), staged, "_bg")?;
            let loader = bound.with_file_name(format!("{name}_loader.js"));
            fs::write(&loader, loader_script(&js, &wasm))
                .map_err(|error| failed(&loader, &error))?;
            let loader = put_hashed(&loader, staged, "_loader")?;
            Ok((format!("<meta name=\"worker\" content=\"./{loader}\" />"), String::new()))
        }
        _ => Err(misunderstood(link.0)),
    }
}

/// Compiles a worker's wasm program as trunk would, binds it to JavaScript and shrinks it; the path of
/// what was made, without extension.
fn whole(tools: &Tools<'_>, manifest: &str, name: &str) -> Outcome<PathBuf> {
    let mut build = compile("build", manifest, name);
    tools.builders.apply(&mut build);
    run(&mut build, &format!("building {name} failed"), "read the first error above")?;
    let folder = root().join("target/page/bound");
    let program = compiled(name);
    let mut bind = bind(&program, "no-modules", name, &folder);
    tools.builders.apply(&mut bind);
    run(&mut bind, &format!("wasm-bindgen failed on {name}"), "read the line above")?;
    let bound = folder.join(name);
    tools.shrink(&wasm_beside(&bound, name))?;
    Ok(bound)
}

/// A command that compiles a wasm program: `build`, or `rustc` for arguments of its own.
fn compile(how: &str, manifest: &str, name: &str) -> Command {
    let mut command = cargo(&[how, "--quiet", "--locked", "--release", "--target", WASM_TARGET]);
    command.args(["--manifest-path", manifest, "--bin", name]);
    command
}

/// Where a compiled program is.
fn compiled(name: &str) -> PathBuf {
    root().join("target").join(WASM_TARGET).join("release").join(format!("{name}.wasm"))
}

/// A command that binds a compiled program to JavaScript, into `folder`.
fn bind(program: &Path, target: &str, name: &str, folder: &Path) -> Command {
    let mut bind = clean("wasm-bindgen");
    bind.args(["--target", target, "--no-typescript", "--out-name", name, "--out-dir"]);
    bind.arg(folder).arg(program);
    bind
}

fn wasm_beside(bound: &Path, name: &str) -> PathBuf {
    bound.with_file_name(format!("{name}_bg.wasm"))
}

/// One `<link data-trunk …>`, without its brackets.
struct Link<'a>(&'a str);

impl Link<'_> {
    /// The value of `name="value"`; `None` if there is no such attribute.
    fn attribute(&self, name: &str) -> Option<&str> {
        let start = self.0.find(&format!(" {name}=\""))? + name.len() + 3;
        self.0[start..].split('"').next()
    }
}

/// Replaces every link by the first text that `put` returns for it, and adds the second ones to the
/// end of the head.
fn replace_links(
    html: &str,
    mut put: impl FnMut(&Link<'_>) -> Outcome<(String, String)>,
) -> Outcome<String> {
    let (mut page, mut head_end, mut rest) = (String::new(), String::new(), html);
    while let Some((before, link)) = rest.split_once(LINK) {
        let (link, after) = link
            .split_once("/>")
            .ok_or_else(|| misunderstood(link.lines().next().unwrap_or("")))?;
        // With the blank in front, which every attribute is told by.
        let (in_place, at_end) = put(&Link(&format!(" {link}")))?;
        page.push_str(before);
        page.push_str(&in_place);
        head_end.push_str(&at_end);
        rest = after;
    }
    page.push_str(rest);
    Ok(page.replacen("</head>", &format!("{head_end}</head>"), 1))
}

/// The page's policy has every address of a script looked at first: only those of the page's own
/// folder are addresses of scripts. Where a browser knows of no such policy, nothing is asked.
const TRUST: &str = "self.trustedTypes?.createPolicy(\"default\",{createScriptURL:(url)=>{\
    const own=new URL(\"./\",self.document?.baseURI??location.href).href;\
    if(!new URL(url,own).href.startsWith(own))throw new TypeError(\"not a script of this page\");\
    return url}});\n";

/// Starts the page's program. The server puts the hash of this script into the page's content
/// security policy.
fn start_script(js: &str, wasm: &str) -> String {
    format!(
        "<script type=\"module\">\nimport init from './{js}';\n{TRUST}\
         await init({{ module_or_path: './{wasm}' }});\n</script>"
    )
}

fn preloads(scripts: &[&str], wasm: &str) -> String {
    let scripts: String = scripts
        .iter()
        .map(|js| {
            format!("<link rel=\"modulepreload\" href=\"./{js}\" crossorigin=\"anonymous\" />")
        })
        .collect();
    format!(
        "{scripts}<link rel=\"preload\" href=\"./{wasm}\" crossorigin=\"anonymous\" as=\"fetch\" \
         type=\"application/wasm\" />"
    )
}

/// Starts the worker's program. What goes wrong in a promise, a file that is gone or a panic, is an
/// error that the page hears of only if it is thrown outside of one.
fn loader_script(js: &str, wasm: &str) -> String {
    format!(
        "{TRUST}addEventListener(\"unhandledrejection\",(event)=>{{throw event.reason;}});\
         importScripts(\"./{js}\");wasm_bindgen({{module_or_path:\"./{wasm}\"}});"
    )
}

/// Copies a file under a name that changes with its bytes: `style-0123456789abcdef.css`. `suffix`
/// is what its stem ends with, which stays at the end.
fn put_hashed(file: &Path, staged: &Path, suffix: &str) -> Outcome<String> {
    let bytes = fs::read(file).map_err(|error| failed(file, &error))?;
    let text = |part: Option<&std::ffi::OsStr>| {
        part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let (stem, extension) = (text(file.file_stem()), text(file.extension()));
    let stem = stem.strip_suffix(suffix).unwrap_or(&stem);
    let name = format!("{stem}-{}{suffix}.{extension}", hash(&bytes));
    fs::copy(file, staged.join(&name)).map_err(|error| failed(file, &error))?;
    Ok(name)
}

/// 16 hexadecimal digits, which the server knows such names by.
fn hash(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}

/// Copies the staged files into `destination`, the documents last, and then removes what an earlier
/// page left there: a server that serves the folder meanwhile always serves a whole page.
pub(crate) fn publish(destination: &Path) -> Outcome {
    publish_from(&staged_folder(), destination)
}

fn publish_from(staged: &Path, destination: &Path) -> Outcome {
    fs::create_dir_all(destination).map_err(|error| failed(destination, &error))?;
    let mut names = file_names(staged)?;
    names.sort_by_key(|name| {
        let name = name.to_string_lossy();
        (name.contains(".html"), name.starts_with("index.html"))
    });
    // A compressed document that is not this one's would be served instead of it.
    let compressed = destination.join("index.html.br");
    if compressed.exists() {
        fs::remove_file(&compressed).map_err(|error| failed(&compressed, &error))?;
    }
    for name in &names {
        let to = destination.join(name);
        fs::copy(staged.join(name), &to).map_err(|error| failed(&to, &error))?;
    }
    for name in file_names(destination)?.into_iter().filter(|name| !names.contains(name)) {
        let stale = destination.join(name);
        fs::remove_file(&stale).map_err(|error| failed(&stale, &error))?;
    }
    Ok(())
}

fn file_names(folder: &Path) -> Outcome<Vec<std::ffi::OsString>> {
    let entries = fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    Ok(entries
        .flatten()
        .filter(|entry| entry.path().is_file())
        .map(|entry| entry.file_name())
        .collect())
}

fn misunderstood(link: &str) -> Failure {
    Failure::new(
        format!("index.html has a link that is not understood: {}", link.trim()),
        "teach xtask/src/page.rs what it means",
    )
}

pub(crate) fn failed(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        format!("{}: {error}", path.display()),
        "is the disk full? Otherwise remove dist/ and target/page, then run this again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_replaced_where_they_stand() {
        let html = "<head><link data-trunk rel=\"css\" href=\"a.css\" /><b>\
                    <link data-trunk rel=\"rust\" href=\"c/Cargo.toml\" data-bin=\"c\" /></head>";
        let page = replace_links(html, |link| {
            let href = link.attribute("href").unwrap_or_default();
            let bin = link.attribute("data-bin").map(str::to_owned);
            Ok((format!("[{href}]"), bin.unwrap_or_default()))
        });
        assert_eq!(page.unwrap(), "<head>[a.css]<b>[c/Cargo.toml]c</head>");
    }

    #[test]
    fn an_attribute_is_not_found_in_the_end_of_another() {
        let link = Link(" rel=\"rust\" data-type=\"worker\" data-loader-shim ");
        assert_eq!(link.attribute("rel"), Some("rust"));
        assert_eq!(link.attribute("data-type"), Some("worker"));
        assert_eq!(link.attribute("type"), None);
        assert_eq!(link.attribute("href"), None);
    }

    #[test]
    fn this_repositorys_page_has_links_that_are_understood() {
        let html = fs::read_to_string(root().join("index.html")).unwrap();
        let mut kinds = Vec::new();
        let page = replace_links(&html, |link| {
            assert!(link.attribute("href").is_some(), "{}", link.0);
            let of = |name| link.attribute(name).unwrap_or("").to_owned();
            kinds.push((of("rel"), of("data-type"), of("data-bin")));
            Ok((String::new(), String::new()))
        })
        .unwrap();
        assert!(!page.contains("data-trunk"));
        kinds.dedup();
        let kinds: Vec<_> =
            kinds.iter().map(|(rel, of, bin)| (rel.as_str(), of.as_str(), bin.as_str())).collect();
        assert_eq!(
            kinds,
            [
                ("css", "", ""),
                ("icon", "", ""),
                ("copy-file", "", ""),
                ("rust", "", "potluck-app"),
                ("rust", "worker", "potluck-node")
            ]
        );
    }

    #[test]
    fn a_build_has_a_name_that_changes_with_any_file_of_it() {
        let of = |name: &str| with_build(&format!("<head><link href=\"./{name}\" /></head>"));
        let build = |page: &str| {
            let id = page.split("<meta name=\"build\" content=\"").nth(1).unwrap();
            id.split('"').next().unwrap().to_owned()
        };
        assert_eq!(build(&of("a-1.css")).len(), 16);
        assert_eq!(build(&of("a-1.css")), build(&of("a-1.css")));
        assert_ne!(build(&of("a-1.css")), build(&of("a-2.css")));
    }

    #[test]
    fn a_link_that_does_not_end_is_named() {
        let failure = replace_links("<link data-trunk rel=\"css\"", |_| Ok(Default::default()));
        assert!(failure.unwrap_err().to_string().contains("rel=\"css\""));
    }

    #[test]
    fn an_earlier_page_goes_and_a_name_changes_with_the_bytes() {
        let folder = std::env::temp_dir().join(format!("xtask-page-{}", std::process::id()));
        let (staged, destination) = (folder.join("staged"), folder.join("dist"));
        fs::create_dir_all(&staged).unwrap();
        fs::create_dir_all(&destination).unwrap();
        fs::write(destination.join("old-1.css"), "old").unwrap();
        let file = folder.join("app_bg.wasm");
        fs::write(&file, "one").unwrap();
        let first = put_hashed(&file, &staged, "_bg").unwrap();
        assert!(first.starts_with("app-") && first.ends_with("_bg.wasm"), "{first}");
        fs::write(&file, "two").unwrap();
        let second = put_hashed(&file, &staged, "_bg").unwrap();
        assert_ne!(first, second);
        publish_from(&staged, &destination).unwrap();
        let mut names = file_names(&destination).unwrap();
        names.sort();
        let mut wanted = [std::ffi::OsString::from(first), second.into()];
        wanted.sort();
        assert_eq!(names, wanted);
        fs::remove_dir_all(&folder).unwrap();
    }
}
