//! Valid messages that few parsers like (RFC 4475 section 3.1.1).

use super::{Case, Wanted, case};

pub(super) fn cases() -> Vec<Case> {
    let understood = Wanted::Understood;
    let long = "x".repeat(200);
    vec![
        case(
            "every freedom of white space, case and folding",
            "3.1.1.1",
            understood,
            "
        INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0
        TO :
         sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n
        from   : \"J Rosenberg \\\\\\\"\"       <sip:jdrosen@example.com>
          ;
          tag = 98asjd8
        MaX-fOrWaRdS: 0068
        Call-ID: wsinv.UNIQUE@example.com
        Content-Length   : LENGTH
        cseq: 0009
          INVITE
        Via  : SIP  /   2.0
         /TRANSPORT
            HOST;branch=z9hG4bKUNIQUE1;rport
        s :
        NewFangledHeader:   newfangled value
         continued newfangled value
        UnknownHeaderWithUnusualValue: ;;,,;;,;
        Content-Type: application/sdp
        Route:
         <sip:services.example.com;lr;unknownwith=value;unknown-no-value>
        v:  SIP  / 2.0  / TCP     spindle.example.com   ;
          branch  =   z9hG4bK9ikj8  ,
         SIP  /    2.0   / UDP  192.168.255.111   ; branch=
         z9hG4bK30239
        m:\"Quoted string \\\"\\\"\" <sip:jdrosen@example.com> ; newparam =
              newvalue ;
          secondparam ; q = 0.33

        v=0
        o=mhandley 29739 7272939 IN IP4 192.0.2.3
        s=-
        c=IN IP4 192.0.2.4
        t=0 0
        m=audio 49217 RTP/AVP 0 12
        ",
        ),
        case(
            "a method of every character that a token may have",
            "3.1.1.2",
            // Understood, and unknown: 405 or 501.
            Wanted::Status(&[405, 501, 403, 404]),
            "
        !interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com SIP/2.0
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bK-.!%66*_+`'~UNIQUE
        To: \"BEL:\\\u{7} NUL:\\ DEL:\\\u{7f}\" <sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com>
        From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u{440}\u{430}\u{431}\";tag=_token~1'+`*%!-.
        Call-ID: intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{UNIQUE
        CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~
        Max-Forwards: 255
        extensionHeader-!.%*+_`'~:\u{fe}\u{2014}\u{416}
        Content-Length: 0

        ",
        ),
        case(
            "escaped octets where they may be",
            "3.1.1.3",
            understood,
            "
        INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0
        To: sip:%75se%72@example.com
        From: <sip:I%20have%20spaces@example.net>;tag=938
        Max-Forwards: 87
        i: esc01.UNIQUE
        CSeq: 234234 INVITE
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        C: application/sdp
        Contact: <sip:cal%6Cer@192.0.2.5:5060;%6C%72;n%61me=v%61lue%25%34%31>
        Content-Length: LENGTH

        v=0
        o=mhandley 29739 7272939 IN IP4 192.0.2.1
        s=-
        c=IN IP4 192.0.2.1
        t=0 0
        m=audio 49217 RTP/AVP 0 12
        ",
        ),
        case(
            "escaped zeros in the user part",
            "3.1.1.4",
            understood,
            "
        REGISTER sip:example.com SIP/2.0
        To: sip:null-%00-null@example.com
        From: sip:null-%00-null@example.com;tag=839923423
        Max-Forwards: 70
        Call-ID: escnull.UNIQUE
        CSeq: 14398234 REGISTER
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Contact: <sip:%00@host5.example.com>
        Contact: <sip:%00%00@host5.example.com>
        L:0

        ",
        ),
        case(
            "percent signs that escape nothing",
            "3.1.1.5",
            Wanted::Status(&[405, 501, 403, 404]),
            "
        RE%47IST%45R sip:registrar.example.com SIP/2.0
        To: \"%Z%45\" <sip:resource@example.com>
        From: \"%Z%45\" <sip:resource@example.com>;tag=f232jadfj23
        Call-ID: esc02.UNIQUE
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        CSeq: 29344 RE%47IST%45R
        Max-Forwards: 70
        Contact: <sip:alias1@host1.example.com>
        C%6Fntact: <sip:alias2@host2.example.com>
        Contact: <sip:alias3@host3.example.com>
        l: 0

        ",
        ),
        case(
            "no space between display name and bracket",
            "3.1.1.6",
            understood,
            "
        OPTIONS sip:user@PF SIP/2.0
        To: sip:user@example.com
        From: caller<sip:caller@example.com>;tag=323
        Max-Forwards: 70
        Call-ID: lwsdisp.UNIQUE
        CSeq: 60 OPTIONS
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        l: 0

        ",
        ),
        case(
            "long values everywhere",
            "3.1.1.7",
            understood,
            &format!(
                "
        INVITE sip:user@example.com SIP/2.0
        To: \"I have a user name of {long} proportion\" <sip:user@example.com:6000;unknownparam1={long};longparam{long}=shortvalue>
        F: sip:{long}@example.net;tag=12{long}982424;unknownheaderparam{long}name=unknown{long}value;unknownValueless{long}paramName
        Call-ID: longreq.one{long}UNIQUE
        CSeq: 3882340 INVITE
        Unknown-{long}-Name: unknown-{long}-value; unknown-{long}-parameter-name = unknown-{long}-parameter-value
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        v: SIP/2.0/TCP {long}.example.com;branch={long}
        Max-Forwards: 70
        Contact: <sip:amazing{long}@host5.example.net>
        Content-Type: application/sdp
        l: LENGTH

        v=0
        o=mhandley 29739 7272939 IN IP4 192.0.2.1
        s=-
        c=IN IP4 192.0.2.1
        t=0 0
        m=audio 49217 RTP/AVP 0 12
        "
            ),
        ),
        case(
            "semicolons in the user part",
            "3.1.1.9",
            understood,
            "
        OPTIONS sip:user;par=u%40example.net@PF SIP/2.0
        To: sip:j_user@example.com
        From: sip:caller@example.org;tag=33242
        Max-Forwards: 3
        Call-ID: semiuri.UNIQUE
        CSeq: 8 OPTIONS
        Accept: application/sdp, application/pkcs7-mime, multipart/mixed, multipart/signed, message/sip, message/sipfrag
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        l: 0

        ",
        ),
        case(
            "transports of all kinds in Via",
            "3.1.1.10",
            understood,
            "
        OPTIONS sip:user@PF SIP/2.0
        To: sip:user@example.com
        From: <sip:caller@example.com>;tag=323
        Max-Forwards: 70
        Call-ID: transports.UNIQUE
        CSeq: 60 OPTIONS
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf
        Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj
        Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en
        Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee
        l: 0

        ",
        ),
        case(
            "a multipart body with an octet that is no text",
            "3.1.1.11",
            understood,
            "
        OPTIONS sip:kumiko@PF SIP/2.0
        Via: SIP/2.0/TRANSPORT HOST;rport;branch=z9hG4bKUNIQUE
        Max-Forwards: 70
        From: <sip:fluffy@example.com>;tag=2fb0dcc9
        To: <sip:kumiko@example.org>
        Call-ID: mpart01.UNIQUE
        CSeq: 127753 OPTIONS
        Content-Type: multipart/mixed;boundary=7a9cbec02ceef655
        Content-Length: LENGTH

        --7a9cbec02ceef655
        Content-Type: text/plain
        Content-Transfer-Encoding: binary

        Hello
        --7a9cbec02ceef655
        Content-Type: application/octet-stream
        Content-Transfer-Encoding: binary

        \u{1}\u{2}\u{80}\u{ff}
        --7a9cbec02ceef655--
        ",
        ),
        // A response to nothing is for nobody.
        case(
            "a reason phrase of any language",
            "3.1.1.12",
            Wanted::Whatever,
            "
        SIP/2.0 200 = 2**3 * 5**2 \u{43d}\u{43e} \u{441}\u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{43d}\u{43e}\u{441}\u{442}\u{43e} \u{434}\u{435}\u{432}\u{44f}\u{442}\u{44c} - \u{43f}\u{440}\u{43e}\u{441}\u{442}\u{43e}\u{435}
        Via: SIP/2.0/TRANSPORT PF;branch=z9hG4bK1324923
        Call-ID: unreason.UNIQUE
        CSeq: 35 INVITE
        From: sip:user@example.com;tag=11141343
        To: sip:user@example.edu;tag=2229
        Content-Length: 0
        Contact: <sip:user@host198.example.com>

        ",
        ),
        case(
            "no reason phrase",
            "3.1.1.13",
            Wanted::Whatever,
            "
        SIP/2.0 100\u{20}
        Via: SIP/2.0/TRANSPORT PF;branch=z9hG4bK2398ndaoe
        Call-ID: noreason.UNIQUE
        CSeq: 35 INVITE
        From: <sip:user@example.com>;tag=39ansfi3
        To: <sip:user@example.edu>;tag=902jndnke3
        Content-Length: 0
        Contact: <sip:user@host105.example.com>

        ",
        ),
    ]
}
