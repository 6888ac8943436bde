//! The proxy in virtual time. The shard and its surroundings are those of the session's scenarios.

mod property;
mod responses;
mod routes;
mod sessions;

use super::*;
use crate::core::{
    event::Forward,
    policy::MediaPath,
    sip::{Headers, fields::split_list},
};

/// Nothing needs the media path.
fn proxying() -> World {
    World::with(|policy| {
        policy.media_path = MediaPath::WhenNeeded;
        policy.direct_delivery = false;
    })
}

impl World {
    /// The first request that was passed on and no test line has looked at.
    fn onward(&mut self) -> (Out, String) {
        let at = self.said.iter().position(|c| {
            matches!(c, Command::Sip(SipCommand::Forward(Forward::Request { .. } | Forward::Ack { .. })))
        });
        let Some(at) = at else { panic!("nothing was passed on, but {:#?}", self.said) };
        match self.said.remove(at) {
            Command::Sip(SipCommand::Forward(Forward::Request { tx, request, hop, mark, .. })) => {
                (Out { tx, request, hop }, mark)
            }
            Command::Sip(SipCommand::Forward(Forward::Ack { request, hop, mark })) => {
                (Out { tx: ClientTx(0), request, hop }, mark)
            }
            _ => unreachable!(),
        }
    }

    /// The next response that was passed on in that transaction.
    fn back(&mut self, of: ServerTx) -> Option<Response> {
        let at = self.said.iter().position(
            |c| matches!(c, Command::Sip(SipCommand::Forward(Forward::Response { tx, .. })) if *tx == of),
        )?;
        match self.said.remove(at) {
            Command::Sip(SipCommand::Forward(Forward::Response { response, .. })) => Some(response),
            _ => unreachable!(),
        }
    }

    /// UE-A's INVITE has been passed on.
    fn passed(&mut self) -> (ServerTx, Out) {
        let tx = self.receive(invite());
        let (out, _) = self.onward();
        self.silent();
        (tx, out)
    }

    /// UE-A and FAR have a session, with these header fields in the 200.
    fn talking(&mut self, headers: &[(&str, &str)]) -> (Ua, Ua, Out) {
        let (tx, out) = self.passed();
        let mut ok = returned(&out, 200, "far").with("Contact", "<sip:bob@10.2.0.1:5060>");
        headers.iter().for_each(|(name, value)| ok.headers.push(*name, *value));
        self.reply(&out, ok.clone());
        assert!(self.back(tx).is_some_and(|r| r.status == 200));
        let (a, f) = (Ua::caller(&invite(), &ok), Ua::callee(&out, "far"));
        (a, f, out)
    }

    /// A request inside the dialog, along the recorded route.
    fn along(&mut self, out: &Out, mut request: Request) -> ServerTx {
        let mut routes: Vec<String> = out.request.headers.list("Record-Route").map(str::to_owned).collect();
        routes.reverse();
        request.headers.push("Via", "SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKinside");
        for route in routes {
            request.headers.push("Route", route);
        }
        self.receive(request)
    }
}

/// A response as the wire would bring it: the Vias of the request with ours on top.
fn returned(out: &Out, status: u16, tag: &str) -> Response {
    let mut response = answer(out, status, tag);
    let mut headers = Headers::default();
    headers.push("Via", "SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKours");
    headers.copy(&out.request.headers, "Via");
    headers.0.append(&mut response.headers.0);
    response.headers = headers;
    response
}

fn values(headers: &Headers, name: &str) -> Vec<String> {
    headers.all(name).flat_map(split_list).map(str::to_owned).collect()
}
