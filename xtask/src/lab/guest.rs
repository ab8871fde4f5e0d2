//! A machine in QEMU, and somebody at its serial console. Nothing that it writes stays on its disk.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A running machine; ended when dropped.
pub struct Guest {
    child: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    /// Everything since power-on.
    console: String,
    /// How much of it was read already: old text is never taken for an answer.
    read: usize,
}

/// Why nobody could log in.
pub struct Stop {
    /// In a few words.
    pub symptom: String,
    /// The last lines of the console.
    pub console: String,
}

/// What a boot that goes wrong says, and how it is called in the table.
const STOPS: [(&str, &str); 7] = [
    ("emergency mode", "emergency mode"),
    ("Press Enter for maintenance", "emergency mode"),
    ("Kernel panic", "kernel panic"),
    ("grub rescue>", "grub rescue"),
    ("grub>", "grub shell"),
    ("(initramfs)", "initramfs shell"),
    ("rescue mode", "rescue mode"),
];

/// A boot beside a build, under emulation, with 90 seconds of waiting for a device in it.
const BOOT: Duration = Duration::from_secs(240);
const ANSWER: Duration = Duration::from_secs(45);

impl Guest {
    /// Switches a machine on.
    pub fn start(image: &Path) -> Result<Guest, String> {
        let mut child = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg", "-smp", "1", "-m", "768", "-display", "none", "-monitor", "none"])
            .args(["-serial", "stdio", "-no-reboot", "-snapshot", "-nic", "user,model=virtio-net-pci"])
            .arg("-drive")
            .arg(format!("file={},format=raw,if=virtio", image.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("qemu-system-x86_64: {error}"))?;
        let (Some(keyboard), Some(mut out)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("qemu has no console".to_owned());
        };
        let (sender, screen) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Guest { child, keyboard, screen, console: String::new(), read: 0 })
    }

    /// Waits for the prompt, sees a wrong password refused, logs in as root and runs a command.
    pub fn log_in(mut self) -> Result<(), Stop> {
        let mut wanted = vec!["login: "];
        wanted.extend(STOPS.iter().map(|(text, _)| *text));
        match self.expect(&wanted, BOOT) {
            Some(0) => {}
            Some(stop) => return Err(self.stop(STOPS.get(stop - 1).map_or("", |(_, name)| name))),
            None => return Err(self.stop("no login prompt")),
        }
        self.give_password("not-the-password")?;
        match self.expect(&["Login incorrect", "# "], ANSWER) {
            Some(0) => {}
            Some(_) => return Err(self.stop("a wrong password lets in")),
            None => return Err(self.stop("no answer to a password")),
        }
        if self.expect(&["login: "], ANSWER).is_none() {
            return Err(self.stop("no second prompt"));
        }
        self.give_password("sickbay")?;
        match self.expect(&["# ", "Login incorrect", "login: "], ANSWER) {
            Some(0) => {}
            Some(1) => return Err(self.stop("the right password is refused")),
            _ => return Err(self.stop("the session ends at once")),
        }
        // The shell computes what the terminal cannot have echoed.
        self.send("echo marker-$((6 * 7))\n");
        match self.expect(&["marker-42"], ANSWER) {
            Some(_) => Ok(()),
            None => Err(self.stop("no shell")),
        }
    }

    fn give_password(&mut self, password: &str) -> Result<(), Stop> {
        self.send("root\n");
        if self.expect(&["Password: "], ANSWER).is_none() {
            return Err(self.stop("no question for a password"));
        }
        self.send(&format!("{password}\n"));
        Ok(())
    }

    fn send(&mut self, text: &str) {
        // A machine that is gone is seen by what does not come back.
        let _ = self.keyboard.write_all(text.as_bytes()).and_then(|()| self.keyboard.flush());
    }

    /// Waits until one of the texts appears behind what was read, and reads past it.
    fn expect(&mut self, texts: &[&str], timeout: Duration) -> Option<usize> {
        let until = Instant::now() + timeout;
        loop {
            let new = self.console.get(self.read..).unwrap_or_default();
            let first = texts.iter().enumerate().filter_map(|(index, text)| Some((new.find(text)?, index))).min();
            if let Some((at, index)) = first {
                self.read += at + texts.get(index).map_or(0, |text| text.len());
                return Some(index);
            }
            let left = until.checked_duration_since(Instant::now())?;
            let bytes = self.screen.recv_timeout(left).ok()?;
            self.console.push_str(&plain(&bytes));
        }
    }

    fn stop(&self, symptom: &str) -> Stop {
        let lines: Vec<&str> = self.console.lines().collect();
        let console = lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n");
        Stop { symptom: symptom.to_owned(), console }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Text without carriage returns and escape characters.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control() || *c == '\n').collect()
}
