//! Kuma's own vectors: `pkg/xds/envoy/tls/sni_test.go` (2.13, 2.14) and
//! `pkg/core/resources/sni/sni_test.go` (3.0), taken as data.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::type_complexity)]

use std::collections::HashSet;

use sni::kuma::{HashName, Kind, KriName, KumaName, TagName, Verdict, compute};

#[test]
fn tag_names() {
    let name = TagName::parse("backend{app=backend-app,env=prod,region=eu,version=v1}").unwrap();
    assert_eq!(name.service, "backend");
    let tags: Vec<_> = name.tags().collect();
    assert_eq!(tags, [("app", "backend-app"), ("env", "prod"), ("region", "eu"), ("version", "v1")]);
    let bare = TagName::parse("backend").unwrap();
    assert_eq!((bare.service, bare.tags().count()), ("backend", 0));
    for broken in
        ["backend{", "backend{mesh=default{mesh", "backend{}", "b{a}", "b{a=b=c}", "b{a=b,}", "b{a=b", "b{a=b}}"]
    {
        assert_eq!(TagName::parse(broken), None, "{broken}");
    }
}

#[test]
fn hash_names() {
    let vectors: [(&str, &str, Kind, &[(&str, &str)], &str); 4] = [
        ("backend", "demo", Kind::MeshService, &[], "ae10a8071b8a8eeb8.backend.8080.demo.ms"),
        ("backend", "demo", Kind::MeshService, &[("x", "a")], "a333a125865a97632.backend.8080.demo.ms"),
        (
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-qwe",
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb-qwe",
            Kind::MeshService,
            &[("x", "a")],
            "a5b91d8a08567bf09.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaax.8080.\
             bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbx.ms",
        ),
        ("backend", "demo", Kind::MeshMultiZoneService, &[], "ae10a8071b8a8eeb8.backend.8080.demo.mzms"),
    ];
    for (name, mesh, kind, tags, expected) in vectors {
        assert_eq!(compute(name, 8080, mesh, kind, tags), expected);
        let decoded = HashName::parse(expected).unwrap();
        assert!(decoded.names(name, mesh, tags) && !decoded.names("other", mesh, tags));
        assert_eq!((decoded.port, decoded.kind), (8080, kind));
        let verdict = match (tags, name.len()) {
            ([], _) => Verdict::Same,
            (_, 7) => Verdict::Differs,
            _ => Verdict::Unknown,
        };
        assert_eq!(decoded.verify(), verdict, "{expected}");
    }
    let sorted = compute("b", 1, "m", Kind::MeshExternalService, &[("a", "1"), ("b", "2")]);
    assert_eq!(sorted, compute("b", 1, "m", Kind::MeshExternalService, &[("b", "2"), ("a", "1")]));
    assert!(sorted.ends_with(".b.1.m.mes"));
}

#[test]
fn hash_names_do_not_collide() {
    let versions: Vec<String> = (0..100_000).map(|version| version.to_string()).collect();
    let names: HashSet<String> = versions
        .iter()
        .map(|version| compute("backend", 8080, "demo", Kind::MeshService, &[("version", version)]))
        .collect();
    assert_eq!(names.len(), versions.len());
}

#[test]
fn names_that_only_resemble_hash_names() {
    for other in [
        "be10a8071b8a8eeb8.backend.8080.demo.ms",
        "ae10a8071b8a8eeb.backend.8080.demo.ms",
        "aE10A8071B8A8EEB8.backend.8080.demo.ms",
        "a+10a8071b8a8eeb8.backend.8080.demo.ms",
        "ae10a8071b8a8eeb8.backend.+80.demo.ms",
        "ae10a8071b8a8eeb8.backend.80800.demo.ms",
        "ae10a8071b8a8eeb8.backend.8080.demo.svc",
        "ae10a8071b8a8eeb8.8080.demo.ms",
        "ae10a8071b8a8eeb8..8080.demo.ms",
        "ae10a8071b8a8eeb8.backend..demo.ms",
        "a.backend.8080.demo.ms",
    ] {
        assert_eq!(HashName::parse(other), None, "{other}");
    }
    assert_eq!(HashName::parse("ae10a8071b8a8eeb8.b.ns.8080.demo.ms").unwrap().name, "b.ns");
}

