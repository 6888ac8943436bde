//! From the hop of a command to the routes of the engine.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    Inner,
    engine::{Engine, Forwarded, Route},
    transport::resolve::{self, Host, Place},
    write,
};
use crate::core::{
    event::{ClientTx, Hop, Transport},
    sip::Request,
};

/// About what our Via adds to a request, in octets.
const VIA_SIZE: usize = 110;

/// Where a hop leads.
enum Routes {
    /// There, or nowhere for this reason.
    Known(Vec<Route>, String),
    /// A name must be looked up first.
    Unknown(Vec<Route>, Place, String),
}

impl Inner {
    /// Sends a request, of the core's own or a forwarded one.
    pub(super) fn request(
        self: &Arc<Inner>,
        tx: ClientTx,
        request: Request,
        hop: Hop,
        forwarded: Option<Forwarded>,
    ) {
        let size = write::request_size(&request) + VIA_SIZE;
        let routes = self.routes(&hop, size);
        let pending = self.engine(|engine, now| {
            let id = match forwarded {
                Some(forwarded) => engine.start_forwarded(now, tx, request, forwarded),
                None => engine.start(now, tx, request),
            };
            match routes {
                Routes::Known(routes, why) => {
                    engine.routes(now, id, routes, &why);
                    None
                }
                Routes::Unknown(first, place, name) => Some((id, first, place, name)),
            }
        });
        if let Some((id, first, place, name)) = pending {
            let inner = self.clone();
            self.runtime.spawn(async move {
                let (routes, why) = inner.look_up(first, &place, &name, size).await;
                inner.engine(|engine, now| engine.routes(now, id, routes, &why));
            });
        }
    }

    pub(super) fn acknowledge(self: &Arc<Inner>, tx: ClientTx, request: Request, hop: Hop) {
        self.ack_to(hop, move |engine, routes| engine.acknowledge(tx, &request, routes));
    }

    pub(super) fn forward_ack(self: &Arc<Inner>, request: Request, hop: Hop, mark: String) {
        self.ack_to(hop, move |engine, routes| engine.forward_ack(&request, routes, &mark));
    }

    fn ack_to(self: &Arc<Inner>, hop: Hop, send: impl FnOnce(&mut Engine, &[Route]) + Send + 'static) {
        // An ACK has no transaction that could fall back to UDP: it is not moved to TCP for its size.
        match self.routes(&hop, 0) {
            Routes::Known(routes, _) => self.engine(|engine, _| send(engine, &routes)),
            Routes::Unknown(first, place, name) => {
                let inner = self.clone();
                self.runtime.spawn(async move {
                    let (routes, _) = inner.look_up(first, &place, &name, 0).await;
                    inner.engine(|engine, _| send(engine, &routes));
                });
            }
        }
    }

    fn routes(&self, hop: &Hop, size: usize) -> Routes {
        let first: Vec<Route> =
            hop.flow.filter(|flow| self.transports.is_alive(*flow)).map(Route::Flow).into_iter().collect();
        let place = match resolve::place(&hop.uri) {
            Ok(place) => place,
            Err(why) => return Routes::Known(first, why),
        };
        let addresses = match &place.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => match self.names.known(name) {
                Some(addresses) => addresses,
                None => {
                    let name = name.clone();
                    return Routes::Unknown(first, place, name);
                }
            },
        };
        let (routes, why) = self.add_routes(first, &place, &addresses, size);
        Routes::Known(routes, why)
    }

    async fn look_up(
        &self,
        first: Vec<Route>,
        place: &Place,
        name: &str,
        size: usize,
    ) -> (Vec<Route>, String) {
        match self.names.look_up(name).await {
            Ok(addresses) => self.add_routes(first, place, &addresses, size),
            Err(why) => (first, why),
        }
    }

    fn add_routes(
        &self,
        mut routes: Vec<Route>,
        place: &Place,
        addresses: &[IpAddr],
        size: usize,
    ) -> (Vec<Route>, String) {
        for &address in addresses {
            let to = SocketAddr::new(address, place.port);
            let transport =
                place.transport.unwrap_or(match self.transports.serves(Transport::Udp, address) {
                    true => Transport::Udp,
                    false => Transport::Tcp,
                });
            if !self.transports.serves(transport, address) {
                continue;
            }
            let too_large = self.config.udp_mtu.is_some_and(|mtu| size > mtu);
            if transport == Transport::Udp && too_large && self.transports.may_take_tcp(to) {
                routes.push(Route::To(Transport::Tcp, to));
            }
            routes.push(Route::To(transport, to));
        }
        (routes, "no socket fits the destination".to_owned())
    }
}
