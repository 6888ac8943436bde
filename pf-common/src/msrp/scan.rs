//! Finding the next octet of interest, eight octets at a time.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Position of the first control octet (below 0x20) at or after `from`; the slice's length if there is none.
#[inline]
pub fn control(input: &[u8], from: usize) -> usize {
    let rest = input.get(from..).unwrap_or(&[]);
    let mut at = from;
    let mut words = rest.chunks_exact(8);
    for word in &mut words {
        let mut octets = [0; 8];
        octets.copy_from_slice(word);
        let word = u64::from_le_bytes(octets);
        // Octets below 0x20 borrow into their high bit; the lowest one found is always true.
        let found = word.wrapping_sub(LOW.wrapping_mul(0x20)) & !word & HIGH;
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    words.remainder().iter().position(|o| *o < 0x20).map_or(input.len().max(from), |n| at + n)
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn same_as_one_by_one(input: Vec<u8>, from in 0_usize..40) {
            let from = from.min(input.len());
            let plain = input[from..].iter().position(|o| *o < 0x20).map_or(input.len(), |n| from + n);
            prop_assert_eq!(super::control(&input, from), plain);
        }
    }
}