#[test]
fn kri_names() {
    let long = |letter: &str| letter.repeat(63);
    let labels = [
        format!("sni.msvc.default.{}.http", long("a")),
        format!("sni.msvc.default.{}.backend.http", long("z")),
        format!("sni.msvc.default.east.{}.backend.http", long("n")),
        format!("sni.msvc.{}.backend.http", long("m")),
        format!("sni.msvc.default.backend.{}", long("p")),
    ];
    assert!(labels.iter().all(|name| KriName::parse(name).is_some()));
    for section in ["65535", "123456", "8080x", "http2"] {
        assert_eq!(KriName::parse(&format!("sni.msvc.default.backend.{section}")).unwrap().section, section);
    }
    type Parts<'a> = (Kind, &'a str, Option<&'a str>, Option<&'a str>, &'a str, &'a str);
    let (service, external, multi) = (Kind::MeshService, Kind::MeshExternalService, Kind::MeshMultiZoneService);
    let vectors: [(&str, Parts<'_>); 10] = [
        ("sni.msvc.default.backend.http", (service, "default", None, None, "backend", "http")),
        ("sni.msvc.default.east.backend.http", (service, "default", Some("east"), None, "backend", "http")),
        (
            "sni.msvc.default.east.app-ns.backend.http",
            (service, "default", Some("east"), Some("app-ns"), "backend", "http"),
        ),
        ("sni.extsvc.default.ext-backend.9000", (external, "default", None, None, "ext-backend", "9000")),
        ("sni.extsvc.prod.west.ext-backend.9000", (external, "prod", Some("west"), None, "ext-backend", "9000")),
        ("sni.mzsvc.default.global-svc.http", (multi, "default", None, None, "global-svc", "http")),
        ("sni.mzsvc.default.global-svc.8080", (multi, "default", None, None, "global-svc", "8080")),
        (
            "sni.extsvc.prod.west.external-ns.ext-backend.9000",
            (external, "prod", Some("west"), Some("external-ns"), "ext-backend", "9000"),
        ),
        (
            "sni.mzsvc.default.east.global-ns.global-svc.http",
            (multi, "default", Some("east"), Some("global-ns"), "global-svc", "http"),
        ),
        ("sni.msvc.default.back-end-service.http", (service, "default", None, None, "back-end-service", "http")),
    ];
    for (text, (kind, mesh, zone, namespace, name, section)) in vectors {
        assert_eq!(KriName::parse(text), Some(KriName { kind, mesh, zone, namespace, name, section }), "{text}");
    }
}

#[test]
fn names_that_break_the_rules_of_kri() {
    let long = |letter: &str, len| letter.repeat(len);
    let (a, b, c, d) = (long("a", 63), long("b", 63), long("c", 63), long("d", 63));
    let too_long = format!("sni.msvc.{a}.{b}.{c}.{d}.http");
    assert_eq!(too_long.len(), 269);
    let over = format!("sni.msvc.default.{}.http", long("a", 64));
    for text in [
        &too_long,
        &over,
        "sni.msvc.Default.backend.http",
        "sni.msvc.default.back_end.http",
        "sni.msvc.default.-backend.http",
        "sni.msvc.default.backend-.http",
        "sni.msvc.default.East.backend.http",
        "sni.msvc.default.east.app_ns.backend.http",
        "sni.msvc.default.backend.HTTP",
        "sni.msvc..backend.http",
        "sni.msvc.default..http",
        "sni.msvc.default.backend.",
        "sni.msvc.default.backend",
        "sni.msvc.a.b.c.d.e.f",
        "sni.m.default.backend.http",
        "snx.msvc.default.backend.http",
    ] {
        assert_eq!(KriName::parse(text), None, "{text}");
    }
}

#[test]
fn any_name_to_what_people_read() {
    for (name, expected) in [
        ("backend{mesh=default,version=v1}", Some(("tag", "backend mesh=default version=v1"))),
        ("ae10a8071b8a8eeb8.backend.8080.demo.ms", Some(("hash", "MeshService backend:8080 mesh=demo"))),
        ("sni.extsvc.default.ext.9000", Some(("kri", "MeshExternalService ext:9000 mesh=default"))),
        (
            "sni.msvc.default.east.app-ns.backend.http",
            Some(("kri", "MeshService backend:http mesh=default zone=east namespace=app-ns")),
        ),
        ("www.example.com", None),
        ("backend", None),
        ("", None),
    ] {
        let decoded = KumaName::decode(name.as_bytes());
        let shown = decoded.map(|name| (name.dialect(), name.to_string()));
        assert_eq!(shown, expected.map(|(dialect, text)| (dialect, text.to_owned())), "{name}");
    }
    assert_eq!(KumaName::decode(b"b{mesh=\xff}"), None);
    let name = KumaName::decode(b"b{a=b,mesh=m}").unwrap();
    assert_eq!((name.service(), name.mesh()), ("b", Some("m")));
}
