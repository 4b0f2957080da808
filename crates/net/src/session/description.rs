//! A peer's session description, looked at before the WebRTC stack hears of it.
//!
//! A description carries what a data channel needs and nothing else: one section, few lines. The
//! candidates in it are taken out, to be counted and judged as those are that come on their own;
//! one that the stack cannot read then costs a path and not the whole description.

/// Lines of a description at most, its candidates not counted. Browsers write about 25.
const MAX_LINES: usize = 64;
/// Bytes of a line at most. The longest that browsers write is a fingerprint of about 110.
const MAX_LINE_BYTES: usize = 512;

/// A description's two halves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Description {
    /// The description without its candidates.
    pub(super) sdp: String,
    /// The candidates, as lines of their own.
    pub(super) candidates: Vec<String>,
}

/// A description that no node sends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DescriptionError {
    /// It has more lines than any.
    #[error("more than {MAX_LINES} lines")]
    TooManyLines,
    /// A line is longer than any.
    #[error("a line of {got} bytes, at most {MAX_LINE_BYTES} allowed")]
    LineTooLong {
        /// The line's length in bytes.
        got: usize,
    },
    /// A line is not of the form that RFC 8866 gives them.
    #[error("a line that is none")]
    Malformed,
    /// It has sections beside the one for data channels, or not that one.
    #[error("{got} sections, where one for data channels is expected")]
    Sections {
        /// How many there are.
        got: usize,
    },
}

/// Takes a description apart.
///
/// # Errors
/// If it is not one of a peer that wants data channels.
pub(super) fn read(sdp: &str) -> Result<Description, DescriptionError> {
    let mut kept = String::with_capacity(sdp.len());
    let (mut candidates, mut lines) = (Vec::new(), 0);
    let (mut sections, mut is_data) = (0, true);
    for line in sdp.lines().filter(|line| !line.is_empty()) {
        let (Some(kind @ b'a'..=b'z'), Some(b'=')) =
            (line.bytes().next(), line.as_bytes().get(1).copied())
        else {
            return Err(DescriptionError::Malformed);
        };
        // Some parsers end a line at a lone carriage return, and would read two lines.
        if line.chars().any(char::is_control) {
            return Err(DescriptionError::Malformed);
        }
        let attribute = if kind == b'a' { line[2..].trim_start() } else { "" };
        if attribute.starts_with("candidate:") {
            candidates.push(attribute.to_owned());
            continue;
        }
        // More may come on their own; and who was reached before is none of a new connection's.
        if ["end-of-candidates", "remote-candidates"].iter().any(|word| attribute.starts_with(word))
        {
            continue;
        }
        lines += 1;
        if lines > MAX_LINES {
            return Err(DescriptionError::TooManyLines);
        }
        if line.len() > MAX_LINE_BYTES {
            return Err(DescriptionError::LineTooLong { got: line.len() });
        }
        if kind == b'm' {
            sections += 1;
            is_data &= line.starts_with("m=application ");
        }
        kept.push_str(line);
        kept.push_str("\r\n");
    }
    if sections != 1 || !is_data {
        return Err(DescriptionError::Sections { got: sections });
    }
    Ok(Description { sdp: kept, candidates })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n\
        a=ice-ufrag:abcd\r\na=mid:0\r\n";

    #[test]
    fn candidates_are_taken_out_and_the_rest_stays() {
        let with = format!(
            "{OFFER}a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\na= candidate:2 1 udp 1 x 9 typ host\r\n\
             a=end-of-candidates\r\na=remote-candidates:1 10.0.0.1 9\r\na=sctp-port:5000\r\n\r\n"
        );
        let read = read(&with).unwrap();
        assert_eq!(read.sdp, format!("{OFFER}a=sctp-port:5000\r\n"));
        assert_eq!(
            read.candidates,
            ["candidate:1 1 udp 1 10.0.0.1 9 typ host", "candidate:2 1 udp 1 x 9 typ host"]
        );
        assert_eq!(super::read(&read.sdp).unwrap().sdp, read.sdp);
    }

    #[test]
    fn what_no_node_sends_is_refused() {
        let data = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";
        for (sdp, error) in [
            (String::new(), DescriptionError::Sections { got: 0 }),
            (format!("{OFFER}{data}"), DescriptionError::Sections { got: 2 }),
            (
                "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n".to_owned(),
                DescriptionError::Sections { got: 1 },
            ),
            (format!("{OFFER}{}", "a=x:1\r\n".repeat(MAX_LINES)), DescriptionError::TooManyLines),
            (
                format!("{OFFER}a={}\r\n", "x".repeat(MAX_LINE_BYTES)),
                DescriptionError::LineTooLong { got: MAX_LINE_BYTES + 2 },
            ),
            (format!("{OFFER}a=x\ra=candidate:1\r\n"), DescriptionError::Malformed),
            (format!("{OFFER} a=candidate:1\r\n"), DescriptionError::Malformed),
            (format!("{OFFER}hello\r\n"), DescriptionError::Malformed),
            (format!("{OFFER}é\r\n"), DescriptionError::Malformed),
        ] {
            assert_eq!(read(&sdp), Err(error), "{sdp}");
        }
    }
}
