//! Resources that the server has used so far, from /proc.

use std::time::Duration;
use std::{fs, io};

pub struct Process(pub u32);

impl Process {
    /// Returns user and system time of all its threads, from schedstat in ns; kernels without that have stat, in ticks.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut nanos = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.0))? {
            // A thread may end meanwhile.
            let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            nanos += schedstat.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        if nanos > 0 { Ok(Duration::from_nanos(nanos)) } else { self.cpu_in_ticks() }
    }

    fn cpu_in_ticks(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // The second field, in parentheses, may hold spaces; utime and stime are the 14th and 15th.
        let behind_name = stat.rsplit(") ").next().unwrap_or_default();
        let ticks: u64 = behind_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(Duration::from_millis(ticks * 10))
    }

    pub fn resident_kib(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other("the server's memory is not to be seen in /proc"))
    }
}
