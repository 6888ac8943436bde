//! Dialogs as plain data (RFC 3261 section 12): who, which numbers, which way.

use serde::{Deserialize, Serialize};

use super::{Method, NameAddr, Request, Response, Uri};
use crate::core::event::{FlowId, Hop};

/// One side of a dialog, ours. Early (no remote tag) until a response or an incoming INVITE completes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// Our address as From (or To) shows it, without tag.
    pub local: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's address as To (or From) shows it, without tag.
    pub remote: String,
    /// The peer's tag; `None` before the first response, and for peers that send none (RFC 2543).
    pub remote_tag: Option<String>,
    /// CSeq number of our last request.
    pub local_cseq: u32,
    /// CSeq number of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// The route set, nearest first; each a name-addr as received.
    pub routes: Vec<String>,
    /// The remote target: the URI of the peer's Contact.
    pub target: String,
    /// The connection that the peer is reached over while it lives.
    pub flow: Option<FlowId>,
}

/// Why a request does not belong to a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// Its Contact is missing or cannot be read. Answer `400`.
    #[error("no usable Contact")]
    Contact,
    /// Call-ID, From tag or CSeq is missing. Answer `400`.
    #[error("no Call-ID, From, To or CSeq")]
    Incomplete,
    /// Its CSeq number is lower than the last one's. Answer `500` (RFC 3261 section 12.2.2).
    #[error("CSeq out of order")]
    Order,
    /// Another dialog. Answer `481`.
    #[error("another tag")]
    Tag,
}

impl Dialog {
    /// The dialog that answering `invite` with a To tag of `local_tag` makes (RFC 3261 section 12.1.1).
    ///
    /// # Errors
    /// [`DialogError::Incomplete`] and [`DialogError::Contact`] for an INVITE that cannot make one.
    pub fn incoming(
        invite: &Request,
        local_tag: String,
        flow: Option<FlowId>,
    ) -> Result<Dialog, DialogError> {
        let header = |name| invite.headers.get(name).ok_or(DialogError::Incomplete);
        Ok(Dialog {
            call_id: header("Call-ID")?.to_owned(),
            local: with_tag(header("To")?, None),
            local_tag,
            remote: with_tag(header("From")?, None),
            remote_tag: Some(invite.from_tag().ok_or(DialogError::Incomplete)?),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq().ok_or(DialogError::Incomplete)?),
            routes: invite.headers.list("Record-Route").map(str::to_owned).collect(),
            target: contact(invite.headers.get("Contact")).ok_or(DialogError::Contact)?,
            flow,
        })
    }

    /// The dialog that an INVITE of ours begins: `local` is From, `remote` is To, both without tag;
    /// `routes` is the way of this INVITE alone (RFC 3261 section 8.1.2).
    pub fn outgoing(
        call_id: String,
        local: String,
        local_tag: String,
        remote: String,
        target: String,
        routes: Vec<String>,
        flow: Option<FlowId>,
    ) -> Dialog {
        Dialog {
            call_id,
            local,
            local_tag,
            remote,
            remote_tag: None,
            local_cseq: 0,
            remote_cseq: None,
            routes,
            target,
            flow,
        }
    }

    /// Completes the dialog with the 2xx to our INVITE (RFC 3261 section 12.1.2). Without a Contact the target
    /// stays what it was: such a peer is wrong, but the ACK has to go somewhere.
    pub fn establish(&mut self, answer: &Response) {
        if let Some(to) = answer.headers.get("To") {
            self.remote = with_tag(to, None);
        }
        self.remote_tag = answer.to_tag();
        self.routes = answer.headers.list("Record-Route").map(str::to_owned).collect();
        self.routes.reverse();
        self.refresh_target(answer.headers.get("Contact"));
    }

    /// The dialog of a 2xx to an INVITE of ours that nothing else is known of any more: all there is stands in
    /// the response (a fork's late answer).
    pub fn from_answer(answer: &Response) -> Option<Dialog> {
        let headers = &answer.headers;
        let from = headers.get("From")?;
        let mut dialog = Dialog::outgoing(
            headers.get("Call-ID")?.to_owned(),
            with_tag(from, None),
            NameAddr::parse(from).ok()?.param("tag")?.to_owned(),
            String::new(),
            contact(headers.get("Contact"))?,
            Vec::new(),
            None,
        );
        dialog.local_cseq = answer.cseq()?.0;
        dialog.establish(answer);
        Some(dialog)
    }

    /// Takes a request of the peer inside this dialog: tags, CSeq order, and for those that refresh it, the target
    /// (RFC 3261 section 12.2.2, RFC 3311 section 5).
    ///
    /// # Errors
    /// [`DialogError`] says what to answer; the dialog is then unchanged.
    pub fn receive(&mut self, request: &Request) -> Result<(), DialogError> {
        if self.remote_tag.is_some() && request.from_tag() != self.remote_tag {
            return Err(DialogError::Tag);
        }
        let number = request.cseq().ok_or(DialogError::Incomplete)?;
        if self.remote_cseq.is_some_and(|last| number < last) {
            return Err(DialogError::Order);
        }
        self.remote_cseq = Some(number);
        if matches!(request.method, Method::Invite | Method::Update) {
            self.refresh_target(request.headers.get("Contact"));
        }
        Ok(())
    }

    /// Takes the Contact of a target refresh (a 2xx or a request), if it can be read.
    pub fn refresh_target(&mut self, value: Option<&str>) {
        if let Some(target) = contact(value) {
            self.target = target;
        }
    }

    /// The next request of ours in this dialog and where it goes (RFC 3261 section 12.2.1.1). No Via.
    pub fn request(&mut self, method: Method) -> (Request, Hop) {
        self.local_cseq = self.local_cseq.saturating_add(1);
        self.build(method, self.local_cseq)
    }

    /// The ACK for the 2xx to our INVITE with CSeq `number` (RFC 3261 section 13.2.2.4).
    pub fn ack(&self, number: u32) -> (Request, Hop) {
        self.build(Method::Ack, number)
    }

    fn build(&self, method: Method, number: u32) -> (Request, Hop) {
        let strict = self.routes.first().and_then(|first| uri_of(first)).filter(|uri| !is_loose(uri));
        let (uri, routes): (String, Vec<String>) = match strict {
            Some(first) => {
                let rest = self.routes[1..].iter().cloned();
                (first, rest.chain([format!("<{}>", self.target)]).collect())
            }
            None => (self.target.clone(), self.routes.clone()),
        };
        let next = if is_loose_set(&self.routes) { routes.first().and_then(|r| uri_of(r)) } else { None };
        let hop = Hop { uri: next.unwrap_or_else(|| uri.clone()), flow: self.flow };
        let mut request = Request::new(method, uri);
        let headers = &mut request.headers;
        for route in routes {
            headers.push("Route", route);
        }
        headers.push("Max-Forwards", "70");
        headers.push("From", with_tag(&self.local, Some(&self.local_tag)));
        headers.push("To", with_tag(&self.remote, self.remote_tag.as_deref()));
        headers.push("Call-ID", self.call_id.as_str());
        headers.push("CSeq", format!("{number} {method}"));
        (request, hop)
    }
}

