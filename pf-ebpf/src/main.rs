//! The kernel programs of `pf`, and what becomes of a packet for each reason.
//!
//! Nothing here may panic, not even where it cannot: a possible panic costs the verifier's consent. What can be decided
//! without maps is in `pf-common`, with tests on the host.
#![no_std]
#![no_main]
#![feature(core_intrinsics, asm_experimental_arch)]
#![allow(
    internal_features,
    reason = "the target has atomic instructions, but core has no atomic types for it"
)]

mod atomic;
mod frame;
mod guard;
mod splice;

use aya_ebpf::{
    EbpfContext,
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use pf_common::guard::Verdict;
use splice::Skb;

/// Protects the MSRP ports; see `docs/guard.md`.
#[xdp]
pub fn pf_guard(context: XdpContext) -> u32 {
    let verdict = guard::judge(&context);
    guard::count(verdict);
    match verdict {
        Verdict::PassSegment => xdp_action::XDP_PASS,
        Verdict::PassConnect => xdp_action::XDP_PASS,
        Verdict::PassUntracked => xdp_action::XDP_PASS,
        Verdict::PassOtherPort => xdp_action::XDP_PASS,
        Verdict::PassNotTcp => xdp_action::XDP_PASS,
        Verdict::PassNotIp => xdp_action::XDP_PASS,
        Verdict::PassFragment => xdp_action::XDP_PASS,
        Verdict::PassExtensions => xdp_action::XDP_PASS,
        Verdict::PassTruncated => xdp_action::XDP_PASS,
        Verdict::PassNotSet => xdp_action::XDP_PASS,
        Verdict::DropMalformed => xdp_action::XDP_DROP,
        Verdict::DropNoFlags => xdp_action::XDP_DROP,
        Verdict::DropSynFlags => xdp_action::XDP_DROP,
        Verdict::DropSynPayload => xdp_action::XDP_DROP,
        Verdict::DropConnectRate => xdp_action::XDP_DROP,
        Verdict::DropPacketRate => xdp_action::XDP_DROP,
    }
}

/// Packets from peers, on their way to kernel sockets.
#[classifier]
pub fn pf_ingress(context: TcContext) -> i32 {
    splice::ingress(Skb(context.as_ptr().cast()))
}

/// Packets of kernel sockets, on their way to peers.
#[classifier]
pub fn pf_egress(context: TcContext) -> i32 {
    splice::egress(Skb(context.as_ptr().cast()))
}

/// Userspace's wishes; run on request only, attached to nothing.
#[classifier]
pub fn pf_control(context: TcContext) -> i32 {
    splice::control(Skb(context.as_ptr().cast()))
}

unsafe extern "C" {
    /// Exists nowhere. A panic that is left in the programs refers to it, however it was inlined, and the build
    /// finds the name.
    fn pf_programs_must_not_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never linked, never called.
    unsafe { pf_programs_must_not_panic() }
}

/// None of the helpers asks for the GPL.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"MIT\0";
