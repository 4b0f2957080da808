//! Which candidates are used, value by value.

use super::*;

fn line(address: &str) -> String {
    format!("candidate:1 1 udp 2130706431 {address} 54321 typ host")
}

fn reach(address: &str) -> Option<Reach> {
    Reach::of(address.parse().unwrap())
}

#[test]
fn addresses_are_told_apart() {
    for (of, addresses) in [
        (Some(Reach::Loopback), &["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"][..]),
        (Some(Reach::LinkLocal), &["169.254.1.1", "fe80::1", "febf::1", "::ffff:169.254.0.1"]),
        (
            Some(Reach::Private),
            &[
                "10.0.0.1",
                "172.16.0.1",
                "172.31.255.255",
                "192.168.1.5",
                "100.64.0.1",
                "100.127.255.255",
                "198.18.0.1",
                "fc00::1",
                "fdff::1",
                "fec0::1",
                "::ffff:10.0.0.1",
                "64:ff9b::10.0.0.1",
            ],
        ),
        (
            Some(Reach::Public),
            &[
                "8.8.8.8",
                "172.32.0.1",
                "100.128.0.1",
                "100.63.0.1",
                "2001:db8::1",
                "64:ff9b::8.8.8.8",
            ],
        ),
        (
            None,
            &[
                "0.0.0.0",
                "0.1.2.3",
                "224.0.0.251",
                "255.255.255.255",
                "240.0.0.1",
                "::",
                "ff02::fb",
                "::8.8.8.8",
            ],
        ),
    ] {
        for address in addresses {
            assert_eq!(reach(address), of, "{address}");
        }
    }
    assert_eq!(reach("64:ff9b::127.0.0.1"), Some(Reach::Loopback));
}

#[test]
fn addresses_near_this_node_count_only_where_it_is_there_too() {
    let near = [("127.0.0.1", "127.0.0.2"), ("169.254.3.4", "fe80::1"), ("192.168.1.5", "fd00::1")];
    for (index, (theirs, own)) in near.into_iter().enumerate() {
        let theirs = target(&line(theirs)).unwrap();
        assert!(!Networks::default().allow(&theirs), "{theirs:?}");
        for (other, (_, own)) in near.into_iter().enumerate().filter(|(other, _)| *other != index) {
            let mut networks = Networks::default();
            networks.learn(&target(&line(own)).unwrap());
            assert!(!networks.allow(&theirs), "{theirs:?} {other}");
        }
        let mut networks = Networks::default();
        networks.learn(&target(&line(own)).unwrap());
        assert!(networks.allow(&theirs), "{theirs:?}");
    }
    let public = target(&line("8.8.8.8")).unwrap();
    assert!(Networks::default().allow(&public));
}

#[test]
fn only_an_interfaces_own_address_says_where_this_node_is() {
    let mut networks = Networks::default();
    networks.learn(&target("candidate:1 1 udp 1 192.168.1.5 9 typ relay").unwrap());
    networks.learn(&target(&line("8.8.8.8")).unwrap());
    assert_eq!(networks, Networks::default());
    networks.learn(&target(&line("0b3d-4e.local")).unwrap());
    assert!(networks.allow(&target(&line("192.168.1.5")).unwrap()), "a browser hides its own");
    assert!(!networks.allow(&target(&line("127.0.0.1")).unwrap()));
}

#[test]
fn the_server_says_where_this_node_is() {
    let [loopback, private] = ["127.0.0.1", "192.168.1.5"].map(|at| target(&line(at)).unwrap());
    for (url, is_loopback, is_private) in [
        ("ws://127.0.0.1:8080/api/v1/socket", true, false),
        ("http://localhost", true, false),
        ("ws://app.localhost:1/x", true, false),
        ("wss://[::1]:8080/", true, false),
        ("wss://user@[fd00::1]/", false, true),
        ("ws://192.168.1.2:8080", false, true),
        ("http://nas:8080/", false, true),
        ("http://potluck.local", false, true),
        ("http://Potluck.LAN./", false, true),
        ("wss://example.org/127.0.0.1", false, false),
        ("wss://127.0.0.1.example.org", false, false),
        ("wss://192.168.1.2@example.org", false, false),
        ("wss://8.8.8.8", false, false),
        ("memory", false, false),
        ("ws://", false, false),
    ] {
        let networks = Networks::of_server(url);
        assert_eq!(
            (networks.allow(&loopback), networks.allow(&private)),
            (is_loopback, is_private),
            "{url}"
        );
    }
}

#[test]
fn candidates_as_stacks_write_them_are_read() {
    let address = |text: &str, is_host| Target::Address { address: text.parse().unwrap(), is_host };
    for (line, expected) in [
        // webrtc-rs, Chromium, Firefox, and a line of a session description.
        ("candidate:167 1 udp 2130706431 10.1.2.3 4 typ host", address("10.1.2.3", true)),
        (
            "candidate:1 1 udp 1677729535 1.2.3.4 61 typ srflx raddr 0.0.0.0 rport 0 generation 0 \
             ufrag qOZt network-cost 999",
            address("1.2.3.4", false),
        ),
        ("candidate:0 1 UDP 2122252543 2001:db8::5 9 typ host", address("2001:db8::5", true)),
        (
            "a=candidate:0 1 UDP 1 5.6.7.8 9 typ relay raddr 1.1.1.1 rport 2",
            address("5.6.7.8", false),
        ),
        ("candidate:1 1 udp 1 4f6c2c7f-8d5d-4a4e.local 9 typ host", Target::Name),
    ] {
        assert_eq!(target(line), Ok(expected), "{line}");
    }
}

#[test]
fn what_no_node_uses_is_refused() {
    let long = format!("{} {}", line("8.8.8.8"), "x".repeat(MAX_CANDIDATE_BYTES));
    for (line, why) in [
        ("", Unusable::Malformed),
        ("candidate:1 1 udp 1 8.8.8.8 9", Unusable::Malformed),
        ("candidate:1 1 udp 1 8.8.8.8 9 typ other", Unusable::Malformed),
        ("candidate:1 1 udp 1 8.8.8.8 99999 typ host", Unusable::Malformed),
        ("candidate:1 1 udp 1 8.8.8.8 9 typ host\r\na=candidate:", Unusable::Malformed),
        (&long, Unusable::Malformed),
        ("candidate:1 2 udp 1 8.8.8.8 9 typ host", Unusable::Component),
        ("candidate:1 1 tcp 1 8.8.8.8 9 typ host tcptype active", Unusable::Protocol),
        ("candidate:1 1 tcp 1 8.8.8.8 25 typ host tcptype passive", Unusable::Protocol),
        ("candidate:1 1 udp 1 8.8.8.8 0 typ host", Unusable::Port),
        ("candidate:1 1 udp 1 0.0.0.0 9 typ host", Unusable::Address),
        ("candidate:1 1 udp 1 224.0.0.251 5353 typ host", Unusable::Address),
        ("candidate:1 1 udp 1 255.255.255.255 9 typ host", Unusable::Address),
        ("candidate:1 1 udp 1 fe80::1%eth0 9 typ host", Unusable::Address),
        ("candidate:1 1 udp 1 example.org 9 typ host", Unusable::Address),
        ("candidate:1 1 udp 1 a.b.local 9 typ host", Unusable::Address),
        ("candidate:1 1 udp 1 .local 9 typ host", Unusable::Address),
        ("candidate:1 1 udp 1 a.local 9 typ srflx", Unusable::Address),
    ] {
        assert_eq!(target(line), Err(why), "{line}");
    }
}
