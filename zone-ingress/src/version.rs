//! `version`.

/// Ours, as `x.y.z`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where the build says it (`ZONEGATE_COMMIT`).
pub const COMMIT: &str = match option_env!("ZONEGATE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// One line, or with `detailed` one for each fact.
pub fn text(detailed: bool) -> String {
    if !detailed {
        return format!("Zonegate zone-ingress: {VERSION}");
    }
    let stands_for = "kuma-dp and Envoy (Kuma 2.13, 2.14 and 3.0)";
    format!(
        "Product:       Zonegate zone-ingress\nVersion:       {VERSION}\nGit Commit:    {COMMIT}\nStands for:    {stands_for}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_we_are() {
        assert_eq!(text(false), format!("Zonegate zone-ingress: {VERSION}"));
        assert!(text(true).contains("Git Commit:") && text(true).lines().count() == 4);
    }
}
