use proxy::tls::names::{ClientConfigs, ServerConfigs};

use super::client::once;
use super::script::{self, Reset};
use super::*;
use crate::ca::{Authority, Key};

const VERSIONS: [Version; 2] = [Version::Http11, Version::Http2];

#[tokio::test]
async fn asked_and_answered() {
    let journal = Journal::default();
    let server = HttpServer::start("a", &journal, None).await;
    let dial = Dial::plain(server.address());
    for version in VERSIONS {
        let mut connection = Connection::open(&dial, version).await.unwrap();
        let last = Step { trailers: vec![("x-end".into(), "1".into())], ..Step::status(200) };
        let steps = script::write(&[Step::status(503), last]);
        let mut ask = Ask::get("h", "/p?q=1").over(version).by("POST").with(NAME, "n").with(SCRIPT, &steps);
        (ask.body, ask.chunked, ask.trailers) = (vec![7; 2500], true, vec![("x-last".into(), "2".into())]);
        let (first, again) = connection.ask(&ask.clone().with("te", "trailers")).await;
        assert!(again && first.status == 503 && first.end == End::Whole, "{first:?}");
        let (second, again) = connection.ask(&ask.with("te", "trailers")).await;
        assert!(again && second.status == 200 && second.text() == "a body that is here", "{second:?}");
        // hyper's own server sends trailers over HTTP/1 only where they are announced.
        assert_eq!(second.trailers.len(), usize::from(version == Version::Http2));
        let seen = journal.take().remove("n").unwrap();
        let [one, _] = &seen[..] else { panic!("{seen:?}") };
        assert_eq!((one.method.as_str(), one.path.as_str(), one.body.len()), ("POST", "/p?q=1", 2500));
        assert_eq!((one.header("x-test-name"), one.broken), (Some("n"), false));
    }
}

#[tokio::test]
async fn ends_early_when_told() {
    let journal = Journal::default();
    let server = HttpServer::start("a", &journal, None).await;
    let dial = Dial::plain(server.address());
    for version in VERSIONS {
        let reset = |reset| script::write(&[Step { reset: Some(reset), ..Step::status(200) }]);
        let ask = |told: &str| Ask::get("h", "/").over(version).with(SCRIPT, told);
        assert_eq!(once(&dial, &ask(&reset(Reset::Before))).await.unwrap().end, End::None);
        let within = once(&dial, &ask(&reset(Reset::Within))).await.unwrap();
        assert_eq!((within.status, within.end), (200, End::Cut));
    }
}

#[tokio::test]
async fn over_tls_with_a_name_that_is_none() {
    let (journal, mesh) = (Journal::default(), Authority::new());
    let leaf = mesh.issue("spiffe://default/backend", Key::Ecdsa);
    let configs = ServerConfigs::new((*tls::server(&mesh, &leaf, &["h2", "kuma"])).clone());
    let server = HttpServer::start("a", &journal, Some(configs.into())).await;
    let client = ClientConfigs::new((*tls::client(&mesh, Some(&leaf), &["kuma"])).clone());
    let dial = Dial { tls: Some((client.into(), "backend{mesh=default}".into())), ..Dial::plain(server.address()) };
    for version in VERSIONS {
        let answer = once(&dial, &Ask::get("h", "/").over(version).with(NAME, "n")).await.unwrap();
        assert_eq!(answer.status, 200);
        let seen = journal.take().remove("n").unwrap();
        let (sni, alpn) = (Some("backend{mesh=default}".into()), Some("kuma".into()));
        assert_eq!(seen[0].tls, Some(TlsSeen { sni, alpn, certificate: true }));
    }
}
