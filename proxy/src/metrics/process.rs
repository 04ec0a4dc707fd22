//! Statistics of the process that the system keeps.

use std::time::Instant;

use super::scope::Scope;
use super::sets::ServerStat;

/// Sets uptime and memory. What Envoy asks tcmalloc for has its nearest relative in `/proc/self/status`: anonymous
/// resident memory as allocated, the data segment as heap, the resident set as physical.
pub(super) fn refresh(server: &Scope<ServerStat>, started: Instant) {
    server.set(ServerStat::Uptime, i64::try_from(started.elapsed().as_secs()).unwrap_or(i64::MAX));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (field, stat) in [
        ("RssAnon:", ServerStat::MemoryAllocated),
        ("VmData:", ServerStat::MemoryHeapSize),
        ("VmRSS:", ServerStat::MemoryPhysicalSize),
    ] {
        if let Some(bytes) = bytes(&status, field) {
            server.set(stat, bytes);
        }
    }
}

/// Bytes that this process has to itself, as [`refresh`] tells them.
pub(crate) fn allocated() -> Option<i64> {
    bytes(&std::fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// A field of `/proc/self/status`, which is in KiB.
fn bytes(status: &str, field: &str) -> Option<i64> {
    let value = status.lines().find_map(|line| line.strip_prefix(field))?;
    value.trim().strip_suffix(" kB")?.parse::<i64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        let server = Scope::new("", 1);
        refresh(&server, Instant::now());
        let physical = server.gauge(ServerStat::MemoryPhysicalSize);
        assert!(physical > 1 << 20, "{physical}");
        assert!(server.gauge(ServerStat::MemoryAllocated) <= physical);
        assert_eq!(bytes("VmRSS:\t  12 kB\n", "VmRSS:"), Some(12 << 10));
        assert_eq!(bytes("VmRSS:\tx\n", "VmRSS:"), None);
    }
}
