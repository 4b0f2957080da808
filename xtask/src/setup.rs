//! Set-up: everything that building, the demo and the tests need, installed once, and under two
//! seconds when it is all there.
//!
//! Programs that only the system can install (a browser, a software Vulkan adapter) are installed
//! where this is Debian or Ubuntu and we are root; elsewhere one line says what to install. The
//! demo does without a browser then, the tests do not.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use xtask::programs::{self, Chromium};

use crate::axe;
use crate::command::{Failure, Outcome, clean, run};
use crate::minilm;
use crate::nginx;
use crate::tokenizers;
use crate::tools::{self, Priority};
use crate::wasm_target::{self, WasmToolchain};

/// What building the page takes.
#[derive(Clone, Debug)]
pub(crate) struct Builders {
    /// The folder of `wasm-bindgen` and `wasm-bindgen-test-runner`.
    wasm_bindgen: PathBuf,
    toolchain: WasmToolchain,
}

impl Builders {
    /// Makes a cargo or trunk command that builds wasm use them, and all such commands share what
    /// they compile: `cargo test` ignores a profile's panic strategy, and wasm32-unknown-unknown
    /// aborts whatever it says, so leaving it out changes nothing but the artefacts' names.
    pub(crate) fn apply(&self, command: &mut Command) {
        tools::prefer(command, &self.wasm_bindgen);
        self.toolchain.apply(command);
        command.env("CARGO_PROFILE_RELEASE_PANIC", "unwind");
    }

    /// True if another compiler than the native one builds wasm; that one has no clippy.
    pub(crate) fn has_clippy(&self) -> bool {
        self.toolchain == WasmToolchain::Project
    }
}

/// What the tests take beyond that.
#[derive(Clone, Debug)]
pub(crate) struct TestPrograms {
    /// A browser and its driver.
    pub(crate) chromium: Chromium,
    /// The software Vulkan adapter's description; without it the GPU tests use what adapter there
    /// is, or say that they skip.
    pub(crate) lavapipe: Option<PathBuf>,
    /// A real encoder; without it its tests say that they skip.
    pub(crate) minilm: Option<PathBuf>,
    /// The proxy of README's deployment; without it its test says that it skips.
    pub(crate) nginx: Option<PathBuf>,
    /// Where real tokenizers are; without them the comparison with them says that it skips.
    pub(crate) tokenizers: Option<PathBuf>,
    /// axe-core's script; without it the test of the page's accessibility says that it skips.
    pub(crate) axe: Option<PathBuf>,
}

impl TestPrograms {
    /// Tells tests where the programs are, and that a test which needs one may no longer skip.
    pub(crate) fn apply(&self, command: &mut Command) {
        command
            .env("CHROMEDRIVER", &self.chromium.driver)
            .env("POTLUCK_CHROMIUM", &self.chromium.browser)
            .env("POTLUCK_REQUIRE_BROWSER", "1");
        if let Some(model) = &self.minilm {
            command.env("POTLUCK_MINILM", model).env("POTLUCK_REQUIRE_MINILM", "1");
        }
        if let Some(nginx) = &self.nginx {
            command.env("POTLUCK_NGINX", nginx).env("POTLUCK_REQUIRE_NGINX", "1");
        }
        if let Some(folder) = &self.tokenizers {
            command.env("POTLUCK_TOKENIZERS", folder).env("POTLUCK_REQUIRE_TOKENIZERS", "1");
        }
        if let Some(script) = &self.axe {
            command.env("POTLUCK_AXE", script).env("POTLUCK_REQUIRE_AXE", "1");
        }
        if let Some(driver) = &self.lavapipe {
            command.env("POTLUCK_REQUIRE_GPU", "1");
            if env::var_os("VK_DRIVER_FILES").is_none() {
                command.env("VK_DRIVER_FILES", driver);
            }
        }
    }
}

/// Makes sure that the page can be built.
pub(crate) fn builders() -> Outcome<Builders> {
    Ok(Builders { toolchain: wasm_target::ensure()?, wasm_bindgen: tools::wasm_bindgen()? })
}

/// Makes sure that there is a browser that can be driven.
pub(crate) fn chromium() -> Outcome<Chromium> {
    if programs::chromium().is_none() {
        install(
            &["chromium", "chromium-driver"],
            "no Chromium with chromedriver was found",
            "install both (Debian: `apt-get install chromium chromium-driver`), or name them in \
             POTLUCK_CHROMIUM and CHROMEDRIVER",
        )?;
    }
    programs::chromium().ok_or_else(|| {
        Failure::new(
            "Chromium was installed but is not on PATH",
            "name it in POTLUCK_CHROMIUM and its driver in CHROMEDRIVER",
        )
    })
}

/// Makes sure that the tests can run.
pub(crate) fn test_programs() -> Outcome<TestPrograms> {
    let chromium = chromium()?;
    if programs::lavapipe().is_none() {
        let remedy = "install Mesa's lavapipe (Debian: `apt-get install mesa-vulkan-drivers`)";
        if let Err(failure) =
            install(&["mesa-vulkan-drivers"], "no software Vulkan adapter was found", remedy)
        {
            eprintln!("{failure}; GPU tests use what adapter there is");
        }
    }
    Ok(TestPrograms {
        chromium,
        lavapipe: programs::lavapipe(),
        minilm: minilm::folder(),
        nginx: nginx::program(),
        tokenizers: tokenizers::folder(),
        axe: axe::script(),
    })
}

/// `cargo xtask setup`.
pub(crate) fn everything() -> Outcome {
    builders()?;
    let trunk = tools::trunk(Priority::Foreground)?.join("trunk");
    let programs = test_programs()?;
    println!(
        "ready: {}, {} and {}",
        trunk.display(),
        programs.chromium.browser.display(),
        programs.chromium.driver.display()
    );
    Ok(())
}

fn install(packages: &[&str], what: &str, remedy: &str) -> Outcome {
    if programs::on_path("apt-get").is_none() || !is_root() {
        return Err(Failure::new(what, remedy));
    }
    eprintln!("installing {} (once)", packages.join(" and "));
    let apt = |arguments: &[&str]| {
        run(clean("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments), what, remedy)
    };
    apt(&["update", "-qq"])?;
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    apt(&[&install[..], packages].concat())
}

/// True if `id -u` says so; the standard library has no other way to ask.
fn is_root() -> bool {
    clean("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
