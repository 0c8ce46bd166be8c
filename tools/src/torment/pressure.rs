//! Want of memory, for one process: a memory cgroup of its own with less room than it needs. Dropping it ends the want.
//!
//! In version 2 that is `memory.high` at what it uses now: its allocations are throttled and its sockets are told to shrink. In
//! version 1, where there is no such mark and a limit kills, it is the memory of its sockets that is limited.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "heartring-torment-";
/// What the sockets may hold in version 1: a handful of full ones.
const SOCKETS_BYTES: u64 = 256 << 10;

pub(super) struct Pressure {
    cgroup: PathBuf,
    /// Where the process came from.
    home: PathBuf,
    process: Pid,
}

impl Pressure {
    /// Moves a process into a cgroup that does not limit it yet: memory is charged to where a process was when it asked for it.
    pub(super) fn prepare(process: Pid) -> Result<Self, String> {
        let membership =
            fs::read_to_string(format!("/proc/{process}/cgroup")).map_err(|error| error.to_string())?;
        let unified = Path::new(ROOT).join("cgroup.controllers").exists();
        let (root, key) = if unified { (ROOT.into(), "0::") } else { (format!("{ROOT}/memory"), ":memory:") };
        let place = membership.lines().find_map(|line| Some(line.split_once(key)?.1));
        let place = place.ok_or("there is no memory cgroup")?;
        let home = Path::new(&root).join(place.trim_start_matches('/'));
        sweep(Path::new(&root));
        let cgroup = Path::new(&root).join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&cgroup).map_err(|error| format!("{}: {error}", cgroup.display()))?;
        let pressure = Self { cgroup, home, process };
        pressure.write("cgroup.procs", process.as_raw_nonzero().get().unsigned_abs().into())?;
        Ok(pressure)
    }

    /// From now on it wants memory. Says what was limited.
    pub(super) fn apply(&self) -> Result<String, String> {
        if let Ok(used) = fs::read_to_string(self.cgroup.join("memory.current")) {
            let used = used.trim().parse().map_err(|_| "memory.current is no number")?;
            self.write("memory.high", used)?;
            return Ok(format!("memory.high at {} KiB, which is what it used", used >> 10));
        }
        self.write("memory.kmem.tcp.limit_in_bytes", SOCKETS_BYTES)?;
        Ok(format!("{} KiB for all sockets", SOCKETS_BYTES >> 10))
    }

    fn write(&self, file: &str, value: u64) -> Result<(), String> {
        let path = self.cgroup.join(file);
        fs::write(&path, value.to_string()).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        // What fails here fails because the process, and with it the cgroup's purpose, is gone.
        let _ = fs::write(self.cgroup.join("memory.high"), "max");
        let _ = fs::write(self.cgroup.join("memory.kmem.tcp.limit_in_bytes"), "-1");
        let _ = fs::write(self.home.join("cgroup.procs"), self.process.as_raw_nonzero().to_string());
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// Removes what a run that was killed has left. A cgroup that is in use stays.
fn sweep(root: &Path) {
    let left = fs::read_dir(root).into_iter().flatten().flatten();
    for entry in left.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let _ = fs::remove_dir(entry.path());
    }
}
