//! A payload in working memory, read at any place.

use core::{arch::asm, ffi::c_void};

use aya_ebpf::helpers::bpf_loop;
use pf_common::whole::{Reader, Scan, Step};

/// Where the payload is: at the beginning of a `Scratch`, so that every place below 2048 and seven octets behind it
/// are within.
pub struct Payload(pub *const u8);

impl Reader for Payload {
    #[inline(always)]
    fn octet(&self, at: u32) -> u8 {
        let mut place = at as u64;
        // SAFETY: the mask keeps the place within; in one piece, so that the verifier sees what the compiler knows.
        unsafe {
            asm!(
                "{place} &= 2047",
                "{place} += {base}",
                "{place} = *(u8 *)({place} + 0)",
                place = inout(reg) place,
                base = in(reg) self.0,
                options(readonly, nostack),
            );
        }
        place as u8
    }

    #[inline(always)]
    fn word(&self, at: u32) -> u64 {
        let mut place = at as u64;
        // SAFETY: as above; the machine reads words anywhere.
        unsafe {
            asm!(
                "{place} &= 2047",
                "{place} += {base}",
                "{place} = *(u64 *)({place} + 0)",
                place = inout(reg) place,
                base = in(reg) self.0,
                options(readonly, nostack),
            );
        }
        u64::from_le(place)
    }

    #[inline(always)]
    fn repeat(&self, step: Step, scan: &mut Scan) {
        let mut walk = Walk { payload: self.0, scan };
        let run = match step {
            Step::Ident => ident,
            Step::Line => line,
            Step::Body => body,
            Step::Again => again,
        };
        // SAFETY: the callback takes what it is given here; it ends with this call.
        unsafe {
            bpf_loop(step.most(), run as *mut c_void, (&raw mut walk).cast(), 0);
        }
    }
}

#[repr(C)]
struct Walk {
    payload: *const u8,
    scan: *mut Scan,
}

type Callback = unsafe extern "C" fn(u32, *mut Walk) -> i64;

const _: [Callback; 4] = [ident, line, body, again];

unsafe extern "C" fn ident(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: what `repeat` passed.
    unsafe { run(Step::Ident, &*walk) }
}

unsafe extern "C" fn line(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: what `repeat` passed.
    unsafe { run(Step::Line, &*walk) }
}

unsafe extern "C" fn body(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: what `repeat` passed.
    unsafe { run(Step::Body, &*walk) }
}

unsafe extern "C" fn again(_: u32, walk: *mut Walk) -> i64 {
    // SAFETY: what `repeat` passed.
    unsafe { run(Step::Again, &*walk) }
}

#[inline(always)]
unsafe fn run(step: Step, walk: &Walk) -> i64 {
    // SAFETY: what `repeat` passed.
    let again = step.run(&Payload(walk.payload), unsafe { &mut *walk.scan });
    i64::from(!again)
}
