//! Via values (RFC 3261 section 20.42) and the parameters that a receiver adds to them (RFC 3581).

use std::net::{IpAddr, SocketAddr};

use crate::core::sip::{
    Headers,
    fields::{params_text, parse_params, split_host_port, split_list},
};

/// One Via value taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    /// Everything before the parameters, blanks normalised: `SIP/2.0/UDP host:port`.
    sent: String,
    /// Host of sent-by, without brackets.
    pub(crate) host: String,
    /// Port of sent-by.
    pub(crate) port: Option<u16>,
    params: Vec<(String, Option<String>)>,
}

impl Via {
    /// Reads one value; `None` where it is no Via of SIP/2.0.
    pub(crate) fn parse(value: &str) -> Option<Via> {
        let (name, rest) = value.split_once('/')?;
        let (version, rest) = rest.split_once('/')?;
        if !name.trim().eq_ignore_ascii_case("SIP") || version.trim() != "2.0" {
            return None;
        }
        let rest = rest.trim_start();
        let (protocol, rest) = rest.split_once([' ', '\t'])?;
        let (sent_by, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
        let sent_by: String = sent_by.split_ascii_whitespace().collect();
        let (host, port) = split_host_port(&sent_by)?;
        if host.is_empty() || protocol.is_empty() {
            return None;
        }
        Some(Via {
            sent: format!("SIP/2.0/{protocol} {sent_by}"),
            host: host.to_ascii_lowercase(),
            port,
            params: parse_params(params),
        })
    }

    /// The topmost Via of a message.
    pub(crate) fn top(headers: &Headers) -> Option<Via> {
        Via::parse(split_list(headers.get("Via")?).next()?)
    }

    /// A parameter; `Some("")` for one without value.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_deref().unwrap_or_default().trim())
    }

    /// The transaction's name; empty for peers of RFC 2543.
    pub(crate) fn branch(&self) -> &str {
        self.param("branch").unwrap_or_default()
    }

    /// Where a response over UDP goes (RFC 3261 section 18.2.2, RFC 3581 section 4): always to the address
    /// that the request came from, so that a forged Via aims nothing at others (`maddr` is not followed).
    pub(crate) fn reply_to(&self, source: SocketAddr) -> SocketAddr {
        match self.param("rport") {
            Some(_) => source,
            None => SocketAddr::new(source.ip(), self.port.unwrap_or(5060)),
        }
    }

    /// Adds `received` and fills in `rport` (RFC 3581 section 4), taking off what the sender claimed.
    fn received(&mut self, source: SocketAddr) {
        self.params.retain(|(n, _)| !n.eq_ignore_ascii_case("received"));
        let mut wants_port = false;
        for (name, value) in &mut self.params {
            if name.eq_ignore_ascii_case("rport") {
                wants_port = true;
                *value = Some(source.port().to_string());
            }
        }
        if wants_port || self.host.parse::<IpAddr>() != Ok(source.ip()) {
            self.params.push(("received".to_owned(), Some(source.ip().to_string())));
        }
    }

    fn text(&self) -> String {
        format!("{}{}", self.sent, params_text(&self.params))
    }
}

/// Puts `received` and `rport` into the topmost Via and gives it back. `None`: there is no usable Via.
pub(crate) fn stamp_received(headers: &mut Headers, source: SocketAddr) -> Option<Via> {
    let field = headers.0.iter_mut().find(|h| h.is("Via"))?;
    let mut values = split_list(&field.value);
    let mut via = Via::parse(values.next()?)?;
    via.received(source);
    let text = values.fold(via.text(), |text, value| text + ", " + value);
    field.value = text;
    Some(via)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn via_with_blanks_ipv6_and_parameters() {
        let via =
            Via::parse("SIP / 2.0 / UDP  first.Example.com: 4000;ttl=16 ;branch=z9hG4bK.1 ;rport").unwrap();
        assert_eq!(
            (via.host.as_str(), via.port, via.branch()),
            ("first.example.com", Some(4000), "z9hG4bK.1")
        );
        assert_eq!(via.reply_to("10.0.0.9:7".parse().unwrap()), "10.0.0.9:7".parse().unwrap());
        let v6 = Via::parse("SIP/2.0/TCP [2001:DB8::1];branch=x").unwrap();
        assert_eq!((v6.host.as_str(), v6.port), ("2001:db8::1", None));
        for bad in ["SIP/7.0/UDP a", "SIP/2.0 a", "SIP/2.0/UDP ;branch=1", "", "SIP/2.0/UDP a:99999"] {
            assert_eq!(Via::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn received_and_rport_are_the_sockets_truth() {
        let mut headers = Headers::default();
        headers.push(
            "v",
            "SIP/2.0/UDP h.example;received=6.6.6.6;rport;branch=z9hG4bKa, SIP/2.0/TCP p;branch=z9hG4bKb",
        );
        let via = stamp_received(&mut headers, "[::1]:777".parse().unwrap()).unwrap();
        assert_eq!(via.param("rport"), Some("777"));
        assert_eq!(
            headers.get("Via"),
            Some(
                "SIP/2.0/UDP h.example;rport=777;branch=z9hG4bKa;received=::1, SIP/2.0/TCP p;branch=z9hG4bKb"
            )
        );
        let mut plain = Headers::default();
        plain.push("Via", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa");
        let via = stamp_received(&mut plain, "10.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(plain.get("Via"), Some("SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKa"));
        assert_eq!(via.reply_to("10.0.0.1:9".parse().unwrap()), "10.0.0.1:5060".parse().unwrap());
    }
}
