//! Digest authentication, client side (RFC 3261 section 22, RFC 8760): MD5 or SHA-256, `qop=auth` or none.

use anyhow::{Context, Result};
use md5::{Digest, Md5};
use sha2::Sha256;

use super::digest_param;

/// User name and password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// The value of Authorization or Proxy-Authorization that answers the first of `challenges` with an algorithm known
/// here (RFC 8760 section 2.4).
pub fn authorization(
    credentials: &Credentials,
    challenges: &[&str],
    method: &str,
    uri: &str,
) -> Result<String> {
    let known = challenges.iter().find_map(|challenge| {
        let algorithm = digest_param(challenge, "algorithm").unwrap_or("MD5");
        let hash = [("MD5", hex::<Md5> as Hash), ("SHA-256", hex::<Sha256> as Hash)]
            .into_iter()
            .find(|(name, _)| algorithm.eq_ignore_ascii_case(name))?;
        challenge.starts_with("Digest ").then_some((*challenge, hash))
    });
    let (challenge, (algorithm, hex)) =
        known.with_context(|| format!("no challenge that can be answered: {challenges:?}"))?;
    let realm = digest_param(challenge, "realm").context("challenge without realm")?;
    let nonce = digest_param(challenge, "nonce").context("challenge without nonce")?;
    let Credentials { username, password } = credentials;
    let ha1 = hex(&format!("{username}:{realm}:{password}"));
    let ha2 = hex(&format!("{method}:{uri}"));
    let mut value = format!(
        "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm={algorithm}"
    );
    let qop = digest_param(challenge, "qop").map(|q| q.split(',').any(|one| one.trim() == "auth"));
    if qop == Some(true) {
        let cnonce = crate::token(8);
        let response = hex(&format!("{ha1}:{nonce}:00000001:{cnonce}:auth:{ha2}"));
        value.push_str(&format!(", qop=auth, nc=00000001, cnonce=\"{cnonce}\", response=\"{response}\""));
    } else {
        value.push_str(&format!(", response=\"{}\"", hex(&format!("{ha1}:{nonce}:{ha2}"))));
    }
    if let Some(opaque) = digest_param(challenge, "opaque") {
        value.push_str(&format!(", opaque=\"{opaque}\""));
    }
    Ok(value)
}

type Hash = fn(&str) -> String;

fn hex<D: Digest>(text: &str) -> String {
    D::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_example_of_rfc_2617_without_qop() {
        // RFC 2069 form of the example in RFC 2617 section 3.5.
        let credentials = Credentials { username: "Mufasa".into(), password: "Circle Of Life".into() };
        let challenge = r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#;
        let value = authorization(&credentials, &[challenge], "GET", "/dir/index.html").unwrap();
        assert!(value.contains(r#"response="670fd8c2df070c60b045671b8b24ff02""#), "{value}");
    }

    #[test]
    fn the_first_known_algorithm_is_taken() {
        let credentials = Credentials { username: "a".into(), password: "b".into() };
        let challenges = [
            r#"Digest realm="r", nonce="n", algorithm=SHA-512-256"#,
            r#"Digest realm="r", nonce="n", algorithm=SHA-256"#,
            r#"Digest realm="r", nonce="n", algorithm=MD5"#,
        ];
        let value = authorization(&credentials, &challenges, "REGISTER", "sip:x").unwrap();
        assert!(value.contains("algorithm=SHA-256"), "{value}");
        assert!(authorization(&credentials, &challenges[..1], "REGISTER", "sip:x").is_err());
    }
}
