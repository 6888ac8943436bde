//! From a hop to addresses (RFC 3263): numeric hosts at once, names by the system's resolver (A and AAAA).
//! NAPTR and SRV records are not asked for yet: a name without a port means port 5060.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::core::{event::Transport, sip::Uri};

/// How long a name's addresses are used again.
const FRESH: Duration = Duration::from_secs(10);
/// How many names are remembered.
const MAX_KNOWN: usize = 1024;
/// How long a lookup may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a URI points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The transport it asks for, if it does.
    pub(crate) transport: Option<Transport>,
    pub(crate) host: Host,
    pub(crate) port: u16,
}

/// A host in a URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}

/// Reads a hop's URI.
pub(crate) fn place(uri: &str) -> Result<Place, String> {
    let uri = uri.trim();
    let uri = uri.strip_prefix('<').and_then(|u| u.split('>').next()).unwrap_or(uri);
    let parsed = Uri::parse(uri).map_err(|error| format!("{uri}: {error}"))?;
    if parsed.scheme == "sips" {
        return Err("TLS is not supported for SIP".to_owned());
    }
    if parsed.scheme != "sip" {
        return Err(format!("no way to a {} URI", parsed.scheme));
    }
    let transport = match parsed.param("transport").map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => None,
        Some("udp") => Some(Transport::Udp),
        Some("tcp") => Some(Transport::Tcp),
        Some(other) => return Err(format!("transport {other} is not supported for SIP")),
    };
    let host = parsed.param("maddr").filter(|m| !m.is_empty()).unwrap_or(&parsed.host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.parse().map(Host::Address).unwrap_or_else(|_| Host::Name(host.to_owned()));
    Ok(Place { transport, host, port: parsed.port.unwrap_or(5060) })
}

/// Looked-up names, remembered for a while.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Mutex<HashMap<String, (Vec<IpAddr>, Instant)>>,
}

impl Names {
    /// The addresses of a name, if they are known.
    pub(crate) fn known(&self, name: &str) -> Option<Vec<IpAddr>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (addresses, at) = known.get(name)?;
        (at.elapsed() < FRESH).then(|| addresses.clone())
    }

    /// Asks the system's resolver.
    pub(crate) async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        let answer = match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((name, 0))).await {
            Ok(Ok(answer)) => answer.map(|a: SocketAddr| a.ip()).collect::<Vec<_>>(),
            Ok(Err(error)) => return Err(format!("{name}: {error}")),
            Err(_) => return Err(format!("{name}: the resolver does not answer")),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(name.to_owned(), (answer.clone(), Instant::now()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let at = |uri| place(uri).unwrap();
        let v4 = Host::Address("10.0.0.1".parse().unwrap());
        assert_eq!(at("sip:u@10.0.0.1"), Place { transport: None, host: v4.clone(), port: 5060 });
        assert_eq!(
            at("<sip:[2001:db8::1]:5070;lr;transport=TCP>"),
            Place {
                transport: Some(Transport::Tcp),
                host: Host::Address("2001:db8::1".parse().unwrap()),
                port: 5070
            }
        );
        assert_eq!(at("sip:far.example;maddr=10.0.0.1").host, v4);
        assert_eq!(at("sip:%40a@far.example:7").host, Host::Name("far.example".to_owned()));
        for bad in ["tel:+1", "sips:a@b", "sip:a@b;transport=sctp", "mailto:a@b", "", "sip:a@b;transport=tls"]
        {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
