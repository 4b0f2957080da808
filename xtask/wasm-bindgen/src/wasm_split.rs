//! `wasm-split INPUT FOLDER PROGRAM`: cuts a program, before `wasm-bindgen` binds it, into the part
//! that is there at once, `FOLDER/PROGRAM.wasm`, and the part that is fetched later,
//! `FOLDER/split_later.wasm`, with a script that fetches it, `FOLDER/PROGRAM_later.js`.
//!
//! Where it is cut, functions marked `#[wasm_split(later)]` say. The linker must have been told
//! `--emit-relocs`.

use std::path::Path;

use anyhow::{Context as _, bail};
use wasm_encoder::{Module, RawSection, SectionId};
use wasm_split_cli_support::{Options, transform};
use wasmparser::Parser;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (input, folder, program) = match &arguments[..] {
        [version] if version == "--version" => {
            println!("wasm-split {}", env!("CARGO_PKG_VERSION"));
            return Ok(());
        }
        [input, folder, program] => (Path::new(input), Path::new(folder), program),
        _ => bail!("usage: wasm-split INPUT FOLDER PROGRAM"),
    };
    let wasm =
        std::fs::read(input).with_context(|| format!("{} cannot be read", input.display()))?;
    let main_out = folder.join(format!("{program}.wasm"));
    let link_name = format!("./{program}_later.js");
    let main_module = format!("./{program}.js");
    let mut options = Options::new(&wasm);
    options.output_dir = folder;
    options.main_out_path = &main_out;
    options.link_name = &link_name;
    options.main_module = &main_module;
    if let Err(error) = transform(options) {
        bail!("{} could not be split: {error:#}", input.display());
    }
    strip(&folder.join("split_later.wasm"))
}

/// Leaves out what no browser needs, names above all: `wasm-bindgen` does the same to the other part.
fn strip(path: &Path) -> anyhow::Result<()> {
    let wasm = std::fs::read(path)?;
    let mut stripped = Module::new();
    for payload in Parser::new(0).parse_all(&wasm) {
        if let Some((id, range)) = payload?.as_section()
            && id != SectionId::Custom as u8
        {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            stripped.section(&RawSection { id, data: &wasm[range] });
        }
    }
    std::fs::write(path, stripped.finish())?;
    Ok(())
}
