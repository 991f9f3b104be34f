//! Names of units that belong to the machine, whatever it runs: no cluster may put another unit in their place. This is
//! the whole list; what a machine has beside it, it finds out itself.

use crate::ids::UnitName;

/// Kinds of units that systemd makes by itself, never from a file.
const KINDS: [&str; 2] = ["scope", "device"];

/// How names begin that belong to systemd, to the bus, to logins and to the machine's early and late hours.
const BEGINNINGS: [&str; 17] = [
    "systemd-",
    "dbus-org.",
    "dbus-broker.",
    "dbus.",
    "polkit.",
    "initrd-",
    "user@",
    "user-runtime-dir@",
    "getty@",
    "serial-getty@",
    "container-getty@",
    "console-getty.",
    "autovt@",
    "modprobe@",
    "emergency.",
    "rescue.",
    "debug-shell.",
];

/// Services and sockets by which people reach the machine, and the machine others, without their suffix; instances of the
/// first two serve one connection each.
const ACCESS: [&str; 7] =
    ["ssh", "sshd", "networking", "NetworkManager", "NetworkManager-dispatcher", "wpa_supplicant", "wickedd"];
const ACCESS_BEGINNINGS: [&str; 2] = ["ssh@", "sshd@"];

/// Slices that hold everything else (systemd.special(7)), and how names of those begin that systemd makes.
const SLICES: [&str; 4] = ["-.slice", "system.slice", "user.slice", "machine.slice"];
const SLICE_BEGINNINGS: [&str; 2] = ["system-", "user-"];

/// File systems without which the machine does not work, and those that the kernel offers or systemd mounts by itself
/// (file-hierarchy(7)), which are vital with all below them.
const MOUNTS: [&str; 17] = [
    "-", "bin", "boot", "boot-efi", "efi", "etc", "home", "lib", "lib64", "root", "sbin", "sysroot", "tmp",
    "usr", "var", "var-lib", "var-tmp",
];
const MOUNT_TREES: [&str; 4] = ["dev", "proc", "run", "sys"];

/// Targets that systemd itself knows (systemd.special(7)), without their suffix.
const TARGETS: [&str; 80] = [
    "basic",
    "bluetooth",
    "boot-complete",
    "cryptsetup",
    "cryptsetup-pre",
    "ctrl-alt-del",
    "default",
    "emergency",
    "exit",
    "factory-reset",
    "final",
    "first-boot-complete",
    "getty",
    "getty-pre",
    "graphical",
    "halt",
    "hibernate",
    "hybrid-sleep",
    "initrd",
    "initrd-fs",
    "initrd-root-device",
    "initrd-root-fs",
    "initrd-switch-root",
    "initrd-usr-fs",
    "integritysetup",
    "integritysetup-pre",
    "kbrequest",
    "kexec",
    "local-fs",
    "local-fs-pre",
    "machines",
    "multi-user",
    "network",
    "network-online",
    "network-pre",
    "nss-lookup",
    "nss-user-lookup",
    "paths",
    "poweroff",
    "printer",
    "reboot",
    "remote-cryptsetup",
    "remote-fs",
    "remote-fs-pre",
    "remote-veritysetup",
    "rescue",
    "rpcbind",
    "runlevel0",
    "runlevel1",
    "runlevel2",
    "runlevel3",
    "runlevel4",
    "runlevel5",
    "runlevel6",
    "shutdown",
    "sigpwr",
    "sleep",
    "slices",
    "smartcard",
    "sockets",
    "soft-reboot",
    "sound",
    "ssh-access",
    "storage-target-mode",
    "suspend",
    "suspend-then-hibernate",
    "swap",
    "sysinit",
    "system-update",
    "system-update-pre",
    "time-set",
    "time-sync",
    "timers",
    "tpm2",
    "umount",
    "usb-gadget",
    "veritysetup",
    "veritysetup-pre",
    "virtual-console",
    "hibernate-resume",
];

/// Why a name belongs to the machine, wherever that is; `None` if it does not.
pub fn vital(unit: &UnitName) -> Option<String> {
    let (name, stem, kind) = (unit.as_str(), unit.stem(), unit.suffix());
    let begins = |beginnings: &[&str], text: &str| beginnings.iter().any(|begin| text.starts_with(begin));
    if KINDS.contains(&kind) {
        return Some(format!("systemd makes every .{kind} unit itself"));
    }
    if name.starts_with("muster-") {
        return Some("it is Muster's own".into());
    }
    let needed = match kind {
        "target" => TARGETS.contains(&stem),
        "slice" => SLICES.contains(&name) || begins(&SLICE_BEGINNINGS, name),
        "mount" | "automount" => {
            let tree = stem.split('-').next().unwrap_or(stem);
            MOUNTS.contains(&stem) || MOUNT_TREES.contains(&tree)
        }
        "service" | "socket" => ACCESS.contains(&stem) || begins(&ACCESS_BEGINNINGS, name),
        _ => false,
    };
    (needed || begins(&BEGINNINGS, name)).then(|| "every machine needs its own".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_vital(name: &str) -> bool {
        vital(&name.parse().unwrap()).is_some()
    }

    #[test]
    fn what_a_machine_needs_is_no_name_for_a_unit_of_the_cluster() {
        for name in [
            "dbus.service",
            "dbus.socket",
            "dbus-org.freedesktop.login1.service",
            "systemd-logind.service",
            "muster-agent.service",
            "muster-heartbeat@a.service",
            "multi-user.target",
            "network-online.target",
            "-.slice",
            "system.slice",
            "user-1000.slice",
            "init.scope",
            "session-1.scope",
            "dev-sda.device",
            "-.mount",
            "dev-hugepages.mount",
            "proc-sys-fs-binfmt_misc.automount",
            "getty@tty1.service",
            "user@1000.service",
            "ssh.service",
            "sshd.socket",
            "ssh@1-10.0.0.1:22-10.0.0.2:40000.service",
            "sshd@.service",
            "proc.mount",
            "sys.mount",
            "sys-kernel-debug.mount",
            "dev.mount",
            "dev-shm.mount",
            "run.mount",
            "run-lock.mount",
            "run-user-1000.mount",
            "tmp.mount",
            "tmp.automount",
            "usr.mount",
            "user-runtime-dir@1000.service",
            "serial-getty@ttyS0.service",
        ] {
            assert!(is_vital(name), "{name} was let through");
        }
    }

    #[test]
    fn what_people_run_is_let_through() {
        for name in [
            "web.service",
            "web@1.service",
            "muster.service",
            "dbusy.service",
            "app.target",
            "app.slice",
            "srv-data.mount",
            "devices.mount",
            "runs-1.mount",
            "var-lib-app.mount",
            "mnt-proc.mount",
            "sshx.service",
            "ssh.timer",
            "backup.timer",
            "user.service",
            "network.service",
        ] {
            assert!(!is_vital(name), "{name} was refused");
        }
    }
}
