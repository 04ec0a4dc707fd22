//! Distinguished names as BoringSSL prints them with `XN_FLAG_RFC2253`: last attribute first, special characters escaped.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Short names that OpenSSL knows and CAs use.
const ATTRIBUTES: [(&str, &str); 14] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// See the module.
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let mut out = String::new();
    let sets: Vec<_> = name.iter_rdn().collect();
    for (at, set) in sets.into_iter().rev().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let attributes: Vec<_> = set.iter().collect();
        for (at, attribute) in attributes.into_iter().rev().enumerate() {
            if at > 0 {
                out.push('+');
            }
            write(&mut out, attribute);
        }
    }
    out
}

fn write(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let known = ATTRIBUTES.iter().find(|(id, _)| *id == oid).map(|(_, short)| *short);
    out.push_str(known.unwrap_or(&oid));
    out.push('=');
    match attribute.as_str() {
        Ok(text) if known.is_some() => escape(out, text),
        // An attribute or string of another kind is dumped, in DER.
        _ => {
            out.push('#');
            let content = attribute.as_slice();
            let length = content.len().to_be_bytes();
            let length = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            push_hex(out, attribute.attr_value().tag().0 as u8);
            if content.len() >= 0x80 {
                push_hex(out, 0x80 | length.len() as u8);
            }
            length.iter().chain(content).for_each(|byte| push_hex(out, *byte));
        }
    }
}

fn push_hex(out: &mut String, byte: u8) {
    // Writing to a String can't fail.
    let _ = write!(out, "{byte:02X}");
}

fn escape(out: &mut String, text: &str) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            0..0x20 | 0x7f.. => {
                out.push('\\');
                push_hex(out, byte);
            }
            _ => out.push(char::from(byte)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    fn printed(attributes: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        attributes.iter().for_each(|(kind, value)| params.distinguished_name.push(kind.clone(), *value));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, parsed) = X509Certificate::from_der(certificate.der()).unwrap();
        rfc2253(parsed.subject())
    }

    #[test]
    fn last_first_and_escaped() {
        let name = [(DnType::CountryName, "DE"), (DnType::OrganizationName, "a+b"), (DnType::CommonName, " #x\"ü ")];
        assert_eq!(printed(&name), "CN=\\ #x\\\"\\C3\\BC\\ ,O=a\\+b,C=DE");
        assert_eq!(printed(&[(DnType::CommonName, "#x\n")]), "CN=\\#x\\0A");
        assert_eq!(printed(&[(DnType::CustomDnType(vec![2, 5, 4, 65]), "ab")]), "2.5.4.65=#0C026162");
        assert_eq!(printed(&[]), "");
    }
}
