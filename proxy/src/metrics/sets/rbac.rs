//! Statistics of permissions (Envoy: `network_filters/rbac_filter#statistics`), and ours by policy.

stat_set! {
    /// `<prefix>.rbac.…`
    pub enum RbacStat at "" {
        counter Allowed = "allowed",
        counter Denied = "denied",
    }
}

stat_set! {
    /// `<prefix>.rbac.[<shadow prefix>.]…`
    pub enum RbacShadowStat at "" {
        counter ShadowAllowed = "shadow_allowed",
        counter ShadowDenied = "shadow_denied",
    }
}

stat_set! {
    /// `zonegate.rbac_policy.<prefix>.policy.<name>.…`: ours, always; as many as the configuration has policies.
    pub enum RbacPolicyStat at "zonegate.rbac_policy." {
        counter Allowed = "allowed" [when_used],
        counter Denied = "denied" [when_used],
        counter ShadowAllowed = "shadow_allowed" [when_used],
        counter ShadowDenied = "shadow_denied" [when_used],
    }
}
