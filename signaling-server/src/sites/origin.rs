//! The origin of a site's pages, as it may stand in a policy and be asked for a proof.

use std::fmt;

use potluck_protocol::site::MAX_SITE_ORIGIN_BYTES;

use crate::origin::WebOrigin;

/// `https://host[:port]`, of letters that mean nothing in a content security policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SiteOrigin(WebOrigin);

/// Why a text is no origin of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSiteOrigin {
    /// It is none, or has letters that no host has.
    #[error(
        "an origin is written as in a browser, such as https://recipes.example, without a path"
    )]
    Unreadable,
    /// It is `http://`.
    #[error(
        "a site's origin begins with https://: without, anybody on the way could change its pages"
    )]
    Insecure,
}

impl SiteOrigin {
    /// Reads one. `is_private_allowed`: `http://` is fine too.
    pub(crate) fn parse(text: &str, is_private_allowed: bool) -> Result<Self, NoSiteOrigin> {
        let host_letter = |byte: u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']')
        };
        let origin = text.parse::<WebOrigin>().map_err(|_| NoSiteOrigin::Unreadable)?;
        let written = origin.to_string();
        // What a path, a user or a default port would be lost with is not what was meant.
        let same = text.trim_end_matches('/').eq_ignore_ascii_case(&written);
        if !same
            || text.len() > MAX_SITE_ORIGIN_BYTES
            || !origin.authority().bytes().all(host_letter)
        {
            return Err(NoSiteOrigin::Unreadable);
        }
        if !(origin.is_secure() || is_private_allowed) {
            return Err(NoSiteOrigin::Insecure);
        }
        Ok(Self(origin))
    }

    /// True for `https://`.
    pub(crate) fn is_secure(&self) -> bool {
        self.0.is_secure()
    }

    /// Host and, unless it is the scheme's own, port.
    pub(crate) fn authority(&self) -> &str {
        self.0.authority()
    }

    /// The host alone; an address of IPv6 without its brackets.
    pub(crate) fn host(&self) -> &str {
        self.0.host().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.port()
    }
}

impl fmt::Display for SiteOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_can_do_nothing_but_name_a_host() {
        for good in
            ["https://recipes.example", "https://xn--rsa-hna.example:8443", "https://[2001:db8::1]"]
        {
            assert_eq!(SiteOrigin::parse(good, false).unwrap().to_string(), good);
        }
        assert_eq!(
            SiteOrigin::parse("https://A.example/", false).unwrap().to_string(),
            "https://a.example"
        );
        for bad in [
            "",
            "*",
            "https://*",
            "https://*.example",
            "https:",
            "recipes.example",
            "javascript:alert(1)",
            "https://a;script-src *",
            "https://a;sandbox",
            "https://a,https://b",
            "https://a'self'",
            "https://u@a",
            "https://a/path",
            "https://a?b",
            "https://a#b",
            "https://a b",
            "https://a\n",
            "https://\u{202e}a",
            "data:text/html,x",
            "null",
            "https://a:99999",
            "https://a/..",
        ] {
            assert!(SiteOrigin::parse(bad, true).is_err(), "{bad:?}");
        }
        assert!(SiteOrigin::parse(&format!("https://{}", "a".repeat(300)), true).is_err());
        assert_eq!(SiteOrigin::parse("http://a", false), Err(NoSiteOrigin::Insecure));
        let plain = SiteOrigin::parse("http://localhost:81", true).unwrap();
        assert_eq!((plain.host(), plain.port(), plain.is_secure()), ("localhost", 81, false));
        let v6 = SiteOrigin::parse("https://[2001:db8::1]", false).unwrap();
        assert_eq!((v6.host(), v6.port()), ("2001:db8::1", 443));
    }
}
