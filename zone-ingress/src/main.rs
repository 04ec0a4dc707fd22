//! zone-ingress
fn main() {}
