//! A frame, read in place.

use aya_ebpf::programs::XdpContext;
use pf_common::guard::Octets;

/// No offset is larger: the verifier wants a bound that it can follow.
const FARTHEST: usize = 0x1fff;

/// The octets of a frame.
pub struct Frame<'a>(pub &'a XdpContext);

impl Octets for Frame<'_> {
    #[inline(always)]
    fn take<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let (begin, end) = (self.0.data(), self.0.data_end());
        if at > FARTHEST {
            return None;
        }
        let from = begin + at;
        if from + N > end {
            return None;
        }
        // SAFETY: the N octets lie between data and data_end.
        Some(unsafe { *(from as *const [u8; N]) })
    }
}
