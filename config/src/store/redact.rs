//! A secret without what must not be kept: Envoy's `MessageUtil::redact`, on the message itself.
//!
//! What is left serves `/config_dump` and, where the secret stands in files, to read these again.

use std::path::PathBuf;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as pb;
use pb::secret::Type;
use prost::Message as _;
use zeroize::Zeroize as _;

use crate::model::tls::WatchedFile;

/// What Envoy shows in the place of a secret.
const REDACTED: &str = "[redacted]";

/// What is kept of a secret's message.
#[derive(Clone, Debug, Default)]
pub(super) struct Redacted {
    /// The message without keys and passwords; empty if it can't be decoded.
    pub(super) body: Bytes,
    /// Files that it refers to.
    pub(super) files: Box<[WatchedFile]>,
    /// All of it that counts stands in files or is still there, so that it can be read again.
    pub(super) is_whole: bool,
}

/// Takes the secrets out of a secret.
pub(super) fn secret(body: &Bytes) -> Redacted {
    let Ok(mut secret) = pb::Secret::decode(body.clone()) else { return Redacted::default() };
    let mut is_whole = true;
    let mut hide = |source: &mut DataSource| is_whole &= !hidden(source);
    let files = match &mut secret.r#type {
        None => Vec::new(),
        Some(Type::TlsCertificate(certificate)) => {
            let own = [&mut certificate.private_key, &mut certificate.password, &mut certificate.pkcs12];
            own.into_iter().flatten().for_each(&mut hide);
            let files = [&certificate.certificate_chain, &certificate.private_key];
            watched(files, certificate.watched_directory.as_ref().map(|watched| watched.path.as_str()))
        }
        Some(Type::ValidationContext(context)) => {
            let directory = context.watched_directory.as_ref().map(|watched| watched.path.as_str());
            watched([&context.trusted_ca, &context.crl], directory)
        }
        Some(Type::SessionTicketKeys(keys)) => {
            keys.keys.iter_mut().for_each(&mut hide);
            Vec::new()
        }
        Some(Type::GenericSecret(generic)) => {
            generic.secret.iter_mut().for_each(&mut hide);
            generic.secrets.values_mut().for_each(&mut hide);
            Vec::new()
        }
    };
    Redacted { body: secret.encode_to_vec().into(), files: files.into(), is_whole }
}

/// Takes a value out; false: it stands elsewhere.
fn hidden(source: &mut DataSource) -> bool {
    match &mut source.specifier {
        Some(Specifier::InlineBytes(bytes)) => {
            bytes.zeroize();
            *bytes = REDACTED.into();
            true
        }
        Some(Specifier::InlineString(text)) => {
            text.zeroize();
            *text = REDACTED.into();
            true
        }
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) | None => false,
    }
}

fn watched(sources: [&Option<DataSource>; 2], directory: Option<&str>) -> Vec<WatchedFile> {
    let names = sources.into_iter().flatten().filter_map(|source| match &source.specifier {
        Some(Specifier::Filename(name)) => Some(name),
        _ => None,
    });
    names.map(|name| WatchedFile { path: name.into(), watched_directory: directory.map(PathBuf::from) }).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::json::Converter;

    const MESSAGE: &str = "envoy.extensions.transport_sockets.tls.v3.Secret";

    fn redacted(value: &Value) -> (Redacted, Value) {
        let converter = Converter::new().unwrap();
        let body = Bytes::from(converter.to_bytes(MESSAGE, value).unwrap());
        let redacted = secret(&body);
        let shown = converter.to_json(MESSAGE, &redacted.body).unwrap();
        (redacted, shown)
    }

    #[test]
    fn no_value_of_any_kind_of_secret_is_left() {
        let hide = json!({"inlineString": "hide-me"});
        let bytes = json!({"inlineBytes": "aGlkZS1tZQ=="});
        for value in [
            json!({"name": "s", "tlsCertificate": {"certificateChain": {"inlineString": "shown"}, "privateKey": hide,
                "password": bytes, "pkcs12": bytes}}),
            json!({"name": "s", "sessionTicketKeys": {"keys": [bytes, hide]}}),
            json!({"name": "s", "genericSecret": {"secret": hide}}),
            json!({"name": "s", "genericSecret": {"secrets": {"a": bytes}}}),
        ] {
            let (redacted, shown) = redacted(&value);
            let held = String::from_utf8_lossy(&redacted.body).into_owned();
            assert!(!held.contains("hide-me") && held.contains(REDACTED), "{held}");
            assert!(!redacted.is_whole && redacted.files.is_empty());
            assert!(shown["name"] == "s" && !format!("{redacted:?}").contains("hide-me"));
        }
        let broken = secret(&Bytes::from_static(b"\x0a\x05hide-me"));
        assert!(broken.body.is_empty() && !broken.is_whole, "what can't be decoded is not kept");
    }

    #[test]
    fn files_are_named_and_can_be_read_again() {
        let file = |name: &str| json!({"filename": name});
        let (certificate, _) = redacted(&json!({"name": "s", "tlsCertificate": {"certificateChain": file("/c"),
            "privateKey": file("/k"), "watchedDirectory": {"path": "/d"}}}));
        let at = |path: &str, directory: Option<&str>| WatchedFile {
            path: path.into(),
            watched_directory: directory.map(PathBuf::from),
        };
        assert_eq!(*certificate.files, [at("/c", Some("/d")), at("/k", Some("/d"))]);
        assert!(certificate.is_whole);
        let (validation, _) = redacted(&json!({"name": "s", "validationContext": {"trustedCa": file("/ca")}}));
        assert!(validation.is_whole && *validation.files == [at("/ca", None)]);
        let (mixed, _) = redacted(&json!({"name": "s", "tlsCertificate": {"certificateChain": file("/c"),
            "privateKey": {"inlineString": "k"}}}));
        assert!(!mixed.is_whole && *mixed.files == [at("/c", None)]);
    }
}
