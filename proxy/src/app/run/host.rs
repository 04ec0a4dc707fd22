//! What this machine gives us.

use std::num::NonZeroUsize;

/// CPUs that this process may use, by affinity and by its cgroup's quota.
pub fn cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Memory in bytes that the cgroup allows; 0 where it says nothing.
pub fn memory_limit() -> u64 {
    let read = |path| std::fs::read_to_string(path).ok();
    let limit = read("/sys/fs/cgroup/memory.max").or_else(|| read("/sys/fs/cgroup/memory.limit_in_bytes"));
    limit.as_deref().map_or(0, parse_limit)
}

/// Any interface has an IPv6 address.
pub fn has_ipv6() -> bool {
    std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| !text.trim().is_empty())
}

/// `max` means none.
fn parse_limit(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(parse_limit("max\n"), 0);
        assert_eq!(parse_limit("536870912\n"), 536_870_912);
        assert!(cpus().get() >= 1);
    }
}
