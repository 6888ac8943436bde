//! Randomness as an input: the operating system's in the product, a seeded sequence in tests.

/// A source of unpredictable octets.
pub trait Entropy: Send {
    /// Fills `out` with random octets.
    fn fill(&mut self, out: &mut [u8]);

    /// A random token of `len` characters out of `a-z2-7`: 5 bits each, fit for tags, branches,
    /// Call-IDs and MSRP session ids (RFC 4975 section 14.1 wants 80 bits: 16 characters).
    fn token(&mut self, len: usize) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut octets = vec![0; len];
        self.fill(&mut octets);
        octets.iter().map(|o| char::from(ALPHABET[usize::from(o & 31)])).collect()
    }
}

/// The operating system's random numbers.
#[derive(Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        // Without random numbers no identifier is safe to give out: the process must not go on.
        #[allow(clippy::expect_used)]
        getrandom::fill(out).expect("the operating system gives random numbers");
    }
}

/// A repeatable sequence (SplitMix64), for tests and simulations only.
#[derive(Debug)]
pub struct SeededEntropy(pub u64);

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}
