//! `compress FOLDER KEPT`: writes `FILE.br` beside every file of a built page; what was compressed
//! before is found in the folder `KEPT`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use e2e::compress;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compress: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [page, kept] = &folders[..] else { bail!("usage: compress FOLDER KEPT") };
    compress::folder(page, kept)
}
