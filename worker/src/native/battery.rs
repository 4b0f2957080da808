//! Whether this machine runs on its battery: on Linux from the kernel's own files, elsewhere nobody
//! says.
//!
//! Source: <https://docs.kernel.org/admin-guide/abi-testing-files.html>, `sysfs-class-power`

use std::path::Path;
use std::time::Duration;

use futures::channel::mpsc::Sender;
use potluck_protocol::page::{Command, Conditions};

/// Where Linux lists what a machine can run on.
const SUPPLIES: &str = "/sys/class/power_supply";
/// How often it is looked at: a plug that is pulled is noticed before a fan is.
const LOOK: Duration = Duration::from_secs(5);

/// Tells the node whenever it changes. Never returns.
pub(super) async fn watch(mut commands: Sender<Command>) {
    let mut told = None;
    loop {
        let on_battery = on_battery(Path::new(SUPPLIES));
        if on_battery != told {
            let seen = Conditions { on_battery, ..Conditions::default() };
            // Full: the next look makes up for it.
            if commands.try_send(Command::Conditions(seen)).is_ok() {
                told = on_battery;
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// True if a battery of the machine itself is being used up and nothing else feeds it; `None` where
/// there is no battery, or nobody says.
pub(super) fn on_battery(supplies: &Path) -> Option<bool> {
    let (mut has_battery, mut discharges, mut is_fed) = (false, false, false);
    for supply in supplies.read_dir().ok()?.flatten() {
        let read = |name: &str| {
            let text = std::fs::read_to_string(supply.path().join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        match (read("type").as_str(), read("scope").as_str()) {
            // A mouse's.
            (_, "Device") => {}
            ("Battery", _) => {
                has_battery = true;
                discharges |= read("status") == "Discharging";
            }
            ("Mains" | "USB", _) => is_fed |= read("online") == "1",
            _ => {}
        }
    }
    has_battery.then_some(discharges && !is_fed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these supplies: the files of each, with what they say.
    fn machine(supplies: &[&[(&str, &str)]]) -> Option<bool> {
        let folder = tempfile::tempdir().unwrap();
        for (index, files) in supplies.iter().enumerate() {
            let supply = folder.path().join(format!("supply{index}"));
            std::fs::create_dir(&supply).unwrap();
            for (name, text) in *files {
                std::fs::write(supply.join(name), format!("{text}\n")).unwrap();
            }
        }
        on_battery(folder.path())
    }

    const DISCHARGING: &[(&str, &str)] = &[("type", "Battery"), ("status", "Discharging")];
    const FULL: &[(&str, &str)] = &[("type", "Battery"), ("status", "Full")];
    const PLUGGED: &[(&str, &str)] = &[("type", "Mains"), ("online", "1")];
    const UNPLUGGED: &[(&str, &str)] = &[("type", "Mains"), ("online", "0")];
    const MOUSE: &[(&str, &str)] =
        &[("type", "Battery"), ("scope", "Device"), ("status", "Discharging")];

    #[test]
    fn a_laptop_runs_on_its_battery_when_nothing_feeds_it() {
        assert_eq!(machine(&[UNPLUGGED, DISCHARGING]), Some(true));
        assert_eq!(machine(&[DISCHARGING]), Some(true));
        assert_eq!(machine(&[PLUGGED, FULL]), Some(false));
        // A charger that is too weak, and a second battery that is held in reserve.
        assert_eq!(machine(&[PLUGGED, DISCHARGING]), Some(false));
        assert_eq!(machine(&[UNPLUGGED, FULL, DISCHARGING]), Some(true));
    }

    #[test]
    fn a_desktop_has_no_battery_whatever_its_mouse_has() {
        assert_eq!(machine(&[PLUGGED]), None);
        assert_eq!(machine(&[PLUGGED, MOUSE]), None);
        assert_eq!(machine(&[]), None);
        assert_eq!(on_battery(Path::new("/no/such/folder")), None);
    }
}
