//! Numbers as people read them. Integers throughout: what is shown is what was counted.

/// Multiply-accumulates in one GMAC.
const MACS_PER_GMAC: u64 = 1_000_000_000;
/// Digits after the point of a credit. One token through one layer of the smallest model is about
/// 0.0004 GMAC.
const GMAC_DIGITS: u32 = 4;

/// Credit in GMAC, cut (not rounded: credit is never shown before it is there) after four decimals:
/// `0.0421`.
#[must_use]
pub fn gmac(macs: u64) -> String {
    let unit = 10_u64.pow(GMAC_DIGITS);
    let cut = macs % MACS_PER_GMAC / (MACS_PER_GMAC / unit);
    format!("{}.{cut:04}", macs / MACS_PER_GMAC)
}

/// A count in thousandths, to one decimal: `12.3`.
#[must_use]
pub fn milli(thousandths: u64) -> String {
    let tenths = thousandths.saturating_add(50) / 100;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Microseconds as milliseconds with one decimal: `3.4`.
#[must_use]
pub fn us_as_ms(microseconds: u32) -> String {
    milli(u64::from(microseconds))
}

/// Energy in milliwatt-hours as watt-hours, with its unit: `1.3 Wh`.
#[must_use]
pub fn watt_hours(milliwatt_hours: u64) -> String {
    format!("{} Wh", milli(milliwatt_hours))
}

/// Milliseconds until something happens in seconds, never too few: `3 s`.
#[must_use]
pub fn seconds(milliseconds: u32) -> String {
    format!("{} s", milliseconds.div_ceil(1000))
}

/// A count with its thousands apart: `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in at most four characters: `999`, `1.2k`, `12k`.
#[must_use]
pub fn short(number: u32) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..10_000 => format!("{}.{}k", number / 1_000, number % 1_000 / 100),
        _ => format!("{}k", number / 1_000),
    }
}

/// A number of bytes with its unit, to one decimal: `3.1 MB`. Decimal units, as networks and disks
/// count.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)];
    UNITS.iter().find(|(_, size)| count >= *size).map_or_else(
        || format!("{count} B"),
        |(unit, size)| format!("{} {unit}", milli(count / (size / 1000))),
    )
}

/// Memory in MiB with its unit, in GiB where that is even: `512 MiB`, `2 GiB`.
#[must_use]
pub fn memory(mib: u64) -> String {
    if mib >= 1024 && mib.is_multiple_of(1024) {
        format!("{} GiB", mib / 1024)
    } else {
        format!("{mib} MiB")
    }
}

/// A temperature in thousandths as people write it: `0.7`, `1.25`, `0`.
#[must_use]
pub fn temperature(thousandths: u32) -> String {
    let text = format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Tokens a second, to one decimal, from a count and milliseconds; `None` where no time was
/// measured.
#[must_use]
pub fn rate(tokens: u32, milliseconds: u32) -> Option<String> {
    (milliseconds > 0).then(|| milli(u64::from(tokens) * 1_000_000 / u64::from(milliseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_cut_and_never_rounded_up() {
        assert_eq!(gmac(0), "0.0000");
        assert_eq!(gmac(42_199_999), "0.0421");
        assert_eq!(gmac(1_999_999_999), "1.9999");
        assert_eq!(gmac(u64::MAX), "18446744073.7095");
    }

    #[test]
    fn quantities_carry_their_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(3_140_000), "3.1 MB");
        assert_eq!(bytes(7_250_000_000), "7.3 GB");
        assert_eq!(bytes(1_320_000_000_000), "1.3 TB");
        assert_eq!(memory(512), "512 MiB");
        assert_eq!(memory(2048), "2 GiB");
        assert_eq!(memory(1500), "1500 MiB");
    }

    #[test]
    fn large_numbers_are_read_by_thousands_and_waits_in_whole_seconds() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(12_345_678), "12,345,678");
        assert_eq!(
            [short(0), short(999), short(1_299), short(12_345)],
            ["0", "999", "1.2k", "12k"]
        );
        assert_eq!(seconds(0), "0 s");
        assert_eq!(seconds(1), "1 s");
        assert_eq!(seconds(5_000), "5 s");
    }

    #[test]
    fn small_numbers_read_as_written_by_hand() {
        assert_eq!(milli(12_345), "12.3");
        assert_eq!(milli(12_350), "12.4");
        assert_eq!(us_as_ms(3_449), "3.4");
        assert_eq!(watt_hours(1_260), "1.3 Wh");
        assert_eq!(temperature(700), "0.7");
        assert_eq!(temperature(0), "0");
        assert_eq!(temperature(1_000), "1");
        assert_eq!(temperature(1_250), "1.25");
        assert_eq!(rate(10, 500).as_deref(), Some("20.0"));
        assert_eq!(rate(1, 0), None);
    }
}
