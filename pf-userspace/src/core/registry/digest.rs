//! Digest authentication of users (RFC 3261 section 22, RFC 7616, RFC 8760): `401` as registrar, `407` as proxy.
//!
//! Nonces carry their time and our signature, so an unused one costs no memory. Of a used one we keep the highest
//! `nc` until it expires: a request that was seen before does not authenticate again.

use std::{collections::BTreeMap, time::Duration};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};

use crate::core::{
    Entropy, Time,
    config::{DigestAlgorithm, User},
    sip::{Request, Response, Uri, fields::split_list},
};

/// How long a nonce is good.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// The most used nonces remembered; when there are more, all that are out grow stale at once.
const MAX_USED: usize = 100_000;
/// The longest credentials that are looked at, in octets.
const MAX_CREDENTIALS: usize = 4096;

/// As what we ask for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asker {
    /// `407`, Proxy-Authenticate, Proxy-Authorization.
    Proxy,
    /// `401`, WWW-Authenticate, Authorization.
    Registrar,
}

impl Asker {
    const fn terms(self) -> (u16, &'static str, &'static str) {
        match self {
            Asker::Proxy => (407, "Proxy-Authenticate", "Proxy-Authorization"),
            Asker::Registrar => (401, "WWW-Authenticate", "Authorization"),
        }
    }
}

/// Asks for credentials and checks them.
#[derive(Debug)]
pub(crate) struct Authenticator {
    realm: String,
    /// Those we offer, in this order, and accept.
    algorithms: Vec<DigestAlgorithm>,
    by_name: BTreeMap<String, usize>,
    key: Option<[u8; 64]>,
    used: BTreeMap<String, u32>,
    not_before: Time,
}

impl Authenticator {
    pub(crate) fn new(realm: &str, algorithms: &[DigestAlgorithm], users: &[User]) -> Authenticator {
        Authenticator {
            realm: realm.replace(['"', '\\'], ""),
            algorithms: algorithms.to_vec(),
            by_name: by_name(users),
            key: None,
            used: BTreeMap::new(),
            not_before: Time::ZERO,
        }
    }

    /// The users are these from now on; what was challenged before may still be answered.
    pub(crate) fn set_users(&mut self, users: &[User]) {
        self.by_name = by_name(users);
    }

    /// The user (index) whose credentials the request carries, or the challenge to answer with.
    pub(crate) fn authenticate(
        &mut self,
        now: Time,
        entropy: &mut dyn Entropy,
        users: &[User],
        request: &Request,
        asker: Asker,
    ) -> Result<usize, Response> {
        let (_, _, header) = asker.terms();
        let all = request.headers.all(header).take(4).filter_map(Credentials::parse);
        let ours: Vec<Credentials<'_>> =
            all.filter(|c| c.realm == self.realm && self.algorithms.contains(&c.algorithm)).collect();
        let mut stale = false;
        for credentials in ours {
            let Some((index, user)) =
                self.by_name.get(credentials.username).and_then(|i| Some((*i, users.get(*i)?)))
            else {
                continue;
            };
            if !same_resource(credentials.uri, &request.uri)
                || !credentials.proves(&user.password, request.method.as_str())
            {
                continue;
            }
            if self.take(now, &credentials) {
                return Ok(index);
            }
            stale = true;
        }
        Err(self.challenge(now, entropy, asker, stale))
    }

    /// Is the nonce ours and fresh, and the count new? Then it is used up.
    fn take(&mut self, now: Time, credentials: &Credentials<'_>) -> bool {
        let Some(issued) = self.issued(credentials.nonce) else { return false };
        if issued < self.not_before || now >= issued + NONCE_LIFE {
            return false;
        }
        while let Some((oldest, _)) = self.used.first_key_value() {
            if nonce_time(oldest).is_some_and(|issued| now < issued + NONCE_LIFE) {
                break;
            }
            self.used.pop_first();
        }
        if let Some(highest) = self.used.get_mut(credentials.nonce) {
            let new = credentials.nc > *highest;
            *highest = credentials.nc.max(*highest);
            return new;
        }
        if self.used.len() >= MAX_USED {
            self.used.clear();
            self.not_before = now;
            return false;
        }
        self.used.insert(credentials.nonce.to_owned(), credentials.nc);
        credentials.nc > 0
    }

    fn challenge(&mut self, now: Time, entropy: &mut dyn Entropy, asker: Asker, stale: bool) -> Response {
        let key = self.key.get_or_insert_with(|| {
            let mut key = [0; 64];
            entropy.fill(&mut key[..32]);
            key
        });
        let head = format!("{:016x}{}", now.since_start().as_millis() as u64, entropy.token(16));
        let nonce = format!("{head}{}", hex(&sign(key, &head).finalize().into_bytes()[..16]));
        let (status, name, _) = asker.terms();
        let stale = if stale { ", stale=true" } else { "" };
        // The one we prefer first (RFC 8760 section 2.4).
        self.algorithms.iter().map(|algorithm| algorithm.as_str()).fold(
            Response::new(status),
            |response, algorithm| {
                let realm = &self.realm;
                let value = format!(
                    "Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\", algorithm={algorithm}{stale}"
                );
                response.with(name, value)
            },
        )
    }

