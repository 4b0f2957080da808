//! Packages of npm's that building or testing takes, each in one version whose archive is known by
//! its hash, kept in the user's cache folder.

use std::fs;
use std::path::PathBuf;

use xtask::programs::on_path;

use crate::command::{capture, clean};
use crate::tools;

/// A package that needs no other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: &'static str,
    /// The hash of its archive, as npm's lock files write it.
    pub(crate) integrity: &'static str,
    /// Its program and where that lies in it; empty for none.
    pub(crate) program: (&'static str, &'static str),
}

impl Package {
    /// The folder that npm installs into; the package itself lies in `node_modules` there.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        let name = format!("{}-{}", self.name, self.version);
        Some(tools::cache_folder().ok()?.join("tools").join(name))
    }

    /// Has npm install it; the folder of [`Package::folder`], or none where there is no npm. `without`
    /// is what follows where it fails.
    pub(crate) fn install(&self, without: &str) -> Option<PathBuf> {
        // What npm installs are scripts for node.
        let npm = on_path("npm").filter(|_| on_path("node").is_some())?;
        let folder = self.folder()?;
        eprintln!("installing {} {} into {} (once)", self.name, self.version, folder.display());
        fs::create_dir_all(&folder).ok()?;
        // `npm ci` installs what the lock file names, checked against its hash, or nothing.
        fs::write(folder.join("package.json"), self.manifest()).ok()?;
        fs::write(folder.join("package-lock.json"), self.lock()).ok()?;
        let mut install = clean(npm);
        install.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        install.arg("--prefix").arg(&folder);
        let what = format!("npm could not install {}", self.name);
        capture(&mut install, &what, without).inspect_err(|failure| eprintln!("{failure}")).ok()?;
        Some(folder)
    }

    /// A package that needs nothing but this one.
    fn manifest(&self) -> String {
        let Self { name, version, .. } = self;
        format!(r#"{{ "private": true, "dependencies": {{ "{name}": "{version}" }} }}"#)
    }

    fn lock(&self) -> String {
        let Self { name, version, integrity, program: (program, path) } = self;
        let bin =
            if program.is_empty() { String::new() } else { format!(r#""{program}": "{path}""#) };
        format!(
            r#"{{
  "lockfileVersion": 3,
  "requires": true,
  "packages": {{
    "": {{ "dependencies": {{ "{name}": "{version}" }} }},
    "node_modules/{name}": {{
      "version": "{version}",
      "integrity": "{integrity}",
      "bin": {{ {bin} }}
    }}
  }}
}}
"#
        )
    }
}