/// A From or To value with this tag instead of whatever it had. Its octets are otherwise kept.
pub fn with_tag(value: &str, tag: Option<&str>) -> String {
    let value = value.trim();
    let (addr, params) = value.split_at(params_at(value));
    let mut out = addr.trim_end().to_owned();
    for (name, parameter) in super::fields::parse_params(params) {
        if name.eq_ignore_ascii_case("tag") {
            continue;
        }
        out.push(';');
        out.push_str(&name);
        if let Some(parameter) = parameter {
            out.push('=');
            out.push_str(&parameter);
        }
    }
    if let Some(tag) = tag {
        out.push_str(";tag=");
        out.push_str(tag);
    }
    out
}

/// Where the header parameters begin: after the closing bracket, or at the first semicolon of a bare URI.
fn params_at(value: &str) -> usize {
    let (mut quoted, mut escaped, mut bracketed) = (false, false, false);
    for (at, octet) in value.bytes().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' if !bracketed => quoted = !quoted,
            b'<' if !quoted => bracketed = true,
            b'>' if bracketed => return at + 1,
            b';' if !quoted && !bracketed => return at,
            _ => {}
        }
    }
    value.len()
}

/// The URI of the first element of a Contact value.
fn contact(value: Option<&str>) -> Option<String> {
    let first = super::fields::split_list(value?).next()?;
    uri_of(first).filter(|uri| Uri::parse(uri).is_ok_and(|u| u.scheme == "sip" || u.scheme == "sips"))
}

fn uri_of(name_addr: &str) -> Option<String> {
    NameAddr::parse(name_addr).ok().map(|n| n.uri)
}

fn is_loose(uri: &str) -> bool {
    Uri::parse(uri).is_ok_and(|u| u.param("lr").is_some())
}

