//! CPU time and memory of a process and its descendants, from `/proc` (proc(5)).

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::error::Error;

/// User and system time of the process, its descendants, and all their threads.
///
/// Of each process the larger of two accounts counts. The one is the sum over its threads'
/// `schedstat`, in nanoseconds, without the threads that have ended. The other is `stat`, with
/// those, in ticks (10 ms as a rule). So the figure is fine where no thread ends, and right to a
/// tick where one does. Processes that have ended are left out.
pub fn time(pid: u32) -> Result<Duration, Error> {
    tree(pid).into_iter().try_fold(Duration::ZERO, |sum, each| match process_time(each) {
        Ok(time) => Ok(sum + time),
        Err(_) if each != pid => Ok(sum),
        Err(source) => Err(Error::Accounts { pid, source }),
    })
}

/// Resident memory of the process and its descendants, in bytes: `Rss` of `smaps_rollup`, or
/// `VmRSS` of `status` where the kernel has no `smaps_rollup`. Pages that several of them map count
/// once for each.
pub fn resident(pid: u32) -> Result<u64, Error> {
    tree(pid).into_iter().try_fold(0, |sum, each| match process_resident(each) {
        Ok(bytes) => Ok(sum + bytes),
        Err(_) if each != pid => Ok(sum),
        Err(source) => Err(Error::Accounts { pid, source }),
    })
}

/// The process and its descendants that are there now.
fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        for task in tasks(parent).unwrap_or_default() {
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            for child in children.split_ascii_whitespace().filter_map(|word| word.parse().ok()) {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
        }
    }
    found
}

fn tasks(pid: u32) -> io::Result<Vec<std::path::PathBuf>> {
    fs::read_dir(format!("/proc/{pid}/task"))?.map(|entry| entry.map(|entry| entry.path())).collect()
}

fn process_time(pid: u32) -> io::Result<Duration> {
    let threads = tasks(pid)?.iter().filter_map(|task| thread_time(task)).sum();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = stat_ticks(&stat).ok_or_else(|| malformed("stat"))?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let process = Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second));
    Ok(process.max(threads))
}

/// `None` if the thread has ended meanwhile, or the kernel has no `CONFIG_SCHED_INFO`.
fn thread_time(task: &Path) -> Option<Duration> {
    let schedstat = fs::read_to_string(task.join("schedstat")).ok()?;
    schedstat.split_ascii_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// `utime` and `stime`, fields 14 and 15. The second field is the program's name in parentheses,
/// which may have spaces and parentheses of its own, so fields are counted from the last one.
fn stat_ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn process_resident(pid: u32) -> io::Result<u64> {
    let found = match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
        Ok(rollup) => kilobytes(&rollup, "Rss:"),
        Err(_) => kilobytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:"),
    };
    found.map(|kb| kb * 1024).ok_or_else(|| malformed("smaps_rollup"))
}

fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn malformed(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} is not as proc(5) says"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    fn spin(wanted: Duration) {
        let start = Instant::now();
        while start.elapsed() < wanted {
            black_box((0..1000u64).sum::<u64>());
        }
    }

    #[test]
    fn work_is_accounted_and_stays_so_when_its_thread_ends() {
        let me = std::process::id();
        let before = time(me).unwrap();
        std::thread::spawn(|| spin(Duration::from_millis(300))).join().unwrap();
        let spent = time(me).unwrap() - before;
        // Far less than the wall time, since the machine may be busy with other things.
        assert!(spent > Duration::from_millis(50), "{spent:?}");
    }

    #[test]
    fn memory_is_accounted() {
        let me = std::process::id();
        let before = resident(me).unwrap();
        let block = black_box(vec![1u8; 64 << 20]);
        let after = resident(me).unwrap();
        assert!(after > before + (48 << 20), "{before} {after}");
        drop(block);
    }

    #[test]
    fn a_childs_time_counts() {
        let mut child = std::process::Command::new("sleep").arg("5").spawn().unwrap();
        assert!(tree(std::process::id()).contains(&child.id()));
        assert!(time(child.id()).is_ok());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(time(child.id()), Err(Error::Accounts { .. })));
    }

    #[test]
    fn a_program_name_may_have_anything() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194304 101 0 0 0 12 30 0 0 20 0 1 0 853802";
        assert_eq!(stat_ticks(stat), Some(42));
        assert_eq!(stat_ticks("7 (a"), None);
        assert_eq!(kilobytes("Name: x\nRss:   12 kB\n", "Rss:"), Some(12));
    }
}
