//! OPTIONS outside a dialog (RFC 3261 section 11.2).

use super::{capabilities, context::Context, invitation::unsupported};
use crate::core::{event::ServerTx, sip::Request};

/// Answers it: we are asked, whoever is named.
pub(crate) fn options(cx: &mut Context<'_>, tx: ServerTx, request: &Request) {
    let scheme = request.uri.split(':').next().unwrap_or_default();
    if !["sip", "sips", "tel"].iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return cx.refuse(tx, request, 416);
    }
    let unknown = unsupported(request);
    let response = match unknown.is_empty() {
        true => capabilities(cx.refusal(request, 200)),
        false => cx.refusal(request, 420).with("Unsupported", unknown.join(", ")),
    };
    cx.respond(tx, response);
}
