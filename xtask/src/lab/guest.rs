//! A machine in QEMU, and somebody at its console. What it writes stays on its disk only where that is asked for.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::disk::{Disk, succeed};

/// A running machine; ended when dropped.
pub(super) struct Guest {
    child: Child,
    keyboard: ChildStdin,
    serial: Receiver<Vec<u8>>,
    wire: Wire,
    /// Holds the socket of QEMU's monitor.
    dir: tempfile::TempDir,
    /// Everything that the serial console said since power-on.
    console: String,
    /// How much of it was read already: old text is never taken for an answer.
    read: usize,
    /// Whether it has come as far as its prompt.
    up: bool,
    /// How many times as long as usual everything may take.
    patience: u32,
}

/// How the machine is reached.
enum Wire {
    /// By a port of this machine that leads to its ssh; QEMU gives it an address by DHCP.
    Port(u16),
    /// Through a router, from a network that only its default route leads to.
    Router(Router),
}

/// A network namespace whose end of the wire is the router 10.0.2.2; it goes when it is dropped.
struct Router(String);

/// The address in the router's other network, from which the machine is called.
const CALLER: &str = "198.51.100.1";
/// The address that a machine behind the router has.
const CALLED: &str = "10.0.2.15";

impl Router {
    fn new(name: String) -> Result<Router, String> {
        let ip = |arguments: &[&str]| succeed(Command::new("ip").args(arguments)).map(drop);
        ip(&["netns", "add", &name])?;
        let router = Router(name);
        let name = router.0.as_str();
        ip(&["-n", name, "tuntap", "add", "wire", "mode", "tap"])?;
        ip(&["-n", name, "address", "add", "10.0.2.2/24", "dev", "wire"])?;
        ip(&["-n", name, "address", "add", &format!("{CALLER}/32"), "dev", "lo"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "link", "set", "wire", "up"])?;
        Ok(router)
    }

    /// A program that runs where the router is.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

/// Why nobody could log in.
#[derive(Debug)]
pub(super) struct Stop {
    /// In a few words.
    pub symptom: String,
    /// The last lines of the console.
    pub console: String,
}

/// What a boot that goes wrong says, and how it is called in the table.
const STOPS: [(&str, &str); 9] = [
    ("You are in emergency mode", "emergency mode"),
    ("Press Enter for maintenance", "emergency mode"),
    ("Cannot open access to console", "emergency mode, and root may not use it"),
    ("You are in rescue mode", "rescue mode"),
    ("Kernel panic", "kernel panic"),
    ("grub rescue>", "grub rescue>"),
    ("grub>", "grub>"),
    ("(initramfs)", "initramfs shell"),
    ("Failed to boot both default and fallback entries", "GRUB: failed to boot both default and fallback entries"),
];

/// What only the screen shows, because nothing has yet set the serial console up.
const SCREEN: [(&str, &str); 6] = [
    ("grub rescue>", "grub rescue>"),
    ("grub>", "grub>"),
    ("No bootable device", "no bootable device"),
    ("GRUB Hard Disk Error", "GRUB: hard disk error"),
    ("Geom Error", "GRUB: geom error"),
    ("Failed to boot both default", "GRUB: failed to boot both default and fallback entries"),
];

/// From power-on to the prompt: 15 seconds on an idle machine, 90 more where a device is waited for, and all of that
/// beside a build.
const BOOT: Duration = Duration::from_secs(240);
/// A quiet console for this long after power-on, and nobody comes any more.
const SILENCE: Duration = Duration::from_secs(130);
const ANSWER: Duration = Duration::from_secs(60);
/// A command, of which the shell computes what the terminal cannot have echoed: marker-42.
const MARKER: &str = "echo marker-$((6 * 7))";

impl Guest {
    /// Switches a machine on, whose disk is a copy of this one.
    pub(super) fn start(image: &Path, disk: &Disk) -> Result<Guest, String> {
        Guest::start_on(image, disk, true)
    }

    /// Switches a machine on that writes on this disk.
    pub(super) fn start_writing(image: &Path, disk: &Disk) -> Result<Guest, String> {
        Guest::start_on(image, disk, false)
    }