    /// When we gave this nonce out; `None` if we did not.
    fn issued(&self, nonce: &str) -> Option<Time> {
        let (head, signature) = nonce.split_at_checked(32)?;
        let right = hex(&sign(self.key.as_ref()?, head).finalize().into_bytes()[..16]);
        same_octets(right.as_bytes(), signature.as_bytes()).then(|| nonce_time(head))?
    }
}

fn by_name(users: &[User]) -> BTreeMap<String, usize> {
    users.iter().enumerate().map(|(index, user)| (user.username.clone(), index)).collect()
}

fn sign(key: &[u8; 64], text: &str) -> Hmac<Sha256> {
    Hmac::<Sha256>::new(key.into()).chain_update(text)
}

fn nonce_time(nonce: &str) -> Option<Time> {
    let millis = u64::from_str_radix(nonce.get(..16)?, 16).ok()?;
    Some(Time::from_start(Duration::from_millis(millis)))
}

/// The digest-uri against the Request-URI: proxies on the way may have changed parameters and port.
fn same_resource(digest_uri: &str, request_uri: &str) -> bool {
    if digest_uri == request_uri {
        return true;
    }
    match (Uri::parse(digest_uri), Uri::parse(request_uri)) {
        (Ok(a), Ok(b)) => a.scheme == b.scheme && a.user == b.user && a.host == b.host,
        _ => false,
    }
}

/// Credentials with `qop=auth`; what has other terms is no credential for us.
struct Credentials<'a> {
    algorithm: DigestAlgorithm,
    cnonce: &'a str,
    nc: u32,
    nc_text: &'a str,
    nonce: &'a str,
    realm: &'a str,
    response: &'a str,
    uri: &'a str,
    username: &'a str,
}

impl<'a> Credentials<'a> {
    fn parse(value: &'a str) -> Option<Credentials<'a>> {
        let (scheme, rest) = value.trim().split_once(|c: char| c.is_ascii_whitespace())?;
        if !scheme.eq_ignore_ascii_case("Digest") || value.len() > MAX_CREDENTIALS {
            return None;
        }
        let fields: Vec<(&str, &str)> = split_list(rest)
            .filter_map(|field| field.split_once('='))
            .map(|(name, value)| (name.trim(), crate::core::sip::fields::unquote(value.trim())))
            .collect();
        let field = |name: &str| fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| *v);
        let algorithm = field("algorithm").unwrap_or(DigestAlgorithm::Md5.as_str());
        let algorithm =
            DigestAlgorithm::ALL.into_iter().find(|known| algorithm.eq_ignore_ascii_case(known.as_str()))?;
        field("qop").filter(|qop| qop.eq_ignore_ascii_case("auth"))?;
        let nc_text = field("nc").filter(|nc| nc.len() == 8 && nc.bytes().all(|o| o.is_ascii_hexdigit()))?;
        Some(Credentials {
            algorithm,
            cnonce: field("cnonce")?,
            nc: u32::from_str_radix(nc_text, 16).ok()?,
            nc_text,
            nonce: field("nonce")?,
            realm: field("realm")?,
            response: field("response")?,
            uri: field("uri")?,
            username: field("username")?,
        })
    }

    /// Is the response the one that only the user's password gives?
    fn proves(&self, password: &str, method: &str) -> bool {
        let right = match self.algorithm {
            DigestAlgorithm::Md5 => self.expected::<Md5>(password, method),
            DigestAlgorithm::Sha256 => self.expected::<Sha256>(password, method),
        };
        same_octets(right.as_bytes(), self.response.to_ascii_lowercase().as_bytes())
    }

