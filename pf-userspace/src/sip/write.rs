//! Messages to octets.

use bytes::{BufMut, Bytes, BytesMut};

use crate::core::sip::{Headers, Request, Response};

/// A request with `via` as its topmost Via and Content-Length from its body.
pub(crate) fn request(request: &Request, via: &str) -> Bytes {
    let mut out = BytesMut::with_capacity(request_size(request) + via.len() + 8);
    out.put_slice(request.method.as_str().as_bytes());
    out.put_u8(b' ');
    put_line(&mut out, &request.uri);
    out.put_slice(b" SIP/2.0\r\n");
    put_header(&mut out, "Via", via);
    put_rest(&mut out, &request.headers, &request.body);
    out.freeze()
}

/// About how many octets [`request`] makes, without its Via.
pub(crate) fn request_size(request: &Request) -> usize {
    request.uri.len() + 48 + fields_size(&request.headers) + request.body.len()
}

/// A response as it stands, with Content-Length from its body.
pub(crate) fn response(response: &Response) -> Bytes {
    let mut out = BytesMut::with_capacity(
        response.reason.len() + 48 + fields_size(&response.headers) + response.body.len(),
    );
    out.put_slice(b"SIP/2.0 ");
    out.put_slice(response.status.to_string().as_bytes());
    out.put_u8(b' ');
    put_line(&mut out, &response.reason);
    out.put_slice(b"\r\n");
    put_rest(&mut out, &response.headers, &response.body);
    out.freeze()
}

fn fields_size(headers: &Headers) -> usize {
    headers.0.iter().map(|h| h.name.len() + h.value.len() + 4).sum()
}

fn put_rest(out: &mut BytesMut, headers: &Headers, body: &[u8]) {
    // Content-Length keeps its place and name, and its number is always the body's.
    let mut length = Some(body.len().to_string());
    for header in &headers.0 {
        if !header.is("Content-Length") {
            put_header(out, &header.name, &header.value);
        } else if let Some(length) = length.take() {
            put_header(out, &header.name, &length);
        }
    }
    if let Some(length) = length {
        put_header(out, "Content-Length", &length);
    }
    out.put_slice(b"\r\n");
    out.put_slice(body);
}

fn put_header(out: &mut BytesMut, name: &str, value: &str) {
    put_line(out, name);
    out.put_slice(b": ");
    put_line(out, value);
    out.put_slice(b"\r\n");
}

/// A line break inside a value would begin a header of the value's author: it becomes a blank.
fn put_line(out: &mut BytesMut, text: &str) {
    if text.bytes().any(|o| matches!(o, b'\r' | b'\n')) {
        out.extend(text.bytes().map(|o| if matches!(o, b'\r' | b'\n') { b' ' } else { o }));
    } else {
        out.put_slice(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sip::Method;

    #[test]
    fn order_names_and_octets_are_kept_and_no_value_can_add_a_line() {
        let mut message = Request::new(Method::Message, "sip:%75ser@h;x=%20");
        message.headers.push("k", "path");
        message.headers.push("X-Odd", "a\r\nEvil: 1");
        message.headers.push("l", "999");
        message.headers.push("X-Last", "2");
        message.headers.push("Content-Length", "7");
        message.body = Bytes::from_static(b"\0\xff\r\n");
        assert_eq!(
            request(&message, "SIP/2.0/UDP h;branch=z9hG4bK1").as_ref(),
            b"MESSAGE sip:%75ser@h;x=%20 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nk: path\r\n\
              X-Odd: a  Evil: 1\r\nl: 4\r\nX-Last: 2\r\n\r\n\0\xff\r\n"
        );
        let mut answer = Response::new(403);
        answer.reason = "Not \u{e4} chance".to_owned();
        assert_eq!(
            response(&answer).as_ref(),
            "SIP/2.0 403 Not \u{e4} chance\r\nContent-Length: 0\r\n\r\n".as_bytes()
        );
    }
}
