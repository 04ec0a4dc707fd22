//! Secrets that the harness' control plane gives out by SDS, and their rotation.

use config::snapshot::Kind;
use serde_json::{Value, json};

use crate::ads::put;
use crate::ca::{Authority, Leaf};
use crate::control_plane::ControlPlane;
use crate::tls;

/// Gives out a certificate and its key under this name, in the place of what was there.
pub fn show(control_plane: &ControlPlane, name: &str, leaf: &Leaf) {
    show_pair(control_plane, name, (&leaf.certificate, &leaf.key));
}

/// The same with a certificate and a key that may not belong together.
pub fn show_pair(control_plane: &ControlPlane, name: &str, (certificate, key): (&str, &str)) {
    secret(control_plane, json!({"name": name, "tls_certificate": tls::pair(certificate, key)}));
}

/// Gives out roots under this name: one, or two while they change.
pub fn trust(control_plane: &ControlPlane, name: &str, roots: &[&Authority]) {
    secret(control_plane, json!({"name": name, "validation_context": tls::roots_of(roots)}));
}

/// Gives out trust domains under this name, each with roots of its own, as Kuma's MeshTrust does.
pub fn trust_domains(control_plane: &ControlPlane, name: &str, domains: &[(&str, &[&Authority])]) {
    secret(control_plane, json!({"name": name, "validation_context": tls::trust_domains(domains)}));
}

/// Takes a secret away.
pub fn withdraw(control_plane: &ControlPlane, name: &str) {
    control_plane.remove(Kind::Secret, name);
}

fn secret(control_plane: &ControlPlane, secret: Value) {
    put(control_plane, Kind::Secret, &secret);
}
