//! What is on the wire in the clear: the hello that we send, and the one that we answer with.

use std::net::SocketAddr;

use rustls::{CipherSuite, NamedGroup, ProtocolVersion};
use serde_json::{Value, json};
use sni::client_hello::{Progress, Reader};
use tests::backend::Backend;
use tests::bootstrap::{any_chain, bootstrap, cluster, listener, merged, tcp_proxy};
use tests::client::connect;
use tests::compare::compare_as;
use tests::hello::{Hello, Offer};
use tests::process::{Kind, Proxy, Site};
use tests::story::IN;
use tests::tls;
use tests::wait::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{HASH, Mesh, TAGS, ends_tls};

const MLKEM: NamedGroup = NamedGroup::X25519MLKEM768;
const X25519: NamedGroup = NamedGroup::X25519;
const P256: NamedGroup = NamedGroup::secp256r1;
const P384: NamedGroup = NamedGroup::secp384r1;
const P521: NamedGroup = NamedGroup::secp521r1;
const AES_128: CipherSuite = CipherSuite::TLS13_AES_128_GCM_SHA256;
const AES_256: CipherSuite = CipherSuite::TLS13_AES_256_GCM_SHA384;
const CHACHA: CipherSuite = CipherSuite::TLS13_CHACHA20_POLY1305_SHA256;
const OLD_AES_128: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256;
const OLD_AES_256: CipherSuite = CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
const TLS12: ProtocolVersion = ProtocolVersion::TLSv1_2;
const TLS13: ProtocolVersion = ProtocolVersion::TLSv1_3;

const ALERT: u8 = 21;
const HANDSHAKE_FAILURE: u8 = 40;
const SERVER_HELLO: u8 = 2;
const SERVER_KEY_EXCHANGE: u8 = 12;
const SUPPORTED_VERSIONS: u16 = 43;
/// The random of a HelloRetryRequest begins so (RFC 8446 §4.1.3).
const RETRY: [u8; 4] = [0xcf, 0x21, 0xad, 0x74];
const RENEGOTIATION_INFO: u16 = 0xff01;
const KEY_SHARE: u16 = 51;
const COMPRESS_CERTIFICATE: u16 = 27;
const EARLY_DATA: u16 = 42;

/// The first bytes that a proxy of ours sends to a service with TLS.
async fn captured(socket: &Value) -> Vec<u8> {
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = Site::new();
    let origin = merged(cluster("origin", &[service.local_addr().unwrap()], json!({})), socket.clone());
    let listener = listener("egress", site.at(IN), &[any_chain(tcp_proxy("origin", json!({})))]);
    let bootstrap = bootstrap(&site, &[listener], &[origin]);
    let proxy = Proxy::start(Kind::Egress, site, &bootstrap).await;
    let mut client = connect(proxy.at(IN)).await;
    client.write_all(b"no TLS here").await.unwrap();
    let (mut stream, _) = within("the egress", service.accept()).await.unwrap();
    let (mut bytes, mut reader) = (Vec::new(), Reader::with_default_limit());
    while matches!(reader.read(&bytes), Progress::Incomplete { .. }) {
        assert_ne!(within("a hello", stream.read_buf(&mut bytes)).await.unwrap(), 0, "{bytes:?}");
    }
    bytes
}

/// The groups of the key shares in a hello, in order.
fn shares(body: &[u8]) -> Vec<u16> {
    let (mut rest, mut groups) = (&body[2..], Vec::new());
    while let [a, b, high, low, more @ ..] = rest {
        groups.push(u16::from_be_bytes([*a, *b]));
        rest = &more[usize::from(u16::from_be_bytes([*high, *low]))..];
    }
    groups
}

#[tokio::test]
async fn our_hello() {
    for sni in ["api.example.com", TAGS] {
        let bytes = captured(&tls::upstream(json!({}), json!({"sni": sni}))).await;
        let mut reader = Reader::with_default_limit();
        let Progress::Hello(hello) = reader.read(&bytes) else { panic!("{bytes:?}") };
        assert_eq!(hello.server_name().as_bytes(), Some(sni.as_bytes()));
        let groups: Vec<u16> = hello.supported_groups().collect();
        assert_eq!(groups, [MLKEM, X25519, P256, P384].map(u16::from));
        let shares = shares(hello.extension(KEY_SHARE).unwrap());
        assert_eq!(shares.first(), Some(&u16::from(MLKEM)), "{shares:x?}");
        let suites: Vec<u16> = hello.cipher_suites().collect();
        assert_eq!(suites[..3], [AES_128, AES_256, CHACHA].map(u16::from));
        // The rest are AEADs with ephemeral keys, and the word that nothing will be renegotiated.
        let others: Vec<_> = suites[3..].iter().map(|suite| CipherSuite::from(*suite)).collect();
        let known = |suite: &CipherSuite| {
            let name = format!("{suite:?}");
            name.starts_with("TLS_ECDHE_") && (name.contains("_GCM_") || name.contains("CHACHA20"))
                || *suite == CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV
        };
        assert!(others.iter().all(known), "{others:?}");
        let versions: Vec<u16> = hello.supported_versions().collect();
        assert_eq!(versions, [TLS13, TLS12].map(u16::from));
        assert_eq!((hello.legacy_version(), hello.compression_methods()), (0x0303, &[0][..]));
        let renegotiation = hello.extension(RENEGOTIATION_INFO);
        assert!(renegotiation.is_none_or(|info| info == [0]), "{renegotiation:?}");
        assert!(hello.extension(COMPRESS_CERTIFICATE).is_none() && hello.extension(EARLY_DATA).is_none());
    }
}

