//! Messages that break the grammar (RFC 4475 section 3.1.2).

use super::{Case, Wanted, case, unframed};

/// The lines that every message needs, the first of its request line excepted.
fn with(request: &str, headers: &str) -> String {
    format!(
        "\n{request}\nVia: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE\nMax-Forwards: 70\n{headers}\n\n"
    )
}

pub(super) fn cases() -> Vec<Case> {
    let bad = Wanted::Status(&[400]);
    // Where the fault is in something that `pf` need not read, it may also take no offence.
    let refused = Wanted::Status(&[400, 401, 403, 404, 405, 407, 481]);
    let from_to = "To: sip:j.user@example.com\nFrom: sip:caller@example.net;tag=134161461246";
    vec![
        case(
            "separators without values",
            "3.1.2.1",
            refused,
            &with(
                "INVITE sip:user@example.com SIP/2.0",
                &format!(
                    "{from_to}\nCall-ID: badinv01.UNIQUE\nCSeq: 8 INVITE\nContact: \"Joe\" <sip:joe@example.org>;;;;\n\
                     Content-Length: 0"
                ),
            ),
        ),
        unframed(
            "a Content-Length beyond the end",
            "3.1.2.2",
            bad,
            &with(
                "INVITE sip:user@example.com SIP/2.0",
                &format!(
                    "{from_to}\nCall-ID: clerr.UNIQUE\nCSeq: 8 INVITE\nContent-Type: application/sdp\nContent-Length: 9999"
                ),
            ),
        ),
        unframed(
            "a negative Content-Length",
            "3.1.2.3",
            bad,
            &with(
                "INVITE sip:user@example.com SIP/2.0",
                &format!(
                    "{from_to}\nCall-ID: ncl.UNIQUE\nCSeq: 0 INVITE\nContent-Type: application/sdp\nContent-Length: -999"
                ),
            ),
        ),
        case(
            "numbers too large for a request",
            "3.1.2.4",
            refused,
            &with(
                "REGISTER sip:example.com SIP/2.0",
                "To: <sip:user@example.com>\nFrom: <sip:user@example.com>;tag=239232jh3\n\
                 CSeq: 36893488147419103232 REGISTER\nCall-ID: scalar02.UNIQUE\n\
                 Expires: 10000000000000000000000000000000000000000\n\
                 Contact: <sip:user@host129.example.com>;expires=280297596632815\nContent-Length: 0",
            ),
        ),
        case(
            "numbers too large for a response",
            "3.1.2.5",
            Wanted::Whatever,
            "
        SIP/2.0 503 Service Unavailable
        Via: SIP/2.0/TRANSPORT PF;branch=z9hG4bKUNIQUE;rport=9999999
        To: <sip:user@example.com>
        From: <sip:other@example.net>;tag=2easdjfejw
        CSeq: 9292394834772304023312 OPTIONS
        Call-ID: scalarlg.UNIQUE
        Retry-After: 949302838503028349304023988
        Warning: 1812 overture \"In Progress\"
        Content-Length: 0

        ",
        ),
        case(
            "a quotation that does not end",
            "3.1.2.6",
            bad,
            &with(
                "INVITE sip:user@example.com SIP/2.0",
                "To: \"Mr. J. User <sip:j.user@example.com>\nFrom: sip:caller@example.net;tag=93334\n\
                 Call-ID: quotbal.UNIQUE\nCSeq: 8 INVITE\nContact: <sip:caller@host59.example.net>\nContent-Length: 0",
            ),
        ),
        case(
            "a Request-URI in angle brackets",
            "3.1.2.7",
            bad,
            &with(
                "INVITE <sip:user@example.com> SIP/2.0",
                &format!(
                    "{from_to}\nCall-ID: ltgtruri.UNIQUE\nCSeq: 1 INVITE\nContact: <sip:c@host5.example.net>\nContent-Length: 0"
                ),
            ),
        ),
        case(
            "white space in the Request-URI",
            "3.1.2.8",
            bad,
            &with(
                "INVITE sip:user@example.com; lr SIP/2.0",
                &format!(
                    "{from_to}\nCall-ID: lwsruri.UNIQUE\nCSeq: 1 INVITE\nContact: <sip:c@host1.example.com>\nContent-Length: 0"
                ),
            ),
        ),
        case(
            "several spaces in the request line",
            "3.1.2.9",
            bad,
            &with(
                "INVITE  sip:user@example.com  SIP/2.0",
                &format!(
                    "{from_to}\nCall-ID: lwsstart.UNIQUE\nCSeq: 8 INVITE\nContact: <sip:c@host1.example.com>\nContent-Length: 0"
                ),
            ),
        ),
        case(
            "spaces behind the version",
            "3.1.2.10",
            Wanted::Status(&[400, 405, 200, 403, 404]),
            &with(
                "OPTIONS sip:remote-target@example.com SIP/2.0  ",
                &format!(
                    "{from_to}\nCall-ID: trws.UNIQUE\nCSeq: 8 OPTIONS\nContact: <sip:c@host5.example.net>\nContent-Length: 0"
                ),
            ),
        ),
        case(
            "escaped headers in a Request-URI",
            "3.1.2.11",
            Wanted::Status(&[400, 401, 403, 404, 407]),
            &with(
                "INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0",
                &format!(
                    "{from_to}\nCall-ID: escruri.UNIQUE\nCSeq: 1 INVITE\nContact: <sip:c@host1.example.com>\nContent-Length: 0"
                ),
            ),
        ),
        case(
            "a time zone that SIP does not know",
            "3.1.2.12",
            refused,
            &with(
                "INVITE sip:user@example.com SIP/2.0",
                &format!(
                    "{from_to}\nDate: Fri, 01 Jan 2010 16:00:00 EST\nCall-ID: baddate.UNIQUE\nCSeq: 1 INVITE\nContent-Length: 0"
                ),
            ),
        ),
        case(
            "a Contact that needs angle brackets and has none",
            "3.1.2.13",
            Wanted::Status(&[400, 401, 403, 404, 407]),
            &with(
                "REGISTER sip:example.com SIP/2.0",
                "To: sip:user@example.com\nFrom: sip:user@example.com;tag=998332\nCall-ID: regbadct.UNIQUE\n\
                 CSeq: 1 REGISTER\nContact: sip:user@example.com?Route=%3Csip:sip.example.com%3E\nl: 0",
            ),
        ),
        case(
            "spaces inside the brackets of To and Contact",
            "3.1.2.14",
            Wanted::Status(&[400, 200, 403, 404, 405]),
            &with(
                "OPTIONS sip:user@example.org SIP/2.0",
                "To: \"Watson, Thomas\" < sip:t.watson@example.org >\nFrom: <sip:a.g.bell@example.com>;tag=92392193\n\
                 Call-ID: badaspec.UNIQUE\nCSeq: 1 OPTIONS\nContent-Length: 0",
            ),
        ),
        case(
            "a display name that is no token",
            "3.1.2.15",
            Wanted::Status(&[400, 200, 403, 404, 405]),
            &with(
                "OPTIONS sip:t.watson@example.org SIP/2.0",
                "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43\nTo: Watson, Thomas <sip:t.watson@example.org>\n\
                 Call-ID: baddn.UNIQUE\nCSeq: 31 OPTIONS\nContent-Length: 0",
            ),
        ),
        case(
            "an unknown version",
            "3.1.2.16",
            Wanted::Status(&[505]),
            &with(
                "OPTIONS sip:t.watson@example.org SIP/7.0",
                &format!("{from_to}\nCall-ID: badvers.UNIQUE\nCSeq: 1 OPTIONS\nContent-Length: 0"),
            ),
        ),
        case(
            "another method in CSeq",
            "3.1.2.17",
            bad,
            &with(
                "OPTIONS sip:user@example.com SIP/2.0",
                &format!("{from_to}\nCall-ID: mismatch01.UNIQUE\nCSeq: 8 INVITE\nContent-Length: 0"),
            ),
        ),
        case(
            "an unknown method, and another one in CSeq",
            "3.1.2.18",
            Wanted::Status(&[400, 501]),
            &with(
                "NEWMETHOD sip:user@example.com SIP/2.0",
                &format!("{from_to}\nCall-ID: mismatch02.UNIQUE\nCSeq: 8 INVITE\nContent-Length: 0"),
            ),
        ),
        case(
            "a status of ten digits",
            "3.1.2.19",
            Wanted::Whatever,
            "
        SIP/2.0 4294967301 better not break the receiver
        Via: SIP/2.0/TRANSPORT PF;branch=z9hG4bKUNIQUE
        Call-ID: bigcode.UNIQUE
        CSeq: 353494 INVITE
        From: <sip:user@example.com>;tag=39ansfi3
        To: <sip:user@example.edu>;tag=902jndnke3
        Content-Length: 0

        ",
        ),
    ]
}