    fn expected<D: Digest>(&self, password: &str, method: &str) -> String {
        let a1 = hex(&D::digest(format!("{}:{}:{password}", self.username, self.realm)));
        let a2 = hex(&D::digest(format!("{method}:{}", self.uri)));
        hex(&D::digest(format!("{a1}:{}:{}:{}:auth:{a2}", self.nonce, self.nc_text, self.cnonce)))
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().flat_map(|o| [o >> 4, o & 15]).filter_map(|d| char::from_digit(d.into(), 16)).collect()
}

/// Compares in a time that depends on the lengths only.
fn same_octets(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::{entropy::SeededEntropy, sip::Method};

    /// What a client sends for the challenge in `response`: `Digest ...` with the algorithm of the n-th challenge.
    pub(crate) fn answer(
        response: &Response,
        which: usize,
        nc: u32,
        request: &Request,
        user: &User,
    ) -> String {
        let name = if response.status == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let challenge = response.headers.all(name).nth(which).unwrap();
        let field = |name: &str| {
            let (_, rest) = challenge.split_once(&format!("{name}=")).unwrap();
            rest.split(',').next().unwrap().trim_matches('"').to_owned()
        };
        let (realm, nonce, algorithm) = (field("realm"), field("nonce"), field("algorithm"));
        let (name, uri) = (&user.username, &request.uri);
        let head = format!(
            "Digest username=\"{name}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             algorithm={algorithm}, qop=auth, nc={nc:08x}, cnonce=\"0a4f113b\""
        );
        let blank = format!("{head}, response=\"\"");
        let credentials = Credentials::parse(&blank).unwrap();
        let method = request.method.as_str();
        let proof = match credentials.algorithm {
            DigestAlgorithm::Md5 => credentials.expected::<Md5>(&user.password, method),
            DigestAlgorithm::Sha256 => credentials.expected::<Sha256>(&user.password, method),
        };
        format!("{head}, response=\"{proof}\"")
    }

    fn users() -> Vec<User> {
        let user = |name: &str| User {
            addresses: vec![format!("sip:{name}@example.org")],
            username: name.to_owned(),
            password: format!("{name}'s"),
            preferences: Default::default(),
        };
        vec![user("ann"), user("bob")]
    }

    fn at(seconds: u64) -> Time {
        Time::from_start(Duration::from_secs(seconds))
    }

    /// The example of RFC 7616 section 3.9.1.
    #[test]
    fn responses_are_those_of_the_rfc() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", \
                 algorithm={algorithm}, nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let credentials = Credentials::parse(&value).unwrap();
            assert!(credentials.proves("Circle of Life", "GET"), "{algorithm}");
            assert!(!credentials.proves("Circle of Strife", "GET"));
            assert!(!credentials.proves("Circle of Life", "PUT"));
        }
    }

    #[test]
    fn a_challenge_is_met_once_per_count_and_while_it_is_fresh() {
        let (users, entropy) = (users(), &mut SeededEntropy(1));
        let mut authenticator = Authenticator::new("example.org", &DigestAlgorithm::ALL, &users);
        let mut request = Request::new(Method::Register, "sip:example.org");
        let ask = |a: &mut Authenticator, e: &mut SeededEntropy, now, r: &Request| {
            a.authenticate(now, e, &users, r, Asker::Registrar)
        };
        let challenge = ask(&mut authenticator, entropy, at(0), &request).unwrap_err();
        assert_eq!(challenge.status, 401);
        let offered: Vec<_> = challenge.headers.all("WWW-Authenticate").collect();
        assert!(offered[0].contains("algorithm=SHA-256") && offered[1].contains("algorithm=MD5"));
        assert!(!offered[0].contains("stale") && offered[0].contains("realm=\"example.org\""));
        let stale =
            |refusal: Response| refusal.headers.get("WWW-Authenticate").unwrap().contains("stale=true");
        let mut send = |now, value: String| {
            request.headers.set("Authorization", value);
            ask(&mut authenticator, entropy, now, &request)
        };
        let request = Request::new(Method::Register, "sip:example.org");
        let value = |which, nc, user: usize| answer(&challenge, which, nc, &request, &users[user]);
        assert_eq!(send(at(1), value(0, 1, 0)).unwrap(), 0);
        assert!(stale(send(at(1), value(0, 1, 0)).unwrap_err()), "the same count again is a replay");
        assert_eq!(send(at(2), value(1, 2, 1)).unwrap(), 1, "MD5 serves as well");
        assert!(stale(send(at(2), value(0, 1, 0)).unwrap_err()), "a lower count is one too");
        assert!(stale(send(at(300), value(0, 3, 0)).unwrap_err()), "a nonce ends");
        assert!(!stale(send(at(3), value(0, 4, 0).replace("response=\"", "response=\"0")).unwrap_err()));
        assert!(!stale(send(at(3), value(0, 4, 0).replace("username=\"ann", "username=\"bob")).unwrap_err()));
        let forged = value(0, 5, 0).replace("nonce=\"00", "nonce=\"0f");
        assert!(send(at(3), forged).is_err(), "a nonce that is not ours");
        let elsewhere = Request::new(Method::Register, "sip:other.example");
        assert!(send(at(3), answer(&challenge, 0, 6, &elsewhere, &users[0])).is_err());
        assert!(send(at(3), value(0, 7, 0).replace("qop=auth, ", "")).is_err());
    }

    #[test]
    fn the_configured_algorithms_are_offered_in_their_order_and_no_other_is_accepted() {
        use DigestAlgorithm::{Md5, Sha256};
        let (users, entropy) = (users(), &mut SeededEntropy(4));
        let offered = |challenge: &Response| -> Vec<String> {
            let values = challenge.headers.all("WWW-Authenticate");
            values.map(|value| value.split_once("algorithm=").unwrap().1.to_owned()).collect()
        };
        for (algorithms, names) in [
            (vec![Md5, Sha256], vec!["MD5", "SHA-256"]),
            (vec![Sha256, Md5], vec!["SHA-256", "MD5"]),
            (vec![Md5], vec!["MD5"]),
            (vec![Sha256], vec!["SHA-256"]),
        ] {
            let mut authenticator = Authenticator::new("example.org", &algorithms, &users);
            let blank = Request::new(Method::Register, "sip:example.org");
            let mut send = |request: &Request| {
                authenticator.authenticate(at(1), entropy, &users, request, Asker::Registrar)
            };
            let challenge = send(&blank).unwrap_err();
            assert_eq!(offered(&challenge), names);
            // Each of the two, offered or not, and none named, which means MD5 (RFC 7616 section 3.3).
            for (nc, algorithm, named) in [(1, Sha256, true), (2, Md5, true), (3, Md5, false)] {
                let value = challenge.headers.get("WWW-Authenticate").unwrap();
                let chosen = value.replace(names[0], algorithm.as_str());
                let chosen = Response::new(401).with("WWW-Authenticate", chosen);
                let mut credentials = answer(&chosen, 0, nc, &blank, &users[0]);
                if !named {
                    credentials = credentials.replace("algorithm=MD5, ", "");
                }
                assert_eq!(credentials.contains("algorithm"), named);
                let mut answered = blank.clone();
                answered.headers.push("Authorization", credentials);
                match send(&answered) {
                    Ok(user) => assert!(user == 0 && algorithms.contains(&algorithm), "{algorithm:?}"),
                    Err(again) => {
                        assert!(!algorithms.contains(&algorithm), "{algorithm:?}");
                        assert_eq!(offered(&again), names);
                    }
                }
            }
        }
    }

    #[test]
    fn a_full_memory_of_used_nonces_makes_them_all_stale() {
        let mut authenticator = Authenticator::new("r", &DigestAlgorithm::ALL, &[]);
        let entropy = &mut SeededEntropy(3);
        let mut nonce = |a: &mut Authenticator, now| {
            let challenge = a.challenge(now, entropy, Asker::Proxy, false);
            let value = challenge.headers.get("Proxy-Authenticate").unwrap().to_owned();
            value.split('"').nth(3).unwrap().to_owned()
        };
        let old = nonce(&mut authenticator, at(1));
        let more = nonce(&mut authenticator, at(1));
        for n in 0..MAX_USED {
            authenticator.used.insert(format!("{:016x}{n}", 1000), 1);
        }
        let credentials = |nonce: &str| {
            format!(
                "Digest username=\"u\", realm=\"r\", nonce=\"{nonce}\", uri=\"sip:r\", qop=auth, nc=00000001, \
                 cnonce=\"c\", response=\"\""
            )
        };
        assert!(!authenticator.take(at(2), &Credentials::parse(&credentials(&old)).unwrap()));
        assert!(!authenticator.take(at(3), &Credentials::parse(&credentials(&more)).unwrap()));
        let new = nonce(&mut authenticator, at(3));
        assert!(authenticator.take(at(4), &Credentials::parse(&credentials(&new)).unwrap()));
        assert_eq!(authenticator.used.len(), 1);
        assert!(!authenticator.take(at(4), &Credentials::parse(&credentials(&new)).unwrap()));
        let later = nonce(&mut authenticator, at(400));
        assert!(authenticator.take(at(401), &Credentials::parse(&credentials(&later)).unwrap()));
        assert_eq!(authenticator.used.len(), 1, "what has ended is forgotten");
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(Digest )?([a-z]{1,8}=\"?[a-f0-9\\PC]{0,20}\"?,? ?){0,8}", nonce in "\\PC{0,80}") {
            let _ = Credentials::parse(&text).map(|c| c.proves("x", "INVITE"));
            let users = users();
            let mut authenticator = Authenticator::new("r", &DigestAlgorithm::ALL, &users);
            let mut request = Request::new(Method::Invite, "sip:b@r");
            let _ = authenticator.authenticate(at(0), &mut SeededEntropy(2), &users, &request, Asker::Proxy);
            prop_assert_eq!(authenticator.issued(&nonce), None);
            request.headers.push("Proxy-Authorization", text);
            prop_assert!(authenticator.authenticate(at(0), &mut SeededEntropy(2), &users, &request, Asker::Proxy).is_err());
        }
    }
}