    fn start_on(image: &Path, disk: &Disk, is_copy: bool) -> Result<Guest, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let ssh = free_port().map_err(|error| error.to_string())?;
        let wire = if disk.routed { Wire::Router(Router::new(format!("lab-{ssh}"))?) } else { Wire::Port(ssh) };
        let (mut qemu, nic) = match &wire {
            Wire::Port(port) => (
                Command::new("qemu-system-x86_64"),
                format!("user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
            ),
            Wire::Router(router) => (
                router.command("qemu-system-x86_64"),
                "tap,model=virtio-net-pci,ifname=wire,script=no,downscript=no".to_owned(),
            ),
        };
        if disk.uefi() {
            qemu.args(["-bios", "/usr/share/ovmf/OVMF.fd"]);
        }
        let mut child = qemu
            .args(["-accel", "tcg", "-smp", "1", "-m", &disk.memory().to_string()])
            .args(["-display", "none", "-vga", "std"])
            .args(["-serial", "stdio", "-no-reboot"])
            .args(is_copy.then_some("-snapshot"))
            .arg("-monitor")
            .arg(format!("unix:{},server=on,wait=off", dir.path().join("monitor").display()))
            .args(["-nic", &nic])
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
        let (sender, serial) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let (console, patience) = (String::new(), disk.patience());
        Ok(Guest { child, keyboard, serial, wire, dir, console, read: 0, up: false, patience })
    }

    /// Waits for the prompt, sees a wrong password refused, logs in as root and runs a command.
    pub(super) fn log_in(&mut self) -> Result<(), Stop> {
        self.boot()?;
        self.give_password("not-the-password")?;
        match self.expect(&["Login incorrect", "# "], self.answer()) {
            Some(0) => {}
            Some(_) => return Err(self.stop("a wrong password lets in")),
            None => return Err(self.stop("no answer to a password")),
        }
        if self.expect(&["login: "], self.answer()).is_none() {
            return Err(self.stop("no second prompt"));
        }
        self.give_password("sickbay")?;
        // Not "Last login: ".
        match self.expect(&["# ", "Login incorrect", "lab login: "], self.answer()) {
            Some(0) => {}
            Some(1) => return Err(self.stop("the right password is refused")),
            Some(_) => return Err(self.stop("the session ends at once")),
            None => return Err(self.stop("no prompt after the password")),
        }
        self.send(&format!("{MARKER}\n"));
        match self.expect(&["marker-42"], self.answer()) {
            Some(_) => Ok(()),
            None => Err(self.stop("no shell")),
        }
    }

    /// Waits for the prompt, sees a wrong password refused over ssh, logs in over ssh and runs a command.
    pub(super) fn log_in_by_ssh(&mut self) -> Result<(), Stop> {
        self.boot()?;
        let until = Instant::now() + self.answer();
        let answer = loop {
            let answer = self.ssh("sickbay", MARKER);
            let (_, said) = &answer;
            // The network of the guest comes up a little after its prompt.
            let early = [
                "Connection timed out",
                "Connection reset",
                "Connection refused",
                "Connection closed",
                "No route to host",
            ];
            if Instant::now() > until || !early.iter().any(|early| said.contains(early)) {
                break answer;
            }
            std::thread::sleep(Duration::from_secs(2));
        };
        match answer {
            (true, said) if said.contains("marker-42") => {}
            (_, said) if said.contains("Permission denied") => return Err(self.stop("ssh: permission denied")),
            (_, said) if said.contains("Connection") => return Err(self.stop("ssh: no answer")),
            (_, said) => {
                let last = said.lines().last().unwrap_or_default().to_owned();
                return Err(self.stop(&format!("ssh: {last}")));
            }
        }
        let (let_in, said) = self.ssh("not-the-password", MARKER);
        if let_in || !said.contains("Permission denied") {
            return Err(self.stop("a wrong password lets in over ssh"));
        }
        Ok(())
    }

    /// The answer to a command over ssh: whether it ran, and what was said.
    pub(super) fn ssh(&self, password: &str, command: &str) -> (bool, String) {
        let (mut sshpass, place) = match &self.wire {
            Wire::Port(port) => {
                (Command::new("sshpass"), vec!["-p".to_owned(), port.to_string(), "root@127.0.0.1".into()])
            }
            Wire::Router(router) => {
                (router.command("sshpass"), vec!["-b".to_owned(), CALLER.to_owned(), format!("root@{CALLED}")])
            }
        };
        let out = sshpass
            .args(["-p", password, "ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"])
            .args(["-o", "UserKnownHostsFile=/dev/null", "-o", "PubkeyAuthentication=no"])
            .args(["-o", &format!("ConnectTimeout={}", 30 * self.patience)])
            .args(["-o", "NumberOfPasswordPrompts=1"])
            .args(place)
            .arg(command)
            .output();
        match out {
            Ok(out) => (out.status.success(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()),
            Err(error) => (false, format!("sshpass: {error}")),
        }
    }

    /// Presses the power button, and waits until the machine has shut down.
    pub(super) fn shut_down(mut self) -> Result<(), String> {
        self.monitor("system_powerdown").map_err(|error| error.to_string())?;
        let until = Instant::now() + self.answer();
        while Instant::now() < until {
            // A console that nobody reads stops who writes to it.
            self.expect(&["Power down"], Duration::from_secs(1));
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return Ok(());
            }
        }
        Err(self.stop("it does not shut down").symptom)
    }

