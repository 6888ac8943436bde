//! Messages whose grammar is right and whose meaning is not (RFC 4475 sections 3.2 to 3.4).

use super::{Case, Framing, Wanted, case, unframed};

fn with(request: &str, method: &str, headers: &str) -> String {
    format!(
        "\n{request}\nVia: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE\nTo: sip:user@example.com\n\
         From: sip:caller@example.net;tag=93942939o2\nCall-ID: UNIQUE\nCSeq: 8 {method}\n{headers}\n\n"
    )
}

pub(super) fn cases() -> Vec<Case> {
    let bad = Wanted::Status(&[400]);
    let understood = Wanted::Understood;
    let contact = "Contact: <sip:caller@host.example.net>\nMax-Forwards: 70\nContent-Length: 0";
    vec![
        case(
            "a branch of the magic cookie alone",
            "3.2.1",
            Wanted::Whatever,
            "
        OPTIONS sip:user@PF SIP/2.0
        To: sip:user@example.com
        From: sip:caller@example.org;tag=33242
        Max-Forwards: 3
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bK
        Call-ID: badbranch.UNIQUE
        CSeq: 8 OPTIONS
        l: 0

        ",
        ),
        case(
            "neither Call-ID nor From nor To",
            "3.3.1",
            Wanted::Whatever,
            "
        INVITE sip:user@example.com SIP/2.0
        CSeq: 193942 INVITE
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Content-Length: 0

        ",
        ),
        case(
            "a Request-URI of an unknown scheme",
            "3.3.2",
            Wanted::Status(&[416, 403, 404]),
            &with("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", "OPTIONS", contact),
        ),
        case(
            "a Request-URI of a known scheme that SIP does not use",
            "3.3.3",
            Wanted::Status(&[416, 403, 404]),
            &with("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", "OPTIONS", contact),
        ),
        case(
            "unknown schemes in To and Contact",
            "3.3.4",
            Wanted::Status(&[400, 401, 403, 404]),
            "
        REGISTER sip:example.com SIP/2.0
        To: isbn:2983792873
        From: <http://www.example.com>;tag=3234233
        Call-ID: unksm2.UNIQUE
        CSeq: 234902 REGISTER
        Max-Forwards: 70
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Contact: <name:John_Smith>
        l: 0

        ",
        ),
        case(
            "required extensions that nobody knows",
            "3.3.5",
            Wanted::Status(&[420]),
            &with(
                "OPTIONS sip:user@PF SIP/2.0",
                "OPTIONS",
                "Max-Forwards: 70\nRequire: nothingSupportsThis, nothingSupportsThisEither\nContent-Length: 0",
            ),
        ),
        case(
            "a body of an unknown type",
            "3.3.6",
            Wanted::Status(&[401, 403, 407, 415]),
            &with(
                "INVITE sip:user@example.com SIP/2.0",
                "INVITE",
                "Contact: <sip:caller@host.example.net>\nMax-Forwards: 70\nContent-Type: application/unknownformat\n\
                 Content-Length: 0",
            ),
        ),
        case(
            "credentials of an unknown scheme",
            "3.3.7",
            Wanted::Status(&[400, 401, 403, 404]),
            "
        REGISTER sip:example.org SIP/2.0
        To: sip:alice@example.org
        From: sip:alice@example.org;tag=87321hj23128
        Max-Forwards: 8
        Call-ID: regaut01.UNIQUE
        CSeq: 9338 REGISTER
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Authorization: NoOneKnowsThisScheme opaque-data=here
        Content-Length: 0

        ",
        ),
        case(
            "headers more often than they may be",
            "3.3.8",
            bad,
            "
        INVITE sip:user@company.com SIP/2.0
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Max-Forwards: 70
        Max-Forwards: 70
        CSeq: 5 INVITE
        CSeq: 59 INVITE
        Call-ID: multi01.UNIQUE
        Call-ID: multi01.other.UNIQUE
        From: sip:caller@example.com;tag=3413415
        From: sip:user@example.com;tag=2923420123
        To: sip:user@company.com
        To: sip:other@example.net
        Contact: <sip:caller@host36.example.net>
        Content-Length: 0

        ",
        ),
        unframed(
            "two different lengths",
            "3.3.9",
            bad,
            &with(
                "OPTIONS sip:user@PF SIP/2.0",
                "OPTIONS",
                "Max-Forwards: 70\nContent-Length: 13\nContent-Length: 5\nContent-Type: text/plain",
            ),
        ),
        // The answer to it would go to everybody: there is no transaction, and nothing is sent.
        case(
            "a response whose Via names a broadcast address",
            "3.3.10",
            Wanted::Whatever,
            "
        SIP/2.0 200 OK
        Via: SIP/2.0/TRANSPORT 192.0.2.198;branch=z9hG4bK1324923
        Via: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23
        Call-ID: bcast.UNIQUE
        CSeq: 35 INVITE
        From: sip:user@example.com;tag=11141343
        To: sip:user@example.edu;tag=2229
        Content-Length: 0

        ",
        ),
        case(
            "no hop left",
            "3.3.11",
            Wanted::Understood,
            &with("OPTIONS sip:user@PF SIP/2.0", "OPTIONS", "Max-Forwards: 0\nContent-Length: 0"),
        ),
        case(
            "parameters that are the header's, not the URI's",
            "3.3.12",
            Wanted::Status(&[400, 401, 403, 404]),
            "
        REGISTER sip:example.com SIP/2.0
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Max-Forwards: 70
        From: sip:watson@example.com;tag=DkfVgjkrtMwaerKKpe
        To: sip:watson@example.com
        Call-ID: cparam01.UNIQUE
        CSeq: 2 REGISTER
        Contact: sip:+19725552222@gw1.example.net;unknownparam
        l: 0

        ",
        ),
        case(
            "parameters that are the URI's, not the header's",
            "3.3.13",
            Wanted::Status(&[400, 401, 403, 404]),
            "
        REGISTER sip:example.com SIP/2.0
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Max-Forwards: 70
        From: sip:watson@example.com;tag=838293
        To: sip:watson@example.com
        Call-ID: cparam02.UNIQUE
        CSeq: 3 REGISTER
        Contact: <sip:+19725552222@gw1.example.net;unknownparam>
        l: 0

        ",
        ),
        case(
            "the same URI escaped and not",
            "3.3.14",
            Wanted::Status(&[401, 403, 404]),
            "
        REGISTER sip:example.com SIP/2.0
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Max-Forwards: 70
        From: sip:user@example.com;tag=8
        To: sip:user@example.com
        Call-ID: regescrt.UNIQUE
        CSeq: 14398234 REGISTER
        Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>
        L:0

        ",
        ),
        case(
            "a body that is not accepted",
            "3.3.15",
            Wanted::Status(&[401, 403, 406, 407]),
            &with(
                "INVITE sip:user@example.com SIP/2.0",
                "INVITE",
                "Contact: <sip:caller@host5.example.net>\nMax-Forwards: 5\nAccept: text/nobodyKnowsThis\nContent-Length: 0",
            ),
        ),
        Case {
            // Without Content-Length a stream cannot be framed; a datagram can.
            framing: Framing::Lost,
            ..case(
                "as RFC 2543 had it: no branch, no Max-Forwards, no tag",
                "3.4.1",
                understood,
                "
        INVITE sip:UserB@example.com SIP/2.0
        Via: SIP/2.0/TRANSPORT HOST
        From: <sip:caller@example.net>
        To: <sip:UserB@example.com>
        Call-ID: inv2543.UNIQUE
        CSeq: 56 INVITE

        ",
            )
        },
    ]
}
