//! Transaction ids and Message-IDs.

use core::fmt;

use super::{IDENT_MAX, IDENT_MIN};

/// An `ident` (RFC 4975 section 9): 4 to 32 octets, compared octet by octet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ident {
    // Unused octets are zero, so that the derived comparison holds.
    octets: [u8; IDENT_MAX],
    len: u8,
}

impl Ident {
    /// Reads an `ident`; nothing when its length or an octet is not allowed.
    pub fn parse(text: &[u8]) -> Option<Ident> {
        let (first, rest) = text.split_first()?;
        let fits = (IDENT_MIN..=IDENT_MAX).contains(&text.len());
        if !fits || !first.is_ascii_alphanumeric() || !rest.iter().all(|o| IDENT_CHARS[usize::from(*o)]) {
            return None;
        }
        let mut octets = [0; IDENT_MAX];
        octets.get_mut(..text.len())?.copy_from_slice(text);
        Some(Ident { octets, len: text.len() as u8 })
    }

    /// The octets.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// A quick, unkeyed digest of the whole value: equal idents have equal digests. Compare the idents
    /// themselves before believing it.
    #[inline]
    pub fn digest(&self) -> u64 {
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut digest = u64::from(self.len);
        for word in self.octets.chunks_exact(8) {
            let mut octets = [0; 8];
            octets.copy_from_slice(word);
            digest = (digest.rotate_left(23) ^ u64::from_le_bytes(octets)).wrapping_mul(FACTOR);
        }
        digest ^ (digest >> 29)
    }
}

impl fmt::Debug for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.as_bytes()).unwrap_or("?"))
    }
}

/// Is it an `ident-char`?
#[inline]
pub const fn is_ident_char(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'+' | b'%' | b'=')
}

/// [`is_ident_char`] of every octet.
static IDENT_CHARS: [bool; 256] = {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = is_ident_char(octet as u8);
        octet += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_and_characters() {
        assert!(Ident::parse(b"abc").is_none());
        assert!(Ident::parse(b"abcd").is_some());
        assert!(Ident::parse(&[b'a'; 32]).is_some());
        assert!(Ident::parse(&[b'a'; 33]).is_none());
        assert!(Ident::parse(b".bcd").is_none());
        assert!(Ident::parse(b"a.-+%=").is_some());
        assert!(Ident::parse(b"a bcd").is_none());
        assert!(Ident::parse(b"").is_none());
    }

    #[test]
    fn compared_octet_by_octet() {
        let lower = Ident::parse(b"abcd").unwrap();
        assert_ne!(lower, Ident::parse(b"ABCD").unwrap());
        assert_ne!(lower, Ident::parse(b"abcde").unwrap());
        assert_ne!(lower.digest(), Ident::parse(b"abcde").unwrap().digest());
        assert_eq!(lower, Ident::parse(b"abcd").unwrap());
    }
}
