//! A packet, and what the kernel lets us do with it. A helper that refuses is a `None`.

use core::arch::asm;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_csum_diff, bpf_csum_level, bpf_l4_csum_replace, bpf_skb_change_tail, bpf_skb_load_bytes,
        bpf_skb_store_bytes,
    },
};

/// Marks what we send ourselves, for the egress program. Whoever loads the programs puts a number of its own here: two
/// of us on one interface must not take each other's packets for their own.
#[unsafe(no_mangle)]
static PACKET_MARK: u32 = 0x7066_7370;

#[inline(always)]
fn own_mark() -> u32 {
    // SAFETY: a static; volatile, because its value is not the compiler's to know.
    unsafe { (&raw const PACKET_MARK).read_volatile() }
}

const RECOMPUTE: u64 = 1;

/// A packet in the kernel.
#[derive(Clone, Copy)]
pub struct Skb(pub *mut __sk_buff);

/// Keeps a number within `MASK` in a way that the verifier sees, whatever the compiler knows.
#[inline(always)]
pub fn within<const MASK: u32>(number: u32) -> u32 {
    let mut number = number as u64;
    // SAFETY: arithmetic only.
    unsafe {
        asm!("{number} &= {mask}", number = inout(reg) number, mask = const MASK, options(pure, nomem, nostack));
    }
    number as u32
}

impl Skb {
    #[inline(always)]
    pub fn len(self) -> u32 {
        // SAFETY: here and in the other fields, the program's own context.
        unsafe { (*self.0).len }
    }

    /// In the order of this machine, like `ETH_P_IP`.
    #[inline(always)]
    pub fn protocol(self) -> u16 {
        u16::from_be(unsafe { (*self.0).protocol } as u16)
    }

    #[inline(always)]
    pub fn interface(self) -> u32 {
        unsafe { (*self.0).ifindex }
    }

    /// Octets of the segments that the packet will be cut into; 0: it is one.
    #[inline(always)]
    pub fn segment(self) -> u32 {
        unsafe { (*self.0).gso_size }
    }

    #[inline(always)]
    pub fn tagged(self) -> bool {
        unsafe { (*self.0).vlan_present != 0 }
    }

    #[inline(always)]
    pub fn is_ours(self) -> bool {
        unsafe { (*self.0).mark == own_mark() }
    }

    #[inline(always)]
    pub fn mark(self, ours: bool) {
        unsafe { (*self.0).mark = if ours { own_mark() } else { 0 } };
    }

    /// Reads `N` octets.
    #[inline(always)]
    pub fn load<const N: usize>(self, at: u32) -> Option<[u8; N]> {
        let mut octets = [0; N];
        // SAFETY: `N` octets to write to.
        let done = unsafe { bpf_skb_load_bytes(self.0.cast(), at, octets.as_mut_ptr().cast(), N as u32) };
        (done == 0).then_some(octets)
    }

    /// Reads `len` octets (of a number masked by the caller, not 0) into memory that is long enough.
    #[inline(always)]
    pub unsafe fn load_into(self, at: u32, to: *mut u8, len: u32) -> Option<()> {
        // SAFETY: the caller's.
        let done = unsafe { bpf_skb_load_bytes(self.0.cast(), at, to.cast(), len) };
        (done == 0).then_some(())
    }

    /// Writes octets, and keeps a sum right that the device made of the whole packet.
    #[inline(always)]
    pub unsafe fn store_from(self, at: u32, from: *const u8, len: u32) -> Option<()> {
        // SAFETY: the caller's.
        let done = unsafe { bpf_skb_store_bytes(self.0, at, from.cast(), len, RECOMPUTE) };
        (done == 0).then_some(())
    }

    /// Writes octets of the header whose change the checksum knows already.
    #[inline(always)]
    pub fn store<const N: usize>(self, at: u32, octets: &[u8; N]) -> Option<()> {
        // SAFETY: `N` octets to read.
        let done = unsafe { bpf_skb_store_bytes(self.0, at, octets.as_ptr().cast(), N as u32, 0) };
        (done == 0).then_some(())
    }

    /// Makes the packet so long.
    #[inline(always)]
    pub fn resize(self, len: u32) -> Option<()> {
        if self.len() == len {
            return Some(());
        }
        // SAFETY: no pointers into the packet are held.
        let done = unsafe { bpf_skb_change_tail(self.0, len, 0) };
        (done == 0).then_some(())
    }

    /// Tells the TCP checksum at `at` that four octets change.
    #[inline(always)]
    pub fn sum4(self, at: u32, from: [u8; 4], to: [u8; 4]) -> Option<()> {
        let (from, to) = (u32::from_ne_bytes(from) as u64, u32::from_ne_bytes(to) as u64);
        // SAFETY: plain.
        let done = unsafe { bpf_l4_csum_replace(self.0, at, from, to, 4) };
        (done == 0).then_some(())
    }

    /// Tells the TCP checksum at `at` that two octets change.
    #[inline(always)]
    pub fn sum2(self, at: u32, from: [u8; 2], to: [u8; 2]) -> Option<()> {
        let (from, to) = (u16::from_ne_bytes(from) as u64, u16::from_ne_bytes(to) as u64);
        // SAFETY: plain.
        let done = unsafe { bpf_l4_csum_replace(self.0, at, from, to, 2) };
        (done == 0).then_some(())
    }

    /// Tells the TCP checksum at `at` that octets changed by this difference.
    #[inline(always)]
    pub fn sum_difference(self, at: u32, difference: u32) -> Option<()> {
        // SAFETY: plain.
        let done = unsafe { bpf_l4_csum_replace(self.0, at, 0, difference as u64, 0) };
        (done == 0).then_some(())
    }

    /// Whether hardware has verified the checksum.
    #[inline(always)]
    pub fn is_verified(self) -> bool {
        // SAFETY: asks only.
        unsafe { bpf_csum_level(self.0, 0) >= 0 }
    }

    /// Whether the TCP checksum at `at` is left to the device. Only then a change of the segment leaves the field alone.
    #[inline(always)]
    pub fn left_to_device(self, at: u32) -> Option<bool> {
        if self.is_verified() {
            return Some(false);
        }
        let before = self.load::<2>(at)?;
        self.sum2(at, [0, 0], [0x12, 0x34])?;
        let after = self.load::<2>(at)?;
        if before == after {
            return Some(true);
        }
        self.store(at, &before)?;
        Some(false)
    }
}

/// The sum of `len` octets, 1 to 512, rounded up to words: zeros must stand behind them.
#[inline(always)]
pub unsafe fn sum(from: *const u8, len: u32, seed: u32) -> u32 {
    // SAFETY: the caller's memory.
    unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, from.cast_mut().cast(), len, seed) as u32 }
}
