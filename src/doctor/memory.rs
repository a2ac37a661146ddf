//! What the service may come to take of memory, and what it is allowed.

use std::fs;
use std::path::{Component, Path};

use super::Finding;
use crate::load::memory::Ceiling;

/// Where the control groups are; those of version 2 are looked at (cgroups(7)).
const CGROUPS: &str = "/sys/fs/cgroup";

const MIB: u64 = 1024 * 1024;

/// Of the process that asks: a command is in another group than the service.
pub(super) fn examine(ceiling: Ceiling) -> Option<Finding> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    judge(
        ceiling.total(),
        limit(&own, Path::new(CGROUPS)),
        total(&machine),
    )
}

/// The kernel ends what exceeds it, and nobody has been turned away before.
fn judge(ceiling: u64, limit: Option<u64>, machine: Option<u64>) -> Option<Finding> {
    let asked = ceiling.div_ceil(MIB);
    let lower = "lower `max_connections`, `max_sessions`, `kept_forms` or `buffer_requests`";
    let exceeds = |most: &u64| *most < ceiling;
    let (who, most, help) = match (limit.filter(exceeds), machine.filter(exceeds)) {
        (Some(limit), machine) if machine.is_none_or(|machine| limit <= machine) => (
            "the unit, or what is around it, allows",
            limit,
            format!("raise MemoryMax= above {asked} MiB, or {lower}"),
        ),
        (_, Some(machine)) => ("this machine has", machine, lower.to_owned()),
        _ => return None,
    };
    let message = format!(
        "the configuration may ask for {asked} MiB, and {who} {} MiB: there the kernel ends the \
         service",
        most / MIB
    );
    Some(Finding::warning("memory", message, help))
}

/// What the machine has, in bytes, as `/proc/meminfo` says it.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib.saturating_mul(1024))
}

/// The lowest limit of a group and of those that it is in, in bytes; `None` without any. `own` is
/// what `/proc/self/cgroup` says.
fn limit(own: &str, cgroups: &Path) -> Option<u64> {
    let own = Path::new(own.lines().find_map(|line| line.strip_prefix("0::/"))?);
    // A group outside of what this process sees begins with `..`.
    let is_seen = own
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_seen {
        return None;
    }
    let limit = |group: &Path| {
        let limit = fs::read_to_string(cgroups.join(group).join("memory.max")).ok()?;
        limit.trim_end().parse().ok() // else it is "max"
    };
    own.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rel_06_the_lowest_limit_around_the_service_counts() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let service = root.join("system.slice/vestibule.service");
        fs::create_dir_all(&service).unwrap();
        let own = "1:name=systemd:/init.scope\n0::/system.slice/vestibule.service\n";
        let write = |group: &Path, limit: &str| {
            fs::write(group.join("memory.max"), limit).unwrap();
        };
        assert_eq!(limit(own, root), None, "no file, no limit");
        write(&service, "max\n");
        assert_eq!(limit(own, root), None);
        write(&service, "1610612736\n");
        assert_eq!(limit(own, root), Some(1536 * MIB));
        write(&root.join("system.slice"), "536870912\n");
        assert_eq!(limit(own, root), Some(512 * MIB), "of the slice");
        write(root, "268435456\n");
        assert_eq!(limit(own, root), Some(256 * MIB), "of the container");
        assert_eq!(limit("0::/\n", root), Some(256 * MIB));
        write(&service, "1048576\n");
        assert_eq!(limit(own, root), Some(MIB));
        for unseen in ["", "4:memory:/a\n", "0::/../other.slice\n"] {
            assert_eq!(limit(unseen, root), None, "{unseen:?}");
        }
    }

    #[test]
    fn rel_06_a_limit_below_the_ceiling_is_told_with_its_mend() {
        assert_eq!(judge(903 * MIB, Some(903 * MIB), None), None);
        let found = judge(902 * MIB + 1, Some(512 * MIB), Some(600 * MIB)).unwrap();
        assert_eq!(
            (found.subject.as_str(), found.message.as_str()),
            (
                "memory",
                "the configuration may ask for 903 MiB, and the unit, or what is around it, allows \
                 512 MiB: there the kernel ends the service"
            )
        );
        assert_eq!(
            found.help,
            "raise MemoryMax= above 903 MiB, or lower `max_connections`, `max_sessions`, \
             `kept_forms` or `buffer_requests`"
        );
    }

    #[test]
    fn rel_06_a_machine_with_less_than_the_ceiling_is_told() {
        let machine = "MemTotal:        8034108 kB\nMemFree:          413608 kB\n";
        let has = total(machine).unwrap();
        assert_eq!(has, 8_034_108 * 1024);
        for unknown in ["", "MemTotal:", "MemTotal: x kB", "MemFree: 1 kB"] {
            assert_eq!(total(unknown), None, "{unknown}");
        }
        assert_eq!(judge(has, None, Some(has)), None);
        for limit in [None, Some(has + 2)] {
            let found = judge(has + 1, limit, Some(has)).unwrap();
            assert_eq!(
                found.message,
                "the configuration may ask for 7846 MiB, and this machine has 7845 MiB: there the \
                 kernel ends the service"
            );
            assert!(found.help.starts_with("lower `max_connections`"));
        }
    }
}
