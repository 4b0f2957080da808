//! Finds programs and drivers that Potluck does not build itself: Chromium, chromedriver, the
//! software Vulkan adapter.
//!
//! Looks only; what is missing is reported as `None` and installed, if at all, by the set-up.

use std::env;
use std::path::{Path, PathBuf};

/// Names a Chromium goes by, the plain ones first.
const CHROMIUM_NAMES: [&str; 5] =
    ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];
/// Where browsers are installed without being on `PATH`.
const CHROMIUM_PLACES: [&str; 2] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
];
/// Where distributions hide chromedriver.
const CHROMEDRIVER_PLACES: [&str; 2] =
    ["/usr/lib/chromium/chromedriver", "/usr/lib/chromium-browser/chromedriver"];
/// Where Vulkan drivers are listed.
const VULKAN_DRIVER_FOLDERS: [&str; 2] =
    ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];

/// A browser and the driver that steers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chromium {
    /// Chromium or Chrome.
    pub browser: PathBuf,
    /// chromedriver.
    pub driver: PathBuf,
}

/// Chromium (or Chrome) and chromedriver, where both are there. `POTLUCK_CHROMIUM` and
/// `CHROMEDRIVER` name others than the first found.
#[must_use]
pub fn chromium() -> Option<Chromium> {
    let browser =
        named_by("POTLUCK_CHROMIUM").or_else(|| find_any(&CHROMIUM_NAMES, &CHROMIUM_PLACES))?;
    let driver =
        named_by("CHROMEDRIVER").or_else(|| find_any(&["chromedriver"], &CHROMEDRIVER_PLACES))?;
    Some(Chromium { browser, driver })
}

/// The description file of lavapipe, Mesa's Vulkan driver that computes on the processor.
#[must_use]
pub fn lavapipe() -> Option<PathBuf> {
    VULKAN_DRIVER_FOLDERS.iter().find_map(|folder| {
        let mut drivers: Vec<PathBuf> = Path::new(folder)
            .read_dir()
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
            })
            .collect();
        drivers.sort();
        drivers.into_iter().next()
    })
}

/// The first of these folders on `PATH` that holds a program of this name.
#[must_use]
pub fn on_path(name: &str) -> Option<PathBuf> {
    let file_name = format!("{name}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(&file_name))
        .find(|path| path.is_file())
}

fn named_by(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

fn find_any(names: &[&str], places: &[&str]) -> Option<PathBuf> {
    names
        .iter()
        .find_map(|name| on_path(name))
        .or_else(|| places.iter().map(PathBuf::from).find(|path| path.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_on_the_path_of_whoever_runs_this() {
        assert!(on_path("cargo").is_some());
        assert_eq!(on_path("no program has this name"), None);
    }
}
