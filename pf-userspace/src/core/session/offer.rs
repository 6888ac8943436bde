//! The session descriptions that peers offer (clause 5.2.1.2).

use bytes::Bytes;

use super::context::Context;
use crate::core::{
    sdp::{self, Part, Sdp, SdpError},
    sip::{Request, Response},
};

/// The client's offer.
pub(super) struct Offered {
    pub(super) sdp: Sdp,
    /// As received.
    pub(super) octets: Vec<u8>,
    /// There was none: `sdp` is what we offer on our own.
    pub(super) offerless: bool,
}

/// The session description and the other parts of the body. Lines that we cannot carry are rejected.
pub(super) fn offer_of(
    cx: &mut Context<'_>,
    request: &Request,
) -> Result<(Offered, Vec<Part>), Box<Response>> {
    let body = match sdp::split_body(request.headers.get("Content-Type"), &request.body) {
        Ok(body) => body,
        Err(sdp::BodyError::Encoded | sdp::BodyError::Untyped) => {
            return Err(Box::new(
                cx.refusal(request, 415).with("Accept", "application/sdp, multipart/mixed"),
            ));
        }
        Err(_) => return Err(Box::new(cx.refusal(request, 400))),
    };
    let octets = body.sdp.clone().unwrap_or_default().to_vec();
    let offerless = body.sdp.is_none();
    let text = body.sdp.unwrap_or_else(|| Bytes::from_static(CHAT_OFFER));
    let sdp = parse_offer(&text).map_err(|refusal| Box::new(refusal.response(cx, request)))?;
    Ok((Offered { sdp, octets, offerless }, body.others))
}

/// Why an offer is not taken.
pub(super) enum BadOffer {
    /// It is no session description: `400`.
    Malformed,
    /// `488`, with this warning text.
    NotAcceptable(&'static str),
}

impl BadOffer {
    pub(super) fn response(self, cx: &mut Context<'_>, request: &Request) -> Response {
        match self {
            BadOffer::Malformed => cx.refusal(request, 400),
            BadOffer::NotAcceptable(why) => cx.warning(request, 488, why),
        }
    }
}

/// Reads an offer: at least one m-line must be an MSRP stream that we can carry; MSRP lines that we cannot are
/// rejected.
pub(super) fn parse_offer(text: &[u8]) -> Result<Sdp, BadOffer> {
    let sdp = Sdp::parse(text).map_err(|error| match error {
        SdpError::Malformed(_) => BadOffer::Malformed,
        SdpError::NotUtf8 | SdpError::TooLong | SdpError::TooManyLines => {
            BadOffer::NotAcceptable("Session description not supported")
        }
    })?;
    let lines = sdp.msrp_lines();
    let bad: Vec<usize> = lines
        .iter()
        .filter(|line| !line.is_rejected() && line.anchorable().is_err())
        .map(|line| line.index)
        .collect();
    if lines.iter().all(|line| line.anchorable().is_err()) {
        return Err(BadOffer::NotAcceptable("No MSRP stream that can be carried"));
    }
    Ok(if bad.is_empty() { sdp } else { sdp.rejecting(&bad) })
}

/// The offer that we make where the client made none: a chat of CPIM messages. Its addresses are replaced.
pub(super) const CHAT_OFFER: &[u8] = b"v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
    m=message 9 TCP/MSRP *\r\na=accept-types:message/cpim application/im-iscomposing+xml\r\n\
    a=accept-wrapped-types:*\r\na=path:msrp://0.0.0.0:9/-;tcp\r\n";
