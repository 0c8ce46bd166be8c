//! The limits of the control group that this process is in: the tightest of its own and those above it.

use std::fs;
use std::path::{Path, PathBuf};

use super::machine::Unread;

/// A limit of a controller: the names of its files in both versions.
pub(super) struct Controller {
    name: &'static str,
    limit_v2: &'static str,
    limit_v1: &'static str,
}

pub(super) const MEMORY: Controller =
    Controller { name: "memory", limit_v2: "memory.max", limit_v1: "memory.limit_in_bytes" };
pub(super) const PIDS: Controller = Controller { name: "pids", limit_v2: "pids.max", limit_v1: "pids.max" };

/// Version 1 writes "no limit" as the largest number of pages; no machine has that much of anything.
const UNLIMITED_V1: u64 = 1 << 60;

/// The tightest limit and the file that sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// `None`: unlimited.
    pub(crate) limit: Option<(u64, PathBuf)>,
}

impl Bound {
    pub(crate) const fn none() -> Self {
        Self { limit: None }
    }
}

/// Looks from the group of this process up to the root, which in a container is the container's own group.
pub(super) fn tightest(controller: &Controller) -> Result<Bound, Unread> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mut bound = Bound::none();
    for file in files(&groups, controller) {
        // A group above the container's is not to be seen, and the root has no limit and no file.
        let limit = fs::read_to_string(&file).ok().and_then(|text| parse(&text));
        if let Some(limit) = limit
            && bound.limit.as_ref().is_none_or(|(tightest, _)| limit < *tightest)
        {
            bound.limit = Some((limit, file));
        }
    }
    Ok(bound)
}

/// Where the limits are, if the hierarchies are mounted where every distribution and container runtime mounts them.
fn files(groups: &str, controller: &Controller) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let group = Path::new(path.trim_start_matches('/'));
        let (mounts, name): (&[&str], _) = if controllers.is_empty() {
            (&["/sys/fs/cgroup", "/sys/fs/cgroup/unified"], controller.limit_v2)
        } else if controllers.split(',').any(|c| c == controller.name) {
            (&[controller.name], controller.limit_v1)
        } else {
            continue;
        };
        for mount in mounts {
            let mount = Path::new("/sys/fs/cgroup").join(mount);
            files.extend(group.ancestors().map(|ancestor| mount.join(ancestor).join(name)));
        }
    }
    files
}

/// `max` and version 1's largest number mean that there is no limit.
fn parse(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|&limit| limit < UNLIMITED_V1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_looked_for_in_the_group_and_all_above_it() {
        let paths = |groups: &str| -> Vec<String> {
            files(groups, &MEMORY).iter().map(|file| file.display().to_string()).collect()
        };
        assert_eq!(
            paths("4:memory:/pod/one\n3:cpuset:/\n"),
            ["pod/one/", "pod/", ""]
                .map(|group| format!("/sys/fs/cgroup/memory/{group}memory.limit_in_bytes"))
        );
        let unified = paths("0::/system.slice/gateway.service\n");
        assert_eq!(unified[0], "/sys/fs/cgroup/system.slice/gateway.service/memory.max");
        assert!(unified.contains(&"/sys/fs/cgroup/memory.max".to_owned()), "{unified:?}");
        assert!(paths("").is_empty() && paths("nonsense\n\n1:2\n").is_empty());
    }

    #[test]
    fn unlimited_is_written_in_two_ways() {
        assert_eq!(parse("max\n"), None);
        assert_eq!(parse("9223372036854771712\n"), None);
        assert_eq!(parse("536870912\n"), Some(536_870_912));
        assert_eq!(parse("garbage"), None);
    }
}
