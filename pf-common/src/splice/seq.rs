//! Sequence arithmetic modulo 2^32 (RFC 9293, 3.4): all positions of this module are compared here.

/// Positions further apart than this are pulled together by [`trail`]: the largest window TCP can offer
/// (RFC 7323, 2.3) is 2^30, so a mark that lags by more can no longer decide about a live packet.
pub const HORIZON: u32 = 1 << 30;

/// Whether `a` comes before `b`.
#[inline(always)]
pub const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// Whether `a` comes after `b`.
#[inline(always)]
pub const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// The later of two positions.
#[inline(always)]
pub const fn later(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}

/// The earlier of two positions.
#[inline(always)]
pub const fn earlier(a: u32, b: u32) -> u32 {
    if before(a, b) { a } else { b }
}

/// How far `to` lies beyond `from`; 0 when it does not.
#[inline(always)]
pub const fn distance(from: u32, to: u32) -> u32 {
    if before(from, to) { to.wrapping_sub(from) } else { 0 }
}

/// `mark`, moved up so that it lags behind `position` by at most [`HORIZON`]: a mark that stands still while
/// 2^31 octets pass would otherwise look as if it lay in the future.
#[inline(always)]
pub const fn trail(mark: u32, position: u32) -> u32 {
    if position.wrapping_sub(mark) > HORIZON && before(mark, position) {
        position.wrapping_sub(HORIZON)
    } else {
        mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_wrap() {
        assert!(before(u32::MAX, 3) && after(3, u32::MAX) && !before(7, 7) && !after(7, 7));
        assert_eq!((later(u32::MAX, 3), earlier(u32::MAX, 3)), (3, u32::MAX));
        assert_eq!((distance(u32::MAX, 3), distance(3, u32::MAX)), (4, 0));
    }

    #[test]
    fn a_mark_never_falls_out_of_sight() {
        let mut mark = 5_u32;
        let mut position = 5_u32;
        for _ in 0..100 {
            position = position.wrapping_add(HORIZON / 2);
            mark = trail(mark, position);
            assert!(!after(mark, position), "{mark} against {position}");
            assert!(position.wrapping_sub(mark) <= HORIZON);
        }
        assert_eq!(trail(9, 9), 9);
    }
}
