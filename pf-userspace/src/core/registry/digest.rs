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
    config::User,
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
    by_name: BTreeMap<String, usize>,
    key: Option<[u8; 64]>,
    used: BTreeMap<String, u32>,
    not_before: Time,
}

impl Authenticator {
    pub(crate) fn new(realm: &str, users: &[User]) -> Authenticator {
        Authenticator {
            realm: realm.replace(['"', '\\'], ""),
            by_name: users.iter().enumerate().map(|(index, user)| (user.username.clone(), index)).collect(),
            key: None,
            used: BTreeMap::new(),
            not_before: Time::ZERO,
        }
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
        let ours: Vec<Credentials<'_>> = all.filter(|c| c.realm == self.realm).collect();
        let mut stale = false;
        for credentials in ours {
            let Some((index, user)) =
                self.by_name.get(credentials.username).and_then(|i| Some((*i, users.get(*i)?)))
            else {
                continue;
            };
            if !same_resource(credentials.uri, &request.uri) || !credentials.proves(user, request) {
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
        // The best algorithm first (RFC 8760 section 2.4).
        ["SHA-256", "MD5"].iter().fold(Response::new(status), |response, algorithm| {
            let realm = &self.realm;
            let value = format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", qop=\"auth\", algorithm={algorithm}{stale}"
            );
            response.with(name, value)
        })
    }

    /// When we gave this nonce out; `None` if we did not.
    fn issued(&self, nonce: &str) -> Option<Time> {
        let (head, signature) = nonce.split_at_checked(32)?;
        let right = hex(&sign(self.key.as_ref()?, head).finalize().into_bytes()[..16]);
        same_octets(right.as_bytes(), signature.as_bytes()).then(|| nonce_time(head))?
    }
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
    algorithm: Algorithm,
    cnonce: &'a str,
    nc: u32,
    nc_text: &'a str,
    nonce: &'a str,
    realm: &'a str,
    response: &'a str,
    uri: &'a str,
    username: &'a str,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Md5,
    Sha256,
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
        let algorithm = match field("algorithm") {
            None => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("MD5") => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
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
    fn proves(&self, user: &User, request: &Request) -> bool {
        let right = match self.algorithm {
            Algorithm::Md5 => self.expected::<Md5>(user, request),
            Algorithm::Sha256 => self.expected::<Sha256>(user, request),
        };
        same_octets(right.as_bytes(), self.response.to_ascii_lowercase().as_bytes())
    }

    fn expected<D: Digest>(&self, user: &User, request: &Request) -> String {
        let a1 = hex(&D::digest(format!("{}:{}:{}", self.username, self.realm, user.password)));
        let a2 = hex(&D::digest(format!("{}:{}", request.method, self.uri)));
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
