//! Envoy's response flags (`envoy/stream_info/stream_info.h`, `CoreResponseFlag`).

use std::ops::{BitOr, BitOrAssign};

/// One response flag; the discriminant is Envoy's bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each is Envoy's flag of the same name
pub enum Flag {
    FailedLocalHealthCheck = 0,
    NoHealthyUpstream = 1,
    UpstreamRequestTimeout = 2,
    LocalReset = 3,
    UpstreamRemoteReset = 4,
    UpstreamConnectionFailure = 5,
    UpstreamConnectionTermination = 6,
    UpstreamOverflow = 7,
    NoRouteFound = 8,
    DelayInjected = 9,
    FaultInjected = 10,
    RateLimited = 11,
    UnauthorizedExternalService = 12,
    RateLimitServiceError = 13,
    DownstreamConnectionTermination = 14,
    UpstreamRetryLimitExceeded = 15,
    StreamIdleTimeout = 16,
    InvalidEnvoyRequestHeaders = 17,
    DownstreamProtocolError = 18,
    UpstreamMaxStreamDurationReached = 19,
    ResponseFromCacheFilter = 20,
    NoFilterConfigFound = 21,
    DurationTimeout = 22,
    UpstreamProtocolError = 23,
    NoClusterFound = 24,
    OverloadManager = 25,
    DnsResolutionFailed = 26,
    DropOverload = 27,
    DownstreamRemoteReset = 28,
    UnconditionalDropOverload = 29,
}

/// A set of response flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u32);

impl Flag {
    /// All, by their bits.
    pub const ALL: [Self; 30] = [
        Self::FailedLocalHealthCheck,
        Self::NoHealthyUpstream,
        Self::UpstreamRequestTimeout,
        Self::LocalReset,
        Self::UpstreamRemoteReset,
        Self::UpstreamConnectionFailure,
        Self::UpstreamConnectionTermination,
        Self::UpstreamOverflow,
        Self::NoRouteFound,
        Self::DelayInjected,
        Self::FaultInjected,
        Self::RateLimited,
        Self::UnauthorizedExternalService,
        Self::RateLimitServiceError,
        Self::DownstreamConnectionTermination,
        Self::UpstreamRetryLimitExceeded,
        Self::StreamIdleTimeout,
        Self::InvalidEnvoyRequestHeaders,
        Self::DownstreamProtocolError,
        Self::UpstreamMaxStreamDurationReached,
        Self::ResponseFromCacheFilter,
        Self::NoFilterConfigFound,
        Self::DurationTimeout,
        Self::UpstreamProtocolError,
        Self::NoClusterFound,
        Self::OverloadManager,
        Self::DnsResolutionFailed,
        Self::DropOverload,
        Self::DownstreamRemoteReset,
        Self::UnconditionalDropOverload,
    ];

