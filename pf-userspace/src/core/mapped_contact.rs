//! A peer's Contact inside ours (ANS-12): the user part of the Contact that we give out holds the peer's URI,
//! readable by nobody but us. Nothing is stored, so it outlives the dialog and, as long as the key does, the process.
//!
//! The layout is a synthetic-IV construction: `tag = HMAC(uri)` cut to 16 octets, then the URI under a
//! key stream made from the tag; both in lower-case base32, because some elements change the case of user parts.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Octets of the tag.
const TAG: usize = 16;
/// The longest user part that is decoded, in octets.
const MAX_USER: usize = 16 * 1024;
/// Marks the layout, so that another may follow.
const PREFIX: &str = "mc1-";
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Wraps a URI into a SIP user part. The same URI under the same key gives the same text.
pub fn encode(secret: &[u8; 32], uri: &str) -> String {
    let tag = tag(secret, uri.as_bytes());
    let mut octets = tag.to_vec();
    octets.extend_from_slice(uri.as_bytes());
    apply_stream(secret, &tag, &mut octets[TAG..]);
    format!("{PREFIX}{}", base32(&octets))
}

/// Unwraps what [`encode`] made under the same key; `None` for anything else.
pub fn decode(secret: &[u8; 32], user: &str) -> Option<String> {
    let text = user.strip_prefix(PREFIX).filter(|_| user.len() <= MAX_USER)?;
    let mut octets = unbase32(text)?;
    let (tag, uri) = octets.split_at_mut_checked(TAG)?;
    apply_stream(secret, tag, uri);
    keyed(secret, b"pf mapped contact tag").chain_update(&*uri).verify_truncated_left(tag).ok()?;
    String::from_utf8(uri.to_vec()).ok()
}

fn tag(secret: &[u8; 32], uri: &[u8]) -> [u8; TAG] {
    let full = keyed(secret, b"pf mapped contact tag").chain_update(uri).finalize().into_bytes();
    let mut tag = [0; TAG];
    tag.copy_from_slice(&full[..TAG]);
    tag
}

fn apply_stream(secret: &[u8; 32], tag: &[u8], octets: &mut [u8]) {
    for (block, chunk) in octets.chunks_mut(32).enumerate() {
        let mac = keyed(secret, b"pf mapped contact stream").chain_update(tag);
        let stream = mac.chain_update((block as u64).to_be_bytes()).finalize().into_bytes();
        chunk.iter_mut().zip(stream).for_each(|(octet, key)| *octet ^= key);
    }
}

/// A keyed hash for one purpose, to be fed with what it is about.
pub(crate) fn keyed(secret: &[u8; 32], purpose: &[u8]) -> Hmac<Sha256> {
    let mut key = [0; 64];
    key[..32].copy_from_slice(secret);
    Hmac::<Sha256>::new(&key.into()).chain_update(purpose)
}

/// Lower-case base32 without padding (RFC 4648).
pub(crate) fn base32(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len().div_ceil(5) * 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in octets {
        bits = (bits << 8) | u32::from(*octet);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
        }
        bits &= (1 << held) - 1;
    }
    if held > 0 {
        out.push(char::from(ALPHABET[(bits << (5 - held)) as usize & 31]));
    }
    out
}

fn unbase32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 5 / 8);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for octet in text.bytes() {
        let value = match octet {
            b'a'..=b'z' => octet - b'a',
            b'A'..=b'Z' => octet - b'A',
            b'2'..=b'7' => octet - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5) | u32::from(value);
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    // What is left over are zero bits, fewer than a character's: else the same octets had two spellings.
    (held < 5 && bits == 0).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::sip::Uri;

    const KEY: [u8; 32] = [7; 32];

    // Rows: ANS-12
    #[test]
    fn contact_survives_as_a_sip_user_and_only_under_its_key() {
        let focus = "sip:conf-77;x=\"y\"@[2001:db8::7]:5070;transport=tcp;gr=urn:uuid:1?a=b";
        let user = encode(&KEY, focus);
        assert!(user.bytes().all(|o| o.is_ascii_alphanumeric() || o == b'-'), "{user}");
        let ours = Uri::parse(&format!("sip:{user}@10.0.0.1:5060;transport=tcp")).unwrap();
        assert_eq!(decode(&KEY, ours.user.as_deref().unwrap()).as_deref(), Some(focus));
        assert_eq!(decode(&KEY, &user.to_ascii_uppercase().replace("MC1-", "mc1-")).as_deref(), Some(focus));
        assert_eq!(decode(&[8; 32], &user), None);
        assert!(!user.contains(&base32(b"sip:conf")[..8]), "the URI does not show through");
        let long = format!("sip:{}@example.org", "x".repeat(4000));
        assert_eq!(decode(&KEY, &encode(&KEY, &long)), Some(long));
        for other in ["", "mc1-", "mc1-a", "ann", "mc1-aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "mc1-\u{e4}"] {
            assert_eq!(decode(&KEY, other), None, "{other}");
        }
    }

    proptest! {
        // Rows: ANS-12
        #[test]
        fn round_trip_and_no_tampering(uri in "\\PC{0,120}", at in any::<prop::sample::Index>(), other in 0_usize..31) {
            let user = encode(&KEY, &uri);
            prop_assert_eq!(decode(&KEY, &user), Some(uri));
            let mut octets = user.into_bytes();
            let at = PREFIX.len() + at.index(octets.len() - PREFIX.len());
            let old = ALPHABET.iter().position(|a| *a == octets[at]).unwrap();
            octets[at] = ALPHABET[(old + 1 + other) % 32];
            prop_assert_eq!(decode(&KEY, std::str::from_utf8(&octets).unwrap()), None);
        }

        #[test]
        fn any_text_is_survived(text in "(mc1-)?[a-z2-7\\PC]{0,80}") {
            prop_assert_eq!(decode(&KEY, &text), None);
        }
    }
}
