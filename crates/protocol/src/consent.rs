//! A grant for people: in plain words, and as a record to keep in the fields of ISO/IEC TS 27560
//! (consent record information structure). Page, widget and native node say the same.

use serde_json::{Value, json};

use crate::grant::{DAY_S, Grant, GrantedModels, Limits, Place, Power, SignedGrant};

/// A line about a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is about: a word or two.
    pub about: &'static str,
    /// What the grant says.
    pub says: String,
}

/// What a grant says, in the order in which a person wants to know it.
#[must_use]
pub fn words(grant: &Grant) -> Vec<Line> {
    let limits = &grant.limits;
    let mut lines = vec![
        line("what", format!("this machine ({}) computes for others", grant.node.name())),
        line("for whom", format!("whoever asks the swarm of {}", grant.to)),
        line("what for", format!("answers of {}", models(&grant.models))),
        line(
            "how much",
            format!(
                "up to {} % of the processor's time, {} % of the GPU's, {} of memory",
                limits.processor_percent,
                limits.gpu_percent,
                bytes(limits.memory_bytes)
            ),
        ),
        line("data", format!("up to {} a day", bytes(limits.data_bytes_a_day))),
        line("when", when(limits, grant.place)),
    ];
    if let Some(minutes) = limits.minutes {
        lines.push(line(
            "how long",
            format!("{minutes} minutes, and then only if you say so again"),
        ));
    }
    lines.push(line("what is seen", SEEN.to_owned()));
    lines.push(line("until", format!("{}, if you do not end it before", date(grant.until_s))));
    lines.push(line("to end it", withdrawal(grant.place).to_owned()));
    lines
}

/// The record that a person may keep of a grant.
#[must_use]
pub fn consent_record(signed: &SignedGrant) -> Value {
    let SignedGrant { grant, signature } = signed;
    let lasts_s = grant.until_s.saturating_sub(grant.given_s);
    let says: Vec<Value> =
        words(grant).into_iter().map(|Line { about, says }| json!([about, says])).collect();
    json!({
        "schema_version": "ISO/IEC TS 27560:2023",
        "record_id": grant.id,
        "pii_principal_id": grant.node,
        "pii_processing": {
            "privacy_notice": grant.to,
            "language": "en",
            "purposes": [{
                "purpose": format!("computing parts of answers of {}", models(&grant.models)),
                "purpose_type": "lending a machine to a swarm",
                "lawful_basis": "consent",
                "pii_information": [
                    { "pii_type": "network address", "pii_optional": false },
                    { "pii_type": "public key of the node", "pii_optional": false },
                    { "pii_type": "kind, memory and speed of the machine", "pii_optional": false },
                    { "pii_type": "work done, as signed receipts", "pii_optional": false },
                ],
                "pii_controllers": [grant.to],
                "collection_method": "from the machine, while it is lent",
                "processing_method": says,
                "storage_locations": ["this machine", grant.to],
                "retention_period": "address and machine: while it is lent; receipts: for ever",
                "recipient_third_parties": ["other members of the swarm, for the same answer"],
                "withdrawal_method": withdrawal(grant.place),
            }],
        },
        "party_identification": [
            { "party_id": grant.to, "party_url": grant.to, "party_role": "PII controller" },
            { "party_id": grant.node, "party_role": "PII principal" },
        ],
        "event": [{
            "event_time": time(grant.given_s),
            "validity_duration": format!("PT{lasts_s}S"),
            "entity_id": grant.node,
            "event_type": "explicit",
            "event_state": "consent given",
        }],
        // What was signed, for whoever wants to check the signature.
        "grant": grant,
        "grant_until": time(grant.until_s),
        "grant_encoded": data_encoding::HEXLOWER.encode(&crate::encoding::encode(grant)),
        "grant_signature": data_encoding::HEXLOWER.encode(&signature.0),
    })
}

/// What others learn of a lent machine.
const SEEN: &str = "the server and the members of the same answers see your network address; they send \
                    this machine numbers, and of some questions the words";

fn line(about: &'static str, says: String) -> Line {
    Line { about, says }
}

fn models(models: &GrantedModels) -> String {
    match models {
        GrantedModels::All => "the AI models that this server serves".to_owned(),
        GrantedModels::These(models) => {
            let names: Vec<String> =
                models.iter().map(|model| model.to_string().chars().take(8).collect()).collect();
            format!("the AI models {}, and no others", names.join(", "))
        }
    }
}

fn when(limits: &Limits, place: Place) -> String {
    let power = match limits.power {
        Power::Any => "on battery as well",
        Power::MainsOnly => "not on battery",
    };
    let metered = if limits.on_metered { "also over" } else { "not over" };
    let mut said = format!("{power}, {metered} a connection that is paid by the amount");
    // A program has no page that could be hidden, and runs on no phone.
    if place != Place::Native {
        let hidden = if limits.when_hidden { "also while" } else { "not while" };
        let phone = if limits.on_phone { "also on" } else { "not on" };
        said = format!("{said}, {hidden} the page is hidden, {phone} a phone");
    }
    said
}

