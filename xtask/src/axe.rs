//! axe-core, which finds what keeps people out of a page that they cannot see or point at: for the
//! test of the page's accessibility.
//!
//! Optional: without npm, or without a network, the test says that it skips.

use std::path::PathBuf;

use crate::npm::Package;

const AXE: Package = Package {
    name: "axe-core",
    version: "4.14.1",
    integrity: "sha512-\
        FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    program: ("", ""),
};
/// Where the script lies in what npm installs.
const INSIDE: &str = "node_modules/axe-core/axe.min.js";

/// The script, after a download the first time; none where it cannot be had.
pub(crate) fn script() -> Option<PathBuf> {
    let script = AXE.folder()?.join(INSIDE);
    if script.is_file() {
        return Some(script);
    }
    let folder = AXE.install("the test of the page's accessibility skips")?;
    Some(folder.join(INSIDE)).filter(|script| script.is_file())
}
