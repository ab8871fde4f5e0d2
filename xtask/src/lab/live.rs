//! What is wrong with a running kernel, found, repaired and taken back on that machine itself.

use super::disk::{BASE, Copy};
use super::guest::Guest;
use super::trial::{Lab, Row};
use super::whole::row;

/// A sysctl, a value that is wrong on so small a machine, and the check that finds it.
const SETTINGS: [[&str; 3]; 4] = [
    ["vm.min_free_kbytes", "200000", "memory-min-free"],
    ["vm.nr_hugepages", "100", "memory-hugepages-unused"],
    ["vm.overcommit_memory", "2", "memory-overcommit-refuses"],
    ["vm.panic_on_oom", "1", "memory-panic-on-oom"],
];

/// Runs in the machine: each is set in a file and in the kernel, found, repaired in both, and taken back in both.
const SCRIPT: &str = r#"set -u
file=/etc/sysctl.d/99-lab.conf
fail() { echo "FAILED $*"; exit 1; }
# With the default of 50 too much is left on a machine that does nothing.
sysctl -q -w vm.overcommit_ratio=20
sickbay check >/tmp/said 2>&1 || fail "on the healthy machine: $(cat /tmp/said)"
while read -r key value finds; do
    old=$(sysctl -n "$key")
    echo "$key = $value" >$file
    sysctl -q -p $file
    value=$(sysctl -n "$key")
    before=$(sha256sum $file)
    sickbay check --format json >/tmp/said 2>&1
    sed -n '/"findings":/,/^  \],/p' /tmp/said | grep -q "\"check\": \"$finds\"" || fail "$key: $finds is not found: $(cat /tmp/said)"
    sickbay fix --yes --risky </dev/null >/tmp/said 2>&1 || fail "$key: fix: $(cat /tmp/said)"
    [ "$(sysctl -n "$key")" != "$value" ] || fail "$key is still $value: $(cat /tmp/said)"
    sickbay check >/tmp/said 2>&1 || fail "$key: after the repair: $(cat /tmp/said)"
    sysctl -q -p $file
    [ "$(sysctl -n "$key")" != "$value" ] || fail "$key comes back from the file"
    sickbay undo --yes </dev/null >/tmp/said 2>&1 || fail "$key: undo: $(cat /tmp/said)"
    [ "$(sysctl -n "$key")" = "$value" ] || fail "$key is not $value again after undo: $(cat /tmp/said)"
    [ "$(sha256sum $file)" = "$before" ] || fail "$key: $file is another after undo"
    rm $file
    sysctl -q -w "$key=$old"
    echo "done $key"
done </root/settings
"#;

impl Lab {
    /// `check`, `fix` and `undo` of the machine on which they run.
    pub(super) fn live(&self) -> Row {
        row("live-memory", &BASE, "sysctls that take the memory away, set on a running machine", |row| {
            let disk = Copy::of(&BASE.healthy()?, "live-memory")?;
            let settings = SETTINGS.map(|setting| setting.join(" ")).join("\n");
            let sickbay = self.sickbay.display();
            let files = format!(
                "install {sickbay} $R/usr/local/bin/sickbay\ncat >$R/root/settings <<'END'\n{settings}\nEND\ncat >$R/root/live <<'END'\n{SCRIPT}END"
            );
            BASE.change(&disk.path, &files)?;
            row.findings = SETTINGS.map(|[_, _, finds]| finds).join(", ");
            if self.boots {
                let mut guest = Guest::start(&disk.path, &BASE)?;
                guest.log_in_by_ssh().map_err(|stop| format!("{}\n{}", stop.symptom, stop.console))?;
                let (_, said) = guest.ssh("sickbay", "sh /root/live");
                if said.matches("done ").count() != SETTINGS.len() {
                    return Err(said);
                }
                "logs in over ssh".clone_into(&mut row.before);
                "found, set right in the kernel and in the file".clone_into(&mut row.repair);
                row.undone = "identical";
            }
            Ok(())
        })
    }
}