    /// `%RESPONSE_FLAGS%`.
    pub const fn short(self) -> &'static str {
        self.names().0
    }

    /// `%RESPONSE_FLAGS_LONG%`.
    pub const fn long(self) -> &'static str {
        self.names().1
    }

    /// By its short name.
    pub fn parse(short: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.short() == short)
    }

    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::FailedLocalHealthCheck => ("LH", "FailedLocalHealthCheck"),
            Self::NoHealthyUpstream => ("UH", "NoHealthyUpstream"),
            Self::UpstreamRequestTimeout => ("UT", "UpstreamRequestTimeout"),
            Self::LocalReset => ("LR", "LocalReset"),
            Self::UpstreamRemoteReset => ("UR", "UpstreamRemoteReset"),
            Self::UpstreamConnectionFailure => ("UF", "UpstreamConnectionFailure"),
            Self::UpstreamConnectionTermination => ("UC", "UpstreamConnectionTermination"),
            Self::UpstreamOverflow => ("UO", "UpstreamOverflow"),
            Self::NoRouteFound => ("NR", "NoRouteFound"),
            Self::DelayInjected => ("DI", "DelayInjected"),
            Self::FaultInjected => ("FI", "FaultInjected"),
            Self::RateLimited => ("RL", "RateLimited"),
            Self::UnauthorizedExternalService => ("UAEX", "UnauthorizedExternalService"),
            Self::RateLimitServiceError => ("RLSE", "RateLimitServiceError"),
            Self::DownstreamConnectionTermination => ("DC", "DownstreamConnectionTermination"),
            Self::UpstreamRetryLimitExceeded => ("URX", "UpstreamRetryLimitExceeded"),
            Self::StreamIdleTimeout => ("SI", "StreamIdleTimeout"),
            Self::InvalidEnvoyRequestHeaders => ("IH", "InvalidEnvoyRequestHeaders"),
            Self::DownstreamProtocolError => ("DPE", "DownstreamProtocolError"),
            Self::UpstreamMaxStreamDurationReached => ("UMSDR", "UpstreamMaxStreamDurationReached"),
            Self::ResponseFromCacheFilter => ("RFCF", "ResponseFromCacheFilter"),
            Self::NoFilterConfigFound => ("NFCF", "NoFilterConfigFound"),
            Self::DurationTimeout => ("DT", "DurationTimeout"),
            Self::UpstreamProtocolError => ("UPE", "UpstreamProtocolError"),
            Self::NoClusterFound => ("NC", "NoClusterFound"),
            Self::OverloadManager => ("OM", "OverloadManagerTerminated"),
            Self::DnsResolutionFailed => ("DF", "DnsResolutionFailed"),
            Self::DropOverload => ("DO", "DropOverload"),
            Self::DownstreamRemoteReset => ("DR", "DownstreamRemoteReset"),
            Self::UnconditionalDropOverload => ("UDO", "UnconditionalDropOverload"),
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);

    /// With one more.
    pub const fn with(self, flag: Flag) -> Self {
        Self(self.0 | flag.bit())
    }

    /// Adds one.
    pub const fn set(&mut self, flag: Flag) {
        self.0 |= flag.bit();
    }

    /// Whether it is among them.
    pub const fn has(self, flag: Flag) -> bool {
        self.0 & flag.bit() != 0
    }

    /// Whether there are some in both.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// None is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Envoy's bits, as CEL's `response.flags` has them.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// All that are set, by their bits.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |flag| self.has(*flag))
    }

    /// `%RESPONSE_FLAGS%`: short names with commas between them; `-` for none.
    pub fn short(self) -> String {
        self.joined(Flag::short)
    }

    /// `%RESPONSE_FLAGS_LONG%`.
    pub fn long(self) -> String {
        self.joined(Flag::long)
    }

    fn joined(self, name: fn(Flag) -> &'static str) -> String {
        if self.is_empty() {
            return "-".to_owned();
        }
        self.iter().map(name).collect::<Vec<_>>().join(",")
    }
}

impl From<Flag> for Flags {
    fn from(flag: Flag) -> Self {
        Self(flag.bit())
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        flags.into_iter().fold(Self::NONE, Self::with)
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_flag_has_its_bit_and_name() {
        for (bit, flag) in Flag::ALL.into_iter().enumerate() {
            assert_eq!(flag as usize, bit);
            assert_eq!(Flag::parse(flag.short()), Some(flag));
        }
        assert_eq!(Flag::parse("XX"), None);
    }

    #[test]
    fn as_envoy_prints_them() {
        assert_eq!(Flags::NONE.short(), "-");
        let flags: Flags = [Flag::UpstreamRetryLimitExceeded, Flag::UpstreamConnectionFailure].into_iter().collect();
        assert_eq!(flags.short(), "UF,URX");
        assert_eq!(flags.long(), "UpstreamConnectionFailure,UpstreamRetryLimitExceeded");
        assert!(flags.intersects(Flag::UpstreamConnectionFailure.into()) && !flags.has(Flag::NoRouteFound));
        assert_eq!(flags.bits(), 1 << 5 | 1 << 15);
    }
}
