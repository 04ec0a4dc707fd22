//! Trust domains, pins, dates, lengths.

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams};
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::*;
use crate::model::tls::Crls;

fn judge(validation: &Validation, chain: &[&Made], usage: Usage) -> Result<(), VerifyError> {
    let ders: Vec<_> = chain.iter().map(|made| made.der.clone()).collect();
    let (leaf, intermediates) = ders.split_first().unwrap();
    super::super::verify(validation, Presented { leaf, intermediates }, usage, Names::Configured, now())
}

fn domain(name: &str, made: &Made) -> (Arc<str>, Arc<Trust>) {
    (name.into(), trust(made))
}

fn spiffe(bundles: Vec<(Arc<str>, Arc<Trust>)>, names: Vec<SanMatch>) -> Validation {
    let trusted = Trusted::Spiffe(Arc::new(SpiffeTrust::new(bundles)));
    Validation { trusted, subject_alt_names: names.into(), ..Validation::by_ca(trust(&ca("unused"))) }
}

#[test]
fn a_leaf_is_judged_by_the_bundle_of_its_own_trust_domain() {
    let (a, b) = (ca("a"), ca("b"));
    let both = spiffe(vec![domain("a.x", &a), domain("b.x", &b)], vec![]);
    let of = |names: &[&str], by: &Made| issue(params(names), by);
    judge(&both, &[&of(&["spiffe://a.x/w"], &a)], Usage::Client).unwrap();
    let foreign = judge(&both, &[&of(&["spiffe://a.x/w"], &b)], Usage::Client).unwrap_err();
    assert!(matches!(foreign, VerifyError::NotTrusted { why: Distrust::Issuer, .. }), "{foreign}");
    // The bundle was taken away.
    let revoked = spiffe(vec![domain("b.x", &b)], vec![]);
    let refused = judge(&revoked, &[&of(&["spiffe://a.x/w"], &a)], Usage::Client).unwrap_err().to_string();
    assert!(refused.contains("of trust domain \"a.x\", which is not trusted (there are bundles of: b.x)"), "{refused}");
    for names in [&["a.x"][..], &["kuma://a.x/w", "spiffe://a.x/w"], &["spiffe://a.x"], &["spiffe:///w"]] {
        let refused = judge(&both, &[&of(names, &a)], Usage::Client).unwrap_err();
        assert!(matches!(refused, VerifyError::TrustDomain { .. }), "{names:?}: {refused}");
    }
    let mut authority = params(&["spiffe://a.x/w"]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(matches!(judge(&both, &[&issue(authority, &a)], Usage::Client), Err(VerifyError::Svid { .. })));
    let mut signer = params(&["spiffe://a.x/w"]);
    signer.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    assert!(matches!(judge(&both, &[&issue(signer, &a)], Usage::Client), Err(VerifyError::Svid { .. })));
    let own = self_signed(params(&["spiffe://a.x/w"]));
    assert!(matches!(judge(&both, &[&own], Usage::Client), Err(VerifyError::NotTrusted { .. })));
    // Only URIs are matched.
    let wanted = vec![san(SanKind::Uri, Pattern::Prefix("spiffe://a.x/x".into()))];
    let named = spiffe(vec![domain("a.x", &a)], wanted);
    assert!(matches!(judge(&named, &[&of(&["spiffe://a.x/w"], &a)], Usage::Client), Err(VerifyError::Name { .. })));
    judge(&named, &[&of(&["spiffe://a.x/x1"], &a)], Usage::Client).unwrap();
}

#[test]
fn pins_expiry_depth_and_those_who_accept_all() {
    use aws_lc_rs::digest::{SHA256, digest};
    let (root, other) = (ca("root"), ca("other"));
    let mut middle = params(&[]);
    middle.distinguished_name.push(DnType::CommonName, "middle");
    middle.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let middle = issue(middle, &root);
    let leaf = issue(params(&["a.example"]), &middle);
    let chain = [&leaf, &middle];
    let by_root = || Validation::by_ca(trust(&root));
    judge(&by_root(), &chain, Usage::Server).unwrap();
    let shallow = Validation { max_depth: Some(0), ..by_root() };
    assert!(judge(&shallow, &chain, Usage::Server).unwrap_err().to_string().contains("max_verify_depth"));
    judge(&Validation { max_depth: Some(1), ..by_root() }, &chain, Usage::Server).unwrap();

    let hash: [u8; 32] = digest(&SHA256, &leaf.der).as_ref().try_into().unwrap();
    let pinned = |certificates: &[[u8; 32]], keys: &[[u8; 32]]| Validation {
        pins: Pins { certificates: certificates.into(), keys: keys.into() },
        ..by_root()
    };
    judge(&pinned(&[hash], &[[1; 32]]), &chain, Usage::Server).unwrap();
    assert!(matches!(judge(&pinned(&[[1; 32]], &[]), &chain, Usage::Server), Err(VerifyError::Pin { .. })));
    let anyone = Validation { trusted: Trusted::Anyone, ..pinned(&[hash], &[]) };
    judge(&anyone, &chain[..1], Usage::Server).unwrap();
    assert!(matches!(judge(&anyone, &[&middle], Usage::Server), Err(VerifyError::Pin { .. })));

    let mut old = params(&["a.example"]);
    old.not_after = date_time_ymd(2021, 1, 1);
    let old = issue(old, &middle);
    assert!(matches!(judge(&by_root(), &[&old, &middle], Usage::Server), Err(VerifyError::Expired { .. })));
    let lenient = Validation { allow_expired: true, ..by_root() };
    judge(&lenient, &[&old, &middle], Usage::Server).unwrap();
    assert!(
        judge(&Validation { allow_expired: true, ..Validation::by_ca(trust(&other)) }, &[&old, &middle], Usage::Server)
            .is_err()
    );
    let mut ended = params(&[]);
    ended.distinguished_name.push(DnType::CommonName, "ended");
    ended.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ended.not_after = date_time_ymd(2021, 1, 1);
    let ended = self_signed(ended);
    let expired =
        judge(&Validation::by_ca(trust(&ended)), &[&issue(params(&["x"]), &ended)], Usage::Server).unwrap_err();
    assert!(matches!(expired, VerifyError::NotTrusted { why: Distrust::Expired, .. }), "{expired}");

    let all = Validation { accept_untrusted: true, ..Validation::by_ca(trust(&other)) };
    judge(&all, &chain, Usage::Server).unwrap();
    assert!(!all.demands_certificate() && all.asks());
    let vouched = |validation: &Validation| {
        let (leaf, rest) = (&leaf.der, [middle.der.clone()]);
        vouches(validation, Presented { leaf, intermediates: &rest }, now())
    };
    assert!(vouched(&by_root()) && vouched(&Validation { accept_untrusted: true, ..by_root() }));
    assert!(!vouched(&all), "let in, and not verified");
    assert!(!vouched(&Validation { trusted: Trusted::Anyone, ..by_root() }), "nobody has looked at it");
    assert!(vouched(&anyone), "pinned");
}

/// CA certificates are renewed with the same key: the old one stands beside the new one in the bundle.
#[test]
fn of_a_renewed_root_one_that_is_valid_is_enough() {
    let new = ca("root");
    let mut old = ca("root").params;
    old.not_after = date_time_ymd(2021, 1, 1);
    let old = old.self_signed(&new.key).unwrap().der().clone();
    let leaf = issue(params(&["a.example"]), &new);
    for bundle in [[old.clone(), new.der.clone()], [new.der.clone(), old.clone()]] {
        let both = Validation::by_ca(Arc::new(Trust::new(&bundle).unwrap()));
        judge(&both, &[&leaf], Usage::Server).unwrap();
    }
    let ended = Validation::by_ca(Arc::new(Trust::new(&[old]).unwrap()));
    let refused = judge(&ended, &[&leaf], Usage::Server).unwrap_err();
    assert!(matches!(refused, VerifyError::NotTrusted { why: Distrust::Expired, .. }), "{refused}");
}

/// Whoever is refused has chosen these words.
#[test]
fn a_strangers_words_are_tamed() {
    let forged = "x\n[2026-01-01] all is well \u{1b}[2J";
    let mut stranger = params(&[]);
    stranger.distinguished_name.push(DnType::CommonName, format!("{forged}{}", "y".repeat(5000)));
    let by_subject = any(&trust(&ca("root")), &[self_signed(stranger).der]).unwrap_err().to_string();
    let many: Vec<String> = (0..1000).map(|n| format!("spiffe://nobody/{n}")).collect();
    let many = self_signed(params(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    let wanted = validation(&many, vec![san(SanKind::Uri, Pattern::Exact("spiffe://a/b".into()))]);
    let by_names = judge(&wanted, &[&many], Usage::Server).unwrap_err().to_string();
    assert!(by_names.contains("spiffe://nobody/15 and 984 more"), "{by_names}");
    for told in [by_subject, by_names] {
        assert!(told.len() < 1000 && !told.chars().any(char::is_control), "{told}");
    }
}

#[test]
fn wildcards_as_in_envoy() {
    let dns = |wanted: &str, carried: &str| san_matches(&san(SanKind::Dns, Pattern::Exact(wanted.into())), carried);
    for (wanted, carried) in
        [("a.b.c", "*.b.c"), ("foo.b", "f*.b"), ("foo.b", "*o.b"), ("foo.b", "f*o.b"), ("A.b", "a.B")]
    {
        assert!(dns(wanted, carried), "{wanted} {carried}");
    }
    for (wanted, carried) in [
        ("a.b.c", "*.c"),
        ("b.c", "*.b.c"),
        ("fo.b", "f*oo.b"),
        ("xn--a.b", "xn--*.b"),
        ("a.b", "**.b"),
        ("a.b", "a.*"),
        ("a", "*"),
    ] {
        assert!(!dns(wanted, carried), "{wanted} {carried}");
    }
}

#[test]
fn a_revoked_certificate_is_refused_and_its_neighbour_is_not() {
    let mut root = params(&[]);
    root.distinguished_name.push(DnType::CommonName, "root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = self_signed(root);
    let numbered = |serial: u64| {
        let mut params = params(&["a.example"]);
        params.serial_number = Some(serial.into());
        issue(params, &root)
    };
    let (good, bad) = (numbered(7), numbered(8));
    let list = |revoked: &[u64]| {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2021, 1, 1),
            next_update: date_time_ymd(2039, 1, 1),
            crl_number: 1_u64.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&Issuer::from_params(&root.params, &root.key)).unwrap();
        let list = OwnedCertRevocationList::from_der(list.der()).unwrap();
        Box::from([CertRevocationList::Owned(list)])
    };
    let trusts = |list| Validation { crls: Some(Arc::new(Crls(list))), ..Validation::by_ca(trust(&root)) };
    let validation = trusts(list(&[8]));
    judge(&validation, &[&good], Usage::Client).unwrap();
    let refused = judge(&validation, &[&bad], Usage::Client).unwrap_err();
    assert!(matches!(refused, VerifyError::NotTrusted { why: Distrust::Revoked, .. }), "{refused}");
    judge(&trusts(list(&[])), &[&bad], Usage::Client).unwrap();
}