/// What a server chose of an offer.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Chosen {
    version: ProtocolVersion,
    group: Option<NamedGroup>,
    /// A share of it is asked for.
    retry: bool,
}

/// Messages of a handshake in the clear.
struct Messages {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Messages {
    /// The next one's type and body; the alert's number if there is one instead.
    async fn next(&mut self) -> Result<(u8, Vec<u8>), u8> {
        loop {
            if let [kind, a, b, c, ..] = *self.bytes {
                let end = 4 + (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c));
                if self.bytes.len() >= end {
                    return Ok((kind, self.bytes.drain(..end).skip(4).collect()));
                }
            }
            let mut header = [0; 5];
            within("an answer", self.stream.read_exact(&mut header)).await.unwrap();
            let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
            within("a record", self.stream.read_exact(&mut record)).await.unwrap();
            if header[0] == ALERT {
                return Err(record[1]);
            }
            self.bytes.extend(record);
        }
    }
}

async fn answer(at: SocketAddr, offer: &Offer) -> Result<(Chosen, CipherSuite), u8> {
    let mut messages = Messages { stream: connect(at).await, bytes: Vec::new() };
    messages.stream.write_all(&Hello::to(HASH).offering(offer).bytes()).await.unwrap();
    let (kind, body) = messages.next().await?;
    assert_eq!(kind, SERVER_HELLO);
    // Version, random, session id, suite, compression, extensions.
    let number = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    let (mut version, mut group, session) = (number(0), None, usize::from(body[34]));
    let suite = CipherSuite::from(number(35 + session));
    assert_eq!(body[37 + session], 0, "no compression");
    let mut at = 40 + session;
    while at < body.len() {
        match number(at) {
            SUPPORTED_VERSIONS => version = number(at + 4),
            KEY_SHARE => group = Some(number(at + 4)),
            _ => {}
        }
        at += 4 + usize::from(number(at + 2));
    }
    while version == u16::from(TLS12) && group.is_none() {
        if let (SERVER_KEY_EXCHANGE, body) = messages.next().await? {
            group = Some(u16::from_be_bytes([body[1], body[2]]));
        }
    }
    let chosen = Chosen { version: version.into(), group: group.map(NamedGroup::from), retry: body[2..6] == RETRY };
    Ok((chosen, suite))
}

/// Whatever the client likes best, of its offer is taken what we like best, as Envoy does; but of the suites of TLS 1.3,
/// where Envoy follows the client.
#[tokio::test]
async fn our_answer() {
    let new = |groups: &[NamedGroup], shares: &[NamedGroup]| Offer {
        versions: vec![TLS13, TLS12],
        suites: vec![AES_256, CHACHA, OLD_AES_256, AES_128, OLD_AES_128],
        groups: groups.to_vec(),
        shares: shares.to_vec(),
    };
    let old = |groups: &[NamedGroup]| Offer { versions: vec![TLS12], ..new(groups, &[]) };
    let took = |group| Ok(Chosen { version: TLS13, group: Some(group), retry: false });
    let asked = |group| Ok(Chosen { version: TLS13, group: Some(group), retry: true });
    let table = [
        (new(&[MLKEM, X25519], &[MLKEM, X25519]), took(MLKEM)),
        (new(&[MLKEM, X25519], &[MLKEM]), took(MLKEM)),
        (new(&[X25519, MLKEM], &[X25519, MLKEM]), took(MLKEM)),
        (new(&[X25519, P256, MLKEM], &[X25519]), asked(MLKEM)),
        (new(&[MLKEM, X25519], &[X25519]), asked(MLKEM)),
        (new(&[P256, X25519], &[P256]), asked(X25519)),
        (new(&[P256, X25519], &[P256, X25519]), took(X25519)),
        (new(&[P384, P256], &[P384]), asked(P256)),
        (new(&[P384, P256], &[]), asked(P256)),
        (new(&[P521, P256], &[P256]), took(P256)),
        (old(&[MLKEM, P256, X25519]), Ok(Chosen { version: TLS12, group: Some(X25519), retry: false })),
        (new(&[NamedGroup::FFDHE2048], &[]), Err(HANDSHAKE_FAILURE)),
        (old(&[MLKEM]), Err(HANDSHAKE_FAILURE)),
    ];
    let (mesh, origin) = (Mesh::new(), Backend::echo("origin").await);
    let answers = compare_as(
        Kind::Egress,
        |site| {
            let socket = tls::downstream(tls::shows(&[&mesh.egress]), json!({}));
            let chain = ends_tls(HASH, socket, &[], tcp_proxy("origin", json!({})));
            let origin = cluster("origin", &[origin.address()], json!({}));
            bootstrap(site, &[listener("egress", site.at(IN), &[chain])], &[origin])
        },
        async |proxy| {
            let mut answers = Vec::new();
            for (offer, _) in &table {
                let answer = answer(proxy.at(IN), offer).await;
                let suite = answer.map(|(_, suite)| suite).ok();
                let first = suite.is_none_or(|suite| [AES_128, OLD_AES_128].contains(&suite));
                assert!(first || proxy.kind == Kind::Envoy, "{suite:?} of {offer:?}");
                answers.push(answer.map(|(chosen, _)| chosen));
            }
            answers
        },
    )
    .await;
    for ((offer, wanted), answer) in table.iter().zip(&answers) {
        assert_eq!(answer, wanted, "{offer:?}");
    }
}
