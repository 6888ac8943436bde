//! Digest authentication, client side (RFC 2617 as RFC 3261 section 22 uses it; MD5, `qop=auth` or none).

use anyhow::{Context, Result, ensure};
use md5::{Digest, Md5};

use super::digest_param;

/// User name and password.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
}

/// The value of Authorization or Proxy-Authorization that answers `challenge`.
pub fn authorization(credentials: &Credentials, challenge: &str, method: &str, uri: &str) -> Result<String> {
    ensure!(challenge.starts_with("Digest "), "not a Digest challenge: {challenge}");
    let realm = digest_param(challenge, "realm").context("challenge without realm")?;
    let nonce = digest_param(challenge, "nonce").context("challenge without nonce")?;
    let algorithm = digest_param(challenge, "algorithm").unwrap_or("MD5");
    ensure!(algorithm.eq_ignore_ascii_case("MD5"), "algorithm {algorithm} not known here");
    let Credentials { username, password } = credentials;
    let ha1 = hex(&format!("{username}:{realm}:{password}"));
    let ha2 = hex(&format!("{method}:{uri}"));
    let mut value = format!(
        "Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=MD5"
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

fn hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_example_of_rfc_2617_without_qop() {
        // RFC 2069 form of the example in RFC 2617 section 3.5.
        let credentials = Credentials { username: "Mufasa".into(), password: "Circle Of Life".into() };
        let challenge = r#"Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093""#;
        let value = authorization(&credentials, challenge, "GET", "/dir/index.html").unwrap();
        assert!(value.contains(r#"response="670fd8c2df070c60b045671b8b24ff02""#), "{value}");
    }
}