fn withdrawal(place: Place) -> &'static str {
    match place {
        Place::Page | Place::Widget { .. } => "press Stop, or close the page",
        Place::Native => "press Ctrl-C; `potluck-node withdraw` also forgets that you agreed",
    }
}

/// An amount of bytes, to a tenth.
fn bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_048_576 => (1 << 10, "KiB"),
        1_048_576..1_073_741_824 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    let tenths = u128::from(bytes) * 10 / unit;
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}

/// `2026-11-27`, of seconds since 1970, in UTC.
#[must_use]
pub fn date(unix_s: u64) -> String {
    // Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days: years begin in
    // March, so that the leap day is their last.
    let days = unix_s / DAY_S + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-11-27T18:30:00Z`, of seconds since 1970.
fn time(unix_s: u64) -> String {
    let of_day = unix_s % DAY_S;
    let (hours, minutes, seconds) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{}T{hours:02}:{minutes:02}:{seconds:02}Z", date(unix_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::{MAX_GRANT_S, Terms};
    use crate::identity::{Identity, Purpose, Signature, verify};

    const GIVEN_S: u64 = 1_795_804_200;

    fn signed(terms: Terms) -> SignedGrant {
        let node = Identity::from_seed(&[1; 32]);
        let grant = terms.grant(node.node(), "https://potluck.example".to_owned(), GIVEN_S);
        SignedGrant::new(&node, grant)
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (unix_s, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_767_225_599, "2025-12-31"),
            (GIVEN_S, "2026-11-27"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(unix_s), day);
        }
        assert_eq!(time(GIVEN_S), "2026-11-27T18:30:00Z");
        // Whatever a hostile grant holds.
        assert!(date(u64::MAX).ends_with(|c: char| c.is_ascii_digit()));
    }

    #[test]
    fn the_words_name_every_limit() {
        let grant = signed(Terms::default()).grant;
        let text: Vec<String> =
            words(&grant).iter().map(|line| format!("{}: {}", line.about, line.says)).collect();
        let text = text.join("\n");
        for said in [
            "https://potluck.example",
            "30 % of the processor",
            "30 % of the GPU",
            "1 GiB of memory",
            "2 GiB a day",
            "not on battery",
            "not over a connection",
            "not while the page is hidden",
            "not on a phone",
            "30 minutes",
            "until: 2027-02-25",
            "press Stop",
        ] {
            assert!(text.contains(said), "{said} is not in:\n{text}");
        }
        let native = Terms { place: Place::Native, limits: Limits::native(), ..Terms::default() };
        let native: Vec<Line> = words(&signed(native).grant);
        let says = |about| native.iter().find(|line| line.about == about).unwrap().says.clone();
        assert!(says("how much").contains("100 % of the processor"), "{native:?}");
        assert!(says("when").contains("on battery as well"), "{native:?}");
        assert!(says("to end it").contains("Ctrl-C"), "{native:?}");
        assert!(!native.iter().any(|line| line.about == "how long"), "{native:?}");
    }

    #[test]
    fn the_record_has_the_fields_of_the_standard_and_can_be_checked() {
        let signed = signed(Terms::default());
        let record = consent_record(&signed);
        let field = |pointer: &str| record.pointer(pointer).cloned().unwrap_or_default();
        assert_eq!(field("/record_id"), json!(signed.grant.id.to_string()));
        assert_eq!(field("/pii_principal_id"), json!(signed.grant.node.to_string()));
        assert_eq!(field("/event/0/event_time"), json!("2026-11-27T18:30:00Z"));
        assert_eq!(field("/event/0/validity_duration"), json!(format!("PT{MAX_GRANT_S}S")));
        assert_eq!(field("/event/0/event_state"), json!("consent given"));
        assert_eq!(field("/pii_processing/purposes/0/lawful_basis"), json!("consent"));
        assert_eq!(field("/party_identification/0/party_id"), json!("https://potluck.example"));
        assert_eq!(field("/grant/limits/gpu_percent"), json!(30));
        let bytes = |pointer: &str| {
            let text = field(pointer).as_str().unwrap_or_default().to_owned();
            data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
        };
        let signature = Signature(bytes("/grant_signature").try_into().unwrap());
        let encoded = bytes("/grant_encoded");
        assert!(verify(signed.grant.node, Purpose::Grant, &encoded, &signature));
    }

    #[test]
    fn amounts_read_as_people_say_them() {
        for (amount, said) in
            [(1 << 30, "1 GiB"), (3 << 29, "1.5 GiB"), (512 << 20, "512 MiB"), (1, "0 KiB")]
        {
            assert_eq!(bytes(amount), said);
        }
    }
}
