//! Which way a connection's bytes take, by a browser's own statistics of it.

use serde::Deserialize;

/// What is read of one entry of an `RTCStatsReport`, as <https://www.w3.org/TR/webrtc-stats/> names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Statistic {
    /// Names the entry within its report.
    pub(crate) id: String,
    /// What it is about: `transport`, `candidate-pair`, `local-candidate`, …
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Of a transport: the pair that it uses.
    pub(crate) selected_candidate_pair_id: Option<String>,
    /// Of a pair, in Firefox: true if it is the one in use.
    pub(crate) selected: Option<bool>,
    /// Of a pair: true once ICE has settled on it, or on an earlier one.
    pub(crate) nominated: Option<bool>,
    /// Of a pair: `succeeded` if its check was answered.
    pub(crate) state: Option<String>,
    /// Of a pair: our end.
    pub(crate) local_candidate_id: Option<String>,
    /// Of a pair: the peer's.
    pub(crate) remote_candidate_id: Option<String>,
    /// Of a candidate: `host`, `srflx`, `prflx` or `relay`.
    pub(crate) candidate_type: Option<String>,
}

/// True if the bytes go through a relay (TURN), ours or the peer's; `None` while the report names no
/// pair in use.
///
/// A peer's relay may be known as `prflx` only, where its packets came before word of it: then nobody
/// at this end can tell.
pub(crate) fn is_relayed(report: &[Statistic]) -> Option<bool> {
    let pair = pair_in_use(report)?;
    let is_relay = |id: &Option<String>| {
        let candidate = report.iter().find(|one| Some(&one.id) == id.as_ref());
        candidate.and_then(|one| one.candidate_type.as_deref()) == Some("relay")
    };
    Some(is_relay(&pair.local_candidate_id) || is_relay(&pair.remote_candidate_id))
}

fn pair_in_use(report: &[Statistic]) -> Option<&Statistic> {
    let selected = report.iter().find_map(|one| one.selected_candidate_pair_id.as_ref());
    let mut pairs = report.iter().filter(|one| one.kind == "candidate-pair");
    match selected {
        Some(selected) => pairs.find(|pair| pair.id == *selected),
        // Not every browser's transport names its pair.
        None => pairs.clone().find(|pair| pair.selected == Some(true)).or_else(|| {
            pairs.find(|pair| {
                pair.nominated == Some(true) && pair.state.as_deref() == Some("succeeded")
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, id: &str) -> Statistic {
        Statistic { kind: kind.to_owned(), id: id.to_owned(), ..Statistic::default() }
    }

    fn candidate(id: &str, of: &str) -> Statistic {
        Statistic { candidate_type: Some(of.to_owned()), ..entry("candidate", id) }
    }

    fn pair(id: &str, local: &str, remote: &str) -> Statistic {
        Statistic {
            local_candidate_id: Some(local.to_owned()),
            remote_candidate_id: Some(remote.to_owned()),
            nominated: Some(true),
            state: Some("succeeded".to_owned()),
            ..entry("candidate-pair", id)
        }
    }

    /// Two pairs: `direct`, and `relayed` at one end, with these candidates.
    fn report() -> Vec<Statistic> {
        vec![
            candidate("here", "host"),
            candidate("relay", "relay"),
            candidate("there", "srflx"),
            pair("direct", "here", "there"),
            pair("relayed", "relay", "there"),
        ]
    }

    #[test]
    fn a_transport_names_the_pair_that_counts() {
        for (selected, expected) in
            [("direct", Some(false)), ("relayed", Some(true)), ("gone", None)]
        {
            let mut report = report();
            report.push(Statistic {
                selected_candidate_pair_id: Some(selected.to_owned()),
                ..entry("transport", "T")
            });
            assert_eq!(is_relayed(&report), expected, "{selected}");
        }
    }

    #[test]
    fn without_a_transport_the_selected_pair_counts_and_else_one_that_succeeded() {
        let mut firefox = report();
        firefox[4].selected = Some(true);
        assert_eq!(is_relayed(&firefox), Some(true));
        let mut other = report();
        other[3].state = Some("failed".to_owned());
        assert_eq!(is_relayed(&other), Some(true));
        other[4].nominated = Some(false);
        assert_eq!(is_relayed(&other), None, "none is in use yet");
        assert_eq!(is_relayed(&[]), None);
    }

    #[test]
    fn the_peers_relay_counts_as_ours_does() {
        let report =
            [candidate("here", "host"), candidate("there", "relay"), pair("only", "here", "there")];
        assert_eq!(is_relayed(&report), Some(true));
        // A candidate that the report leaves out is no relay that anybody knows of.
        assert_eq!(is_relayed(&report[2..]), Some(false));
    }
}
