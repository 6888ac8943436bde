//! The media side of an offer or answer, before the connection is there.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::{net::TcpListener, sync::mpsc};

use super::{
    Endpoint,
    task::{Link, Shared},
};
use crate::{
    msrp::{MsrpUri, Side, Wire},
    net::Place,
    sip::{MediaLine, SdpOptions},
    trace::Trace,
    wait::{SOON, within},
};

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We connect.
    Active,
    /// We listen.
    Passive,
}

impl Role {
    /// Our role from our `a=setup` and the peer's (RFC 4145 section 4.1; absent: offer active, answer passive).
    pub fn of(ours: Option<&str>, theirs: Option<&str>, we_offered: bool) -> Result<Role> {
        let (offer, answer) = if we_offered { (ours, theirs) } else { (theirs, ours) };
        let offerer_active = match (offer.unwrap_or("active"), answer.unwrap_or("passive")) {
            ("active" | "actpass", "passive") => true,
            ("passive" | "actpass", "active") => false,
            (offer, answer) => bail!("a=setup:{answer} does not answer a=setup:{offer}"),
        };
        Ok(if offerer_active == we_offered { Role::Active } else { Role::Passive })
    }
}

/// A path URI of ours and the socket behind it.
pub struct Media {
    /// Our path URI.
    pub uri: String,
    /// Its address.
    pub at: SocketAddr,
    name: String,
    place: Place,
    trace: Trace,
    listener: TcpListener,
    /// The kernel's receive buffer in octets, where it shall be bounded.
    pub receive_buffer: Option<usize>,
}

impl Media {
    /// A fresh path URI at `place`.
    pub fn new(name: &str, place: &Place, trace: &Trace) -> Result<Media> {
        let listener = place.listen(0)?;
        let at = listener.local_addr()?;
        trace.name_socket(at, name);
        Ok(Media {
            uri: format!("msrp://{at}/{};tcp", crate::token(12)),
            at,
            name: name.to_owned(),
            place: place.clone(),
            trace: trace.clone(),
            listener,
            receive_buffer: None,
        })
    }

    /// The SDP that offers or answers with it.
    pub fn sdp(&self, options: &SdpOptions) -> Vec<u8> {
        options.write(self.at, &self.uri)
    }

    /// Starts the endpoint towards `path`.
    pub fn start_with(self, role: Role, path: Vec<String>, connect_to: SocketAddr) -> Endpoint {
        let (incoming_sender, incoming) = mpsc::unbounded_channel();
        let (urgent, urgent_queue) = mpsc::unbounded_channel();
        // One chunk waits while one is written: the sender feels the peer's pace.
        let (bulk, bulk_queue) = mpsc::channel(1);
        let shared = Shared::new(&self.name, &self.uri, path.clone(), &self.trace, urgent, bulk);
        let link = Link {
            place: self.place,
            listener: self.listener,
            role,
            connect_to,
            receive_buffer: self.receive_buffer,
            urgent: urgent_queue,
            bulk: bulk_queue,
            incoming: incoming_sender,
        };
        tokio::spawn(link.run(shared.clone()));
        Endpoint { uri: self.uri, remote: path, shared, incoming }
    }
}

/// A media side whose peer is known, and no connection yet.
pub struct Negotiated {
    media: Media,
    role: Role,
    path: Vec<String>,
    connect_to: SocketAddr,
}

impl Negotiated {
    /// With the peer's media line: connects, where active, to the first path URI.
    pub fn new(media: Media, role: Role, peer: &MediaLine) -> Result<Negotiated> {
        let path = peer.path()?;
        let connect_to = MsrpUri::parse(path.first().context("empty path")?)?.socket;
        Ok(Negotiated { media, role, path, connect_to })
    }

    /// Starts the endpoint.
    pub fn start(self) -> Endpoint {
        self.media.start_with(self.role, self.path, self.connect_to)
    }

    /// Opens or awaits the connection, binds it, and leaves everything else to the caller.
    pub async fn wire(self) -> Result<Side> {
        let Media { uri, name, place, trace, listener, receive_buffer, .. } = self.media;
        let path = self.path.join(" ");
        match self.role {
            Role::Active => {
                let stream = place.connect(self.connect_to, receive_buffer).await?;
                let mut side = Side::new(Wire::new(&name, stream, &trace)?, &path, &uri);
                side.bind().await?;
                Ok(side)
            }
            Role::Passive => {
                let stream = within(SOON, "an MSRP connection", async { Ok(listener.accept().await?.0) });
                let mut side = Side::new(Wire::new(&name, stream.await?, &trace)?, &path, &uri);
                side.bound().await?;
                Ok(side)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_follow_rfc_4145() {
        for (offer, answer, offerer) in [
            (Some("active"), Some("passive"), Role::Active),
            (Some("passive"), Some("active"), Role::Passive),
            (Some("actpass"), Some("active"), Role::Passive),
            (Some("actpass"), Some("passive"), Role::Active),
            (None, None, Role::Active),
        ] {
            assert_eq!(Role::of(offer, answer, true).unwrap(), offerer);
            assert_ne!(Role::of(answer, offer, false).unwrap(), offerer);
        }
        assert!(Role::of(Some("active"), Some("active"), true).is_err());
    }
}
