//! On which of this machine's addresses peers are listened for.
//!
//! A machine may have dozens: containers' bridges, virtual machines, VPNs, temporary IPv6 addresses.
//! Each costs a socket, a request to each STUN server and a pair with each of the peer's, and the
//! last ones find no path that the first did not. So a few are chosen, those first by which packets
//! leave this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rtc::shared::ifaces::ifaces;

/// Addresses of one family that are listened on.
const MAX_ADDRESSES: usize = 6;
/// Addresses of one interface and family among them. IPv6 has a lasting and a temporary one.
const MAX_PER_INTERFACE: usize = 2;
/// How the interfaces are called that lead to containers and virtual machines on this machine,
/// which reach its other addresses as well.
const INNER: [&str; 9] =
    ["docker", "br-", "virbr", "veth", "cni", "podman", "lxc", "vboxnet", "vmnet"];

/// The addresses to bind for `wanted`, in which an unspecified one stands for every interface of its
/// family. It stays as it is where this machine has none or they cannot be listed.
pub(super) fn listen_on(wanted: &[SocketAddr]) -> Vec<SocketAddr> {
    if wanted.iter().all(|address| !address.ip().is_unspecified()) {
        return wanted.to_vec();
    }
    let found: Vec<(String, IpAddr)> = match ifaces() {
        Ok(interfaces) => interfaces
            .into_iter()
            .filter_map(|interface| Some((interface.name, interface.addr?.ip())))
            .collect(),
        Err(error) => {
            tracing::debug!(%error, "this machine's interfaces cannot be listed");
            return wanted.to_vec();
        }
    };
    let mut bound = Vec::new();
    for address in wanted {
        if !address.ip().is_unspecified() {
            bound.push(*address);
            continue;
        }
        let chosen = choose(&found, address.is_ipv4(), outgoing(address.is_ipv4()));
        if chosen.is_empty() {
            bound.push(*address);
        }
        bound.extend(chosen.into_iter().map(|ip| SocketAddr::new(ip, address.port())));
    }
    bound
}

/// The address of this machine that packets to the internet carry. Nothing is sent.
fn outgoing(is_ipv4: bool) -> Option<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849): the default route leads there.
    let (own, far): (IpAddr, IpAddr) = if is_ipv4 {
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
    } else {
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
    };
    let socket = UdpSocket::bind((own, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// The addresses of one family to listen on, the best first.
fn choose(found: &[(String, IpAddr)], is_ipv4: bool, outgoing: Option<IpAddr>) -> Vec<IpAddr> {
    let mut candidates: Vec<&(String, IpAddr)> =
        found.iter().filter(|(_, ip)| ip.is_ipv4() == is_ipv4 && is_useful(*ip)).collect();
    let is_inner = |name: &str| INNER.iter().any(|inner| name.starts_with(inner));
    candidates.sort_by_key(|(name, ip)| (Some(*ip) != outgoing, is_inner(name)));
    let mut chosen: Vec<&(String, IpAddr)> = Vec::new();
    for candidate in candidates {
        let (name, ip) = candidate;
        let of_interface = chosen.iter().filter(|(of, _)| of == name).count();
        let is_known = chosen.iter().any(|(_, known)| known == ip);
        let is_needed = chosen.is_empty() || !is_inner(name);
        if !is_known && is_needed && of_interface < MAX_PER_INTERFACE {
            chosen.push(candidate);
        }
        if chosen.len() == MAX_ADDRESSES {
            break;
        }
    }
    chosen.into_iter().map(|(_, ip)| *ip).collect()
}

/// False for addresses that mean nothing to a peer: an IPv6 link-local one needs the name of an
/// interface, which differs at the other end.
fn is_useful(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || is_link_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn found(all: &[(&str, &str)]) -> Vec<(String, IpAddr)> {
        all.iter().map(|(name, address)| ((*name).to_owned(), ip(address))).collect()
    }

    #[test]
    fn the_way_out_comes_first_and_bridges_are_left_out() {
        let found = found(&[
            ("lo", "127.0.0.1"),
            ("docker0", "172.17.0.1"),
            ("tailscale0", "100.64.3.4"),
            ("eth0", "169.254.9.9"),
            ("wlan0", "192.168.1.5"),
            ("wlan0", "192.168.1.5"),
            ("br-12ab", "172.18.0.1"),
            ("eth0", "fe80::1"),
            ("eth0", "2001:db8::1"),
        ]);
        assert_eq!(
            choose(&found, true, Some(ip("192.168.1.5"))),
            [ip("192.168.1.5"), ip("100.64.3.4")]
        );
        assert_eq!(choose(&found, false, None), [ip("2001:db8::1")]);
    }

    #[test]
    fn a_bridge_is_better_than_nothing() {
        let found = found(&[("docker0", "172.17.0.1"), ("docker1", "172.18.0.1")]);
        assert_eq!(choose(&found, true, None), [ip("172.17.0.1")]);
        assert_eq!(choose(&found, false, None), [] as [IpAddr; 0]);
    }

    #[test]
    fn many_interfaces_and_addresses_are_bounded() {
        let mut all = Vec::new();
        for number in 0..40 {
            all.push((format!("dummy{number}"), ip(&format!("10.0.{number}.1"))));
            all.push(("eth0".to_owned(), ip(&format!("2001:db8::{number:x}"))));
        }
        let way_out = ip("10.0.39.1");
        let chosen = choose(&all, true, Some(way_out));
        assert_eq!((chosen.len(), chosen[0]), (MAX_ADDRESSES, way_out));
        let way_out = ip("2001:db8::20");
        let chosen = choose(&all, false, Some(way_out));
        assert_eq!((chosen.len(), chosen[0]), (MAX_PER_INTERFACE, way_out));
    }

    #[test]
    fn addresses_that_were_given_stay() {
        let given = [SocketAddr::from(([127, 0, 0, 1], 7))];
        assert_eq!(listen_on(&given), given);
    }
}
