//! A relay with one stream: originator A, far end F, devices B, C ...

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use pf::{
    core::event::{LegKey, LegRole, MediaCommand, MediaEvent, RemoteLeg, Setup, StreamKey, StreamPolicy},
    msrp::{Relay, RelayConfig},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::peer::{PATIENCE, Peer};

pub(crate) struct Stage {
    pub(crate) relay: Relay,
    pub(crate) events: UnboundedReceiver<MediaEvent>,
    pub(crate) address: SocketAddr,
}

pub(crate) fn config() -> RelayConfig {
    RelayConfig { listen: vec![(Ipv4Addr::LOCALHOST, 0).into()], ..Default::default() }
}

/// A peer's side: everything accepted, passive peers elsewhere.
pub(crate) fn remote(path: &str, setup: Setup, connect_to: String) -> RemoteLeg {
    RemoteLeg {
        path: vec![path.to_owned()],
        setup,
        connect_to,
        accept_types: vec!["*".to_owned()],
        accept_wrapped_types: vec![],
        max_size: None,
        legacy_matching: false,
        may_send: true,
    }
}

pub(crate) const BOTH: StreamPolicy = StreamPolicy { copy_far: true, copy_devices: true };

impl Stage {
    pub(crate) fn new(config: RelayConfig) -> Stage {
        let (sender, events) = unbounded_channel();
        let relay = Relay::start(config, sender).unwrap();
        let address = relay.local()[0];
        Stage { relay, events, address }
    }

    pub(crate) fn open(&self, stream: u64, policy: StreamPolicy) {
        self.relay.command(MediaCommand::OpenStream { stream: StreamKey(stream), policy });
    }

    /// Opens a leg and gives our path for it.
    pub(crate) fn leg(&self, stream: u64, leg: u64, role: LegRole) -> String {
        let local = format!("msrp://{}/session-of-leg-{leg};tcp", self.address);
        let (key, stream) = (LegKey(leg), StreamKey(stream));
        self.relay.command(MediaCommand::OpenLeg { leg: key, stream, role, local: local.clone() });
        local
    }

    pub(crate) fn connect(&self, leg: u64, remote: RemoteLeg) {
        self.relay.command(MediaCommand::ConnectLeg { leg: LegKey(leg), remote });
    }

    /// A bound leg whose peer opened the connection.
    pub(crate) fn passive(&mut self, stream: u64, leg: u64, role: LegRole) -> Peer {
        self.passive_as(stream, leg, role, |_| {})
    }

    pub(crate) fn passive_as(
        &mut self,
        stream: u64,
        leg: u64,
        role: LegRole,
        change: impl FnOnce(&mut RemoteLeg),
    ) -> Peer {
        let local = self.leg(stream, leg, role);
        let path = format!("msrp://127.0.0.1:9/peer-of-leg-{leg};tcp");
        let mut remote = remote(&path, Setup::Passive, String::new());
        change(&mut remote);
        self.connect(leg, remote);
        let mut peer = Peer::connect(self.address, &path, &local);
        peer.bind();
        assert_eq!(self.event(), MediaEventText::Up(leg));
        peer
    }

    /// A bound leg whose connection the relay opened; the binding SEND has been answered.
    pub(crate) fn active(&mut self, stream: u64, leg: u64, role: LegRole) -> Peer {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let local = self.leg(stream, leg, role);
        let path = format!("msrp://{at}/peer-of-leg-{leg};tcp");
        self.connect(leg, remote(&path, Setup::Active, at.to_string()));
        let mut peer = Peer::accept(&listener, &path, &local);
        let greeting = peer.take();
        assert_eq!(greeting.body, None);
        assert_eq!(self.event(), MediaEventText::Up(leg));
        peer
    }

    /// A, F and two devices.
    pub(crate) fn usual(&mut self) -> (Peer, Peer, Peer, Peer) {
        self.open(1, BOTH);
        let a = self.passive(1, 1, LegRole::Originator);
        let f = self.active(1, 2, LegRole::Far);
        let b = self.passive(1, 3, LegRole::Device);
        let c = self.active(1, 4, LegRole::Device);
        (a, f, b, c)
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> MediaEventText {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            match self.events.try_recv() {
                Ok(MediaEvent::LegUp { leg }) => return MediaEventText::Up(leg.0),
                Ok(MediaEvent::LegDown { leg, reason, .. }) => {
                    return MediaEventText::Down(leg.0, format!("{reason:?}"));
                }
                Ok(MediaEvent::LegClosed { leg, .. }) => return MediaEventText::Closed(leg.0),
                Ok(
                    MediaEvent::Delivered { .. }
                    | MediaEvent::Intercepted { .. }
                    | MediaEvent::Resumed { .. },
                ) => panic!("nobody is lost here"),
                Ok(MediaEvent::Waiting { .. }) => {}
                Err(_) if std::time::Instant::now() > until => panic!("no event"),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
            }
        }
    }

    /// No event has come.
    pub(crate) fn no_event(&mut self) {
        assert!(self.events.try_recv().is_err());
    }
}

/// An event, comparable.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MediaEventText {
    Closed(u64),
    Down(u64, String),
    Up(u64),
}