fn is_loose_set(routes: &[String]) -> bool {
    routes.first().and_then(|r| uri_of(r)).is_some_and(|uri| is_loose(&uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Request {
        let mut invite = Request::new(Method::Invite, "sip:bob@example.org");
        for (name, value) in [
            ("Record-Route", "<sip:p2@core:5060;lr>, <sip:p1@core;lr;x=1>"),
            ("Record-Route", "<sip:p0@core;lr>"),
            ("f", "\"Ann <;>\" <sip:ann@example.org;user=phone>;tag=a1;epid=7"),
            ("t", "<sip:bob@example.org>"),
            ("i", "call-1"),
            ("CSeq", "7 INVITE"),
            ("m", "<sip:ann@10.0.0.1:5070;transport=tcp>;+sip.instance=\"<urn:uuid:1>\""),
        ] {
            invite.headers.push(name, value);
        }
        invite
    }

    fn routes(request: &Request) -> Vec<&str> {
        request.headers.all("Route").collect()
    }

    #[test]
    fn the_callee_keeps_the_route_as_recorded_and_the_caller_reverses_it() {
        let mut dialog = Dialog::incoming(&invite(), "b1".into(), Some(FlowId(4))).unwrap();
        let (bye, hop) = dialog.request(Method::Bye);
        assert_eq!(bye.uri, "sip:ann@10.0.0.1:5070;transport=tcp");
        assert_eq!(routes(&bye), ["<sip:p2@core:5060;lr>", "<sip:p1@core;lr;x=1>", "<sip:p0@core;lr>"]);
        assert_eq!(hop, Hop { uri: "sip:p2@core:5060;lr".into(), flow: Some(FlowId(4)) });
        assert_eq!(bye.headers.get("To"), Some("\"Ann <;>\" <sip:ann@example.org;user=phone>;epid=7;tag=a1"));
        assert_eq!(bye.headers.get("From"), Some("<sip:bob@example.org>;tag=b1"));
        assert_eq!(bye.headers.get("CSeq"), Some("1 BYE"));

        let mut ok = Response::new(200);
        ok.headers.push("Record-Route", "<sip:p2@core:5060;lr>,<sip:p1@core;lr>");
        ok.headers.push("To", "<sip:bob@example.org>;tag=far");
        ok.headers.push("Contact", "<sip:bob@10.0.0.9>");
        let mut dialog = Dialog::outgoing(
            "c".into(),
            "<sip:a@x>".into(),
            "t".into(),
            "<sip:bob@example.org>".into(),
            "sip:bob@example.org".into(),
            vec![],
            None,
        );
        let (first, _) = dialog.request(Method::Invite);
        assert_eq!(first.headers.get("To"), Some("<sip:bob@example.org>"));
        dialog.establish(&ok);
        let (ack, hop) = dialog.ack(1);
        assert_eq!((ack.uri.as_str(), ack.headers.get("CSeq")), ("sip:bob@10.0.0.9", Some("1 ACK")));
        assert_eq!(routes(&ack), ["<sip:p1@core;lr>", "<sip:p2@core:5060;lr>"]);
        assert_eq!(
            (hop.uri.as_str(), ack.headers.get("To")),
            ("sip:p1@core;lr", Some("<sip:bob@example.org>;tag=far"))
        );
        assert_eq!(dialog.request(Method::Bye).0.headers.get("CSeq"), Some("2 BYE"));
    }

    #[test]
    fn a_strict_router_gets_its_own_uri() {
        let mut invite = invite();
        invite.headers.remove("Record-Route");
        invite.headers.push("Record-Route", "<sip:old.example.org>, <sip:p1@core;lr>");
        let mut dialog = Dialog::incoming(&invite, "b1".into(), None).unwrap();
        let (bye, hop) = dialog.request(Method::Bye);
        assert_eq!((bye.uri.as_str(), hop.uri.as_str()), ("sip:old.example.org", "sip:old.example.org"));
        assert_eq!(routes(&bye), ["<sip:p1@core;lr>", "<sip:ann@10.0.0.1:5070;transport=tcp>"]);
    }

    #[test]
    fn requests_are_taken_in_order_and_refresh_the_target() {
        let mut dialog = Dialog::incoming(&invite(), "b1".into(), None).unwrap();
        let mut update = invite();
        update.method = Method::Update;
        update.headers.set("CSeq", "9 UPDATE");
        update.headers.set("Contact", "sip:ann@10.0.0.2;method=x");
        assert_eq!(dialog.receive(&update), Ok(()));
        assert_eq!(dialog.target, "sip:ann@10.0.0.2");
        update.headers.set("CSeq", "8 UPDATE");
        assert_eq!(dialog.receive(&update), Err(DialogError::Order));
        update.headers.set("CSeq", "10 UPDATE");
        update.headers.set("From", "<sip:ann@example.org>;tag=other");
        assert_eq!(dialog.receive(&update), Err(DialogError::Tag));
    }

    #[test]
    fn an_invite_that_makes_no_dialog_is_refused() {
        let mut no_contact = invite();
        no_contact.headers.set("Contact", "*");
        assert_eq!(Dialog::incoming(&no_contact, "b".into(), None), Err(DialogError::Contact));
        let mut no_tag = invite();
        no_tag.headers.set("From", "<sip:ann@example.org>");
        assert_eq!(Dialog::incoming(&no_tag, "b".into(), None), Err(DialogError::Incomplete));
    }
}
