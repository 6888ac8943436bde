//! Eight octets at once, the first in the lowest bits.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The word that these octets are, with zeros behind.
#[inline(always)]
pub(super) const fn text(octets: &[u8]) -> u64 {
    let mut word = 0;
    let mut at = 0;
    while at < octets.len() && at < 8 {
        word |= (octets[at] as u64) << (8 * at);
        at += 1;
    }
    word
}

/// The first `count` octets of a word; all of it for 8 and more.
#[inline(always)]
pub(super) const fn cut(word: u64, count: u32) -> u64 {
    if count >= 8 { word } else { word & ((1 << (8 * count)) - 1) }
}

/// Two words, as they stand in memory.
#[inline(always)]
pub(super) const fn pair(first: u64, second: u64) -> [u8; 16] {
    (first as u128 | (second as u128) << 64).to_le_bytes()
}

/// Small letters for capital ones. Only for comparing with letters, digits, `-` and `/`.
#[inline(always)]
pub(super) const fn lower(word: u64) -> u64 {
    word | LOW.wrapping_mul(0x20)
}

/// The number of the first octet below 0x20; 8 if there is none.
#[inline(always)]
pub(super) const fn control(word: u64) -> u32 {
    // Octets below 0x20 borrow into their high bit; the lowest one found is always true.
    first(word.wrapping_sub(LOW.wrapping_mul(0x20)) & !word & HIGH)
}

/// The number of the first `octet`; 8 if there is none.
#[inline(always)]
pub(super) const fn find(word: u64, octet: u8) -> u32 {
    let differs = word ^ LOW.wrapping_mul(octet as u64);
    first(differs.wrapping_sub(LOW) & !differs & HIGH)
}

/// The number of the first octet whose high bit is set; no other bits are.
#[inline(always)]
const fn first(marks: u64) -> u32 {
    if marks == 0 {
        return 8;
    }
    // The kernel's machine has no instruction that counts zeros: the lowest mark shifts its own number to the top.
    let lowest = (marks & marks.wrapping_neg()) >> 7;
    (lowest.wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn same_as_octet_by_octet(octets: [u8; 8], wanted: u8) {
            let word = u64::from_le_bytes(octets);
            let place = |found: Option<usize>| found.map_or(8, |at| at as u32);
            prop_assert_eq!(control(word), place(octets.iter().position(|o| *o < 0x20)));
            prop_assert_eq!(find(word, wanted), place(octets.iter().position(|o| *o == wanted)));
            prop_assert_eq!(cut(word, 3), text(&octets[..3]));
        }
    }
}
