//! The addresses that peers shall use.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::{
    config::Config,
    core::{
        config::{MsrpAddress, SipAddress},
        event::Transport,
    },
};

/// Our SIP addresses as peers shall see them, from those really bound.
pub(super) fn sip(config: &Config, bound: &[(Transport, SocketAddr)]) -> Vec<SipAddress> {
    bound
        .iter()
        .map(|(transport, addr)| SipAddress {
            transport: *transport,
            bound: *addr,
            host: config.sip.advertise.clone().unwrap_or_else(|| reachable(addr.ip()).to_string()),
            port: addr.port(),
        })
        .collect()
}

/// Our MSRP addresses as peers shall see them, from those really bound.
pub(super) fn msrp(config: &Config, bound: &[SocketAddr]) -> Vec<MsrpAddress> {
    let advertised = |addr: &SocketAddr| {
        let same_family = |ip: &IpAddr| ip.is_ipv4() == addr.is_ipv4();
        let of_sip = config.sip.advertise.as_deref().and_then(|host| host.parse::<IpAddr>().ok());
        config
            .msrp
            .advertise
            .filter(|ip| same_family(ip) || bound.len() == 1)
            .or_else(|| of_sip.filter(|ip| addr.ip().is_unspecified() && same_family(ip)))
    };
    bound
        .iter()
        .map(|addr| MsrpAddress {
            host: advertised(addr).unwrap_or_else(|| reachable(addr.ip())),
            port: addr.port(),
        })
        .collect()
}

/// The address itself, or for a wildcard the one of this host that its route to the outside begins at.
fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // Connecting a UDP socket asks the routing table and sends nothing. The addresses are of the documentation
    // ranges (RFC 5737, RFC 3849): no host has them, so that they stand for "the outside".
    let outside: SocketAddr = match ip {
        IpAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1), 9).into(),
        IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
    };
    let routed = UdpSocket::bind((ip, 0))
        .and_then(|socket| socket.connect(outside).and_then(|()| socket.local_addr()))
        .map(|local| local.ip());
    routed.unwrap_or(match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn peers_get_the_bound_address_unless_another_is_advertised() {
        let mut config = Config::default();
        let bound = [(Transport::Udp, addr("127.0.0.1:40001"))];
        let plain = sip(&config, &bound);
        assert_eq!((plain[0].host.as_str(), plain[0].port), ("127.0.0.1", 40001));
        config.sip.advertise = Some("pf.example.org".into());
        assert_eq!(sip(&config, &bound)[0].host, "pf.example.org");
        assert_eq!(msrp(&config, &[addr("127.0.0.1:2855")])[0].host, addr("127.0.0.1:1").ip());
        config.msrp.advertise = Some([192, 0, 2, 7].into());
        assert_eq!(msrp(&config, &[addr("127.0.0.1:2855")])[0].host, addr("192.0.2.7:1").ip());
    }

    #[test]
    fn a_wildcard_never_reaches_a_peer() {
        let mut config = Config::default();
        let bound = [addr("0.0.0.0:2855"), addr("[::]:2855")];
        assert!(msrp(&config, &bound).iter().all(|a| !a.host.is_unspecified()));
        assert!(sip(&config, &[(Transport::Tcp, bound[0])]).iter().all(|a| a.host != "0.0.0.0"));
        config.sip.advertise = Some("192.0.2.7".into());
        assert_eq!(msrp(&config, &bound[..1])[0].host, addr("192.0.2.7:1").ip());
    }

    #[test]
    fn an_advertised_address_serves_its_own_family_only() {
        let mut config = Config::default();
        config.msrp.advertise = Some([192, 0, 2, 7].into());
        let hosts = msrp(&config, &[addr("127.0.0.1:1"), addr("[::1]:1")]);
        assert_eq!(hosts[0].host, addr("192.0.2.7:1").ip());
        assert_eq!(hosts[1].host, addr("[::1]:1").ip());
    }
}
