//! A link that goes wrong: frames between a host and the bridge pass through this process, which loses, doubles,
//! delays and changes them by order or by seeded dice, and checks the checksums of all.
//!
//! Both ends are TAP devices without offloads: what a host sends is completed by its kernel before it comes here, cut
//! into segments and with checksums, as hardware would complete it on its way to a wire.

mod carry;
mod packet;
mod tap;

use std::{
    fs::File,
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::{Result, ensure};

use crate::{lock, net::Namespace};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the host into the network.
    Out,
    /// To the host.
    In,
}

/// What happens to the TCP packets of one way, but for SYN and RST. Shares are of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Packets with octets that are lost.
    pub lose_data: u16,
    /// Packets without octets that are lost.
    pub lose_acks: u16,
    /// Packets that come twice.
    pub double: u16,
    /// Packets that wait until others have overtaken them, or a few milliseconds have passed.
    pub reorder: u16,
    /// How long every packet is on its way.
    pub delay: Duration,
    /// The sender's window reads zero.
    pub zero_window: bool,
}

/// What a path did to the packets of one way.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// TCP packets that came.
    pub packets: u64,
    /// Those with octets.
    pub data: u64,
    /// Lost with octets.
    pub lost_data: u64,
    /// Lost without.
    pub lost_acks: u64,
    /// Sent twice.
    pub doubled: u64,
    /// Held back.
    pub reordered: u64,
    /// Windows set to zero.
    pub closed: u64,
    /// Connections reset.
    pub reset: u64,
    /// Resets that passed, ours not counted.
    pub resets_seen: u64,
    /// FINs that passed.
    pub fins_seen: u64,
    /// Packets with a wrong checksum.
    pub wrong: u64,
    /// What was wrong with the first of them.
    pub first_wrong: Option<String>,
}

#[derive(Default)]
struct Orders {
    faults: [Faults; 2],
    /// Reset the connection of the next packet with octets.
    reset: [bool; 2],
    counts: [Counts; 2],
}

/// A host's link to the bridge. It ends with its owner.
pub struct Path {
    orders: Arc<Mutex<Orders>>,
    stop: Arc<AtomicBool>,
    wake: File,
    thread: Option<JoinHandle<()>>,
}

impl Path {
    /// A link between `eth0`, which is made in the namespace of the host, and `port`, made in the namespace of the hub.
    pub fn new(host: &Namespace, hub: &Namespace, port: &str, seed: u64) -> Result<Path> {
        let ends = [host.run(|| tap::open("eth0"))??, hub.run(|| tap::open(port))??];
        let orders = Arc::<Mutex<Orders>>::default();
        let stop = Arc::<AtomicBool>::default();
        let (wake, woken) = tap::waker()?;
        let carrier = carry::Carrier::new(ends, woken, orders.clone(), stop.clone(), seed);
        let thread = std::thread::Builder::new().name(format!("path-{port}")).spawn(move || carrier.run())?;
        Ok(Path { orders, stop, wake, thread: Some(thread) })
    }

    /// From now on.
    pub fn set(&self, way: Way, faults: Faults) {
        lock(&self.orders).faults[way as usize] = faults;
    }

    /// From now on, both ways.
    pub fn set_both(&self, faults: Faults) {
        lock(&self.orders).faults = [faults; 2];
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.set_both(Faults::default());
    }

    /// The next packet with octets on this way is taken out, and both ends of its connection get a reset instead, as
    /// from a firewall that has lost its memory.
    pub fn reset_next(&self, way: Way) {
        lock(&self.orders).reset[way as usize] = true;
    }

    /// What happened on this way so far.
    pub fn counts(&self, way: Way) -> Counts {
        lock(&self.orders).counts[way as usize].clone()
    }

    /// Every packet had right checksums.
    pub fn verify(&self) -> Result<()> {
        for way in [Way::Out, Way::In] {
            let counts = self.counts(way);
            ensure!(
                counts.wrong == 0,
                "{way:?}: {} of {} packets with wrong checksums; the first: {}",
                counts.wrong,
                counts.packets,
                counts.first_wrong.unwrap_or_default()
            );
        }
        Ok(())
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        tap::wake(self.wake.as_raw_fd());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