    /// Waits for the prompt, if it was not there yet.
    pub(super) fn boot(&mut self) -> Result<(), Stop> {
        if self.up {
            return Ok(());
        }
        let mut wanted = vec!["login: "];
        wanted.extend(STOPS.iter().map(|(text, _)| *text));
        let until = Instant::now() + BOOT * self.patience;
        let mut quiet_since = Instant::now();
        while Instant::now() < until && quiet_since.elapsed() < SILENCE * self.patience {
            let before = self.console.len();
            match self.expect(&wanted, Duration::from_secs(5)) {
                Some(0) => {
                    self.up = true;
                    return Ok(());
                }
                Some(stop) => return Err(self.stop(STOPS.get(stop - 1).map_or("", |(_, name)| name))),
                None if self.console.len() > before => quiet_since = Instant::now(),
                None if matches!(self.child.try_wait(), Ok(Some(_))) => return Err(self.stop("it powers itself off")),
                None => {
                    let screen = self.screen();
                    if let Some((_, name)) = SCREEN.iter().find(|(text, _)| screen.contains(text)) {
                        self.console.push_str(&screen);
                        return Err(self.stop(name));
                    }
                }
            }
        }
        Err(self.stop("no login prompt"))
    }

    fn answer(&self) -> Duration {
        ANSWER * self.patience
    }

    fn give_password(&mut self, password: &str) -> Result<(), Stop> {
        self.send("root\n");
        match self.expect(&["Password: ", "# ", "login: "], self.answer()) {
            Some(0) => {}
            Some(1) => return Err(self.stop("no password is asked for")),
            Some(_) => return Err(self.stop("refused before a password is asked for")),
            None => return Err(self.stop("no password prompt")),
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
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
        // The console speaks byte by byte: what was looked through already is not looked through again.
        let mut looked = self.read;
        loop {
            let new = self.console.get(looked..).unwrap_or_default();
            let first = texts.iter().enumerate().filter_map(|(index, text)| Some((new.find(text)?, index))).min();
            if let Some((at, index)) = first {
                self.read = looked + at + texts.get(index).map_or(0, |text| text.len());
                return Some(index);
            }
            looked = looked.max(self.console.floor_char_boundary(self.console.len().saturating_sub(longest)));
            let left = until.checked_duration_since(Instant::now())?;
            match self.serial.recv_timeout(left) {
                Ok(mut bytes) => {
                    bytes.extend(self.serial.try_iter().flatten());
                    self.console.push_str(&plain(&bytes));
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(left.min(Duration::from_millis(200)));
                    return None;
                }
            }
        }
    }

    /// What the screen shows: the 80 by 25 characters of VGA text mode. Empty in any other mode.
    fn screen(&self) -> String {
        let file = self.dir.path().join("screen");
        let saved = self.monitor(&format!("pmemsave 0xb8000 4000 \"{}\"", file.display()));
        let cells = saved.and_then(|()| std::fs::read(&file)).unwrap_or_default();
        let rows = cells.chunks(160).map(|row| {
            let row: String =
                row.iter().step_by(2).map(|&byte| if byte == 0 { ' ' } else { char::from(byte) }).collect();
            row.trim_end().to_owned()
        });
        rows.filter(|row| !row.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Gives QEMU's monitor a command, and waits until it is done.
    fn monitor(&self, command: &str) -> std::io::Result<()> {
        let mut monitor = UnixStream::connect(self.dir.path().join("monitor"))?;
        monitor.set_read_timeout(Some(Duration::from_secs(2)))?;
        monitor.write_all(format!("{command}\n").as_bytes())?;
        // Its answer ends with the next prompt, the second one.
        let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
        while String::from_utf8_lossy(&said).matches("(qemu) ").count() < 2 {
            match monitor.read(&mut buffer)? {
                0 => break,
                length => said.extend_from_slice(&buffer[..length]),
            }
        }
        Ok(())
    }

    fn stop(&self, symptom: &str) -> Stop {
        let mut lines: Vec<&str> = self.console.lines().collect();
        let screen = self.screen();
        lines.extend(screen.lines());
        let console = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n");
        Stop { symptom: symptom.to_owned(), console }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Text without carriage returns and escape characters.
fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control() || *c == '\n').collect()
}
