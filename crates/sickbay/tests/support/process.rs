//! Real processes that tests start, and that end with them.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ends the processes that were started when it goes: the group that the first one leads.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // A process waiting for its child can only be ended together with it.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Starts it as the leader of a group of its own.
pub fn start(command: &mut Command) -> Guard {
    use std::os::unix::process::CommandExt;
    Guard(command.process_group(0).stdin(Stdio::null()).spawn().expect("it starts"))
}

/// A program of that name that was made from this source.
pub fn program(dir: &Path, name: &str, source: &str) -> PathBuf {
    let code = dir.join(format!("{name}.c"));
    std::fs::write(&code, source).expect("written");
    let made = Command::new("cc").arg("-O0").arg("-o").arg(dir.join(name)).arg(&code).status().expect("cc");
    assert!(made.success());
    dir.join(name)
}

/// Some parents that wait for a child of vfork(2) that sleeps, and some that run; each child ends with its parent.
pub const STUCK: &str = r#"
#include <stdlib.h>
#include <sys/prctl.h>
#include <signal.h>
#include <unistd.h>
int main(int count, char **words) {
    int waiting = atoi(words[1]), running = atoi(words[2]), seconds = atoi(words[3]);
    for (int n = 0; n < waiting + running; n++) {
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (n < waiting) {
                if (vfork() == 0) { sleep(seconds); _exit(0); }
                _exit(0);
            }
            alarm(seconds);
            for (;;) {}
        }
    }
    write(1, "there\n", 6);
    sleep(seconds);
    return 0;
}
"#;
