//! `version`.

use crate::app::role::Role;

/// Ours, as `x.y.z`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit, where the build says it (`ZONEGATE_COMMIT`).
pub const COMMIT: &str = match option_env!("ZONEGATE_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// One line, or with `detailed` one for each fact.
pub fn text(role: &Role, detailed: bool) -> String {
    let program = role.program;
    if !detailed {
        return format!("Zonegate {program}: {VERSION}");
    }
    let stands_for = "kuma-dp and Envoy (Kuma 2.13, 2.14 and 3.0)";
    format!(
        "Product:       Zonegate {program}\nVersion:       {VERSION}\nGit Commit:    {COMMIT}\nStands for:    {stands_for}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_who_we_are() {
        let role = crate::app::role::testing::EGRESS;
        assert_eq!(text(&role, false), format!("Zonegate zone-egress: {VERSION}"));
        let detailed = text(&role, true);
        assert!(detailed.contains("Git Commit:") && detailed.lines().count() == 4, "{detailed}");
    }
}
