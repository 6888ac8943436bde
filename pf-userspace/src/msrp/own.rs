//! Our own addresses: nobody is connected to himself.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// What the relay listens on.
pub(super) struct Own {
    listening: Vec<SocketAddr>,
}

impl Own {
    pub(super) fn new(listening: &[SocketAddr]) -> Own {
        Own { listening: listening.to_vec() }
    }

    /// Would a connection to `to` come out at one of our listeners? A session whose path leads there could go round
    /// and round: MSRP counts no hops.
    pub(super) fn is(&self, to: SocketAddr) -> bool {
        let ip = to.ip().to_canonical();
        self.listening.iter().any(|listening| {
            let at = listening.ip();
            listening.port() == to.port()
                && (at == ip || ip.is_unspecified() || at.is_unspecified() && is_of_this_host(ip))
        })
    }
}

/// Only an address of this host can be bound.
fn is_of_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_addresses() {
        let own = |listening: &str, to: &str| Own::new(&[listening.parse().unwrap()]).is(to.parse().unwrap());
        assert!(own("127.0.0.1:2855", "127.0.0.1:2855"));
        assert!(own("127.0.0.1:2855", "[::ffff:127.0.0.1]:2855"));
        assert!(own("127.0.0.1:2855", "0.0.0.0:2855"));
        assert!(own("0.0.0.0:2855", "127.0.0.1:2855"));
        assert!(!own("127.0.0.1:2855", "127.0.0.1:2856"));
        assert!(!own("127.0.0.1:2855", "127.0.0.2:2855"));
        assert!(!own("0.0.0.0:2855", "192.0.2.1:2855"));
    }
}
