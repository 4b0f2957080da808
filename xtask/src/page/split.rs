//! The page's own program in two files: what everybody fetches, and what is fetched when it is first
//! shown. Functions of the program say where it is cut; `wasm-split` cuts it, by what the linker
//! tells of who calls whom, before it is bound to JavaScript.
//!
//! ```text
//!  NAME.js ──imports──▶ NAME_later.js ──fetches, when it is called──▶ NAME_later.wasm
//!     └──▶ NAME_bg.wasm ◀──────────────functions, memory, table──────────────┘
//! ```
//! These four are of one compilation and name each other, so that they have one hash in their names
//! together.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Tools, bind, compile, compiled, failed, hash};
use crate::command::{Outcome, clean, root, run};
use crate::embed::squeezed;

/// What `wasm-split` calls the part that is fetched later.
const CUT_OUT: &str = "split_later.wasm";

/// The feature of the program that has it ask for the part.
const FEATURE: &str = "split";

/// What was made: a folder with the four files.
pub(super) struct Split {
    folder: PathBuf,
    name: String,
}

/// Compiles, splits, binds and shrinks a program.
pub(super) fn program(tools: &Tools<'_>, manifest: &str, name: &str) -> Outcome<Split> {
    let folder = root().join("target/page/split").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    }
    fs::create_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
    let mut build = compile("rustc", manifest, name);
    build.args(["--features", FEATURE, "--", "-C", "link-arg=--emit-relocs"]);
    tools.builders.apply(&mut build);
    run(&mut build, &format!("building {name} failed"), "read the first error above")?;

    let mut cut = clean("wasm-split");
    cut.arg(compiled(name)).arg(&folder).arg(name);
    tools.builders.apply(&mut cut);
    run(&mut cut, &format!("wasm-split failed on {name}"), "read the line above")?;

    let mut bind = bind(&folder.join(format!("{name}.wasm")), "web", name, &folder);
    // What the other part calls stays.
    bind.arg("--keep-lld-exports");
    tools.builders.apply(&mut bind);
    run(&mut bind, &format!("wasm-bindgen failed on {name}"), "read the line above")?;
    let split = Split { folder, name: name.to_owned() };
    tools.shrink(&split.folder.join(format!("{name}_bg.wasm")))?;
    tools.shrink(&split.folder.join(CUT_OUT))?;
    Ok(split)
}

impl Split {
    /// Copies the files into `staged`, under names that change if any of them does; the names of the
    /// script, of the program, and of the script that fetches the rest.
    pub(super) fn put(&self, staged: &Path) -> Outcome<[String; 3]> {
        let Self { folder, name } = self;
        let read = |file: &str| {
            let path = folder.join(file);
            fs::read(&path).map_err(|error| failed(&path, &error))
        };
        let files = [
            read(&format!("{name}.js"))?,
            read(&format!("{name}_bg.wasm"))?,
            read(&format!("{name}_later.js"))?,
            read(CUT_OUT)?,
        ];
        let hashed = format!("{name}-{}", hash(&files.concat()));
        let [js, wasm, later_js, later] = files;
        let names = [
            format!("{hashed}.js"),
            format!("{hashed}_bg.wasm"),
            format!("{hashed}_later.js"),
            format!("{hashed}_later.wasm"),
        ];
        let from = |file: &str| format!("from \"./{file}\"");
        let renamed = |script: Vec<u8>| {
            String::from_utf8_lossy(&script)
                .replace(CUT_OUT, &names[3])
                // Where they are fetched from; what the program calls them stays.
                .replace(&from(&format!("{name}_later.js")), &from(&names[2]))
                .replace(&from(&format!("{name}.js")), &from(&names[0]))
        };
        let renamed = |script: Vec<u8>| squeezed(&renamed(script)).into_bytes();
        for (file, bytes) in names.iter().zip([renamed(js), wasm, renamed(later_js), later]) {
            let to = staged.join(file);
            fs::write(&to, bytes).map_err(|error| failed(&to, &error))?;
        }
        let [js, wasm, later_js, _] = names;
        Ok([js, wasm, later_js])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_name_each_other_by_one_hash() {
        let folder = std::env::temp_dir().join(format!("potluck-split-{}", std::process::id()));
        let staged = folder.join("staged");
        fs::create_dir_all(&staged).unwrap();
        let write = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
        write(
            "app.js",
            "import * as import1 from \"./app_later.js\";{\"./app_later.js\": import1}",
        );
        write("app_bg.wasm", "one");
        write("app_later.js", "import {initSync} from \"./app.js\";fetch(\"./split_later.wasm\")");
        write(CUT_OUT, "two");
        let split = Split { folder: folder.clone(), name: "app".to_owned() };
        let [js, wasm, later] = split.put(&staged).unwrap();
        let read = |file: &str| fs::read_to_string(staged.join(file)).unwrap();
        let hashed = js.strip_suffix(".js").unwrap();
        assert_eq!(hashed.len(), "app-".len() + 16);
        assert_eq!((wasm, &later), (format!("{hashed}_bg.wasm"), &format!("{hashed}_later.js")));
        assert_eq!(
            read(&js),
            format!("import * as import1 from \"./{later}\";{{\"./app_later.js\": import1}}")
        );
        let fetched = format!("{hashed}_later.wasm");
        assert_eq!(
            read(&later),
            format!("import {{initSync}} from \"./{js}\";fetch(\"./{fetched}\")")
        );
        assert_eq!(read(&fetched), "two");

        // Another later part is another program.
        write(CUT_OUT, "three");
        assert_ne!(split.put(&staged).unwrap()[0], js);
        fs::remove_dir_all(&folder).unwrap();
    }
}
