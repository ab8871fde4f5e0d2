use super::*;

/// A guest by the book: at which second it says what, and the share of a processor that it gets.
#[derive(Default)]
struct Played {
    says: Vec<(u64, &'static str)>,
    wall: Duration,
    own: Duration,
    /// Hundredths of a processor.
    share: u32,
    heard: Vec<u8>,
    state: Option<State>,
}

impl Guest for Played {
    fn hear(&mut self, wait: Duration) -> bool {
        self.wall += wait;
        self.own += wait * self.share / 100;
        let now = self.wall.as_secs();
        let said: Vec<&str> = self.says.extract_if(.., |(at, _)| *at <= now).map(|(_, text)| text).collect();
        self.heard.extend(said.concat().bytes());
        !said.is_empty()
    }

    fn console(&self) -> &[u8] {
        &self.heard
    }

    fn screen(&mut self) -> String {
        String::new()
    }

    fn is_over(&self) -> bool {
        false
    }

    fn state(&mut self) -> State {
        self.state.clone().unwrap_or(State::Running)
    }

    fn time(&self) -> Time {
        Time { wall: self.wall, own: self.own }
    }
}

const LOADER: &str = "GRUB loading.\nWelcome to GRUB!\n";
const KERNEL: &str =
    "[    0.000000] Linux version 6.1.0 (gcc)\n[    1.000000] Run /init as init process\nLoading, please wait...\n";

fn play(accelerator: Accelerator, trust: Trust, timeout: Option<u64>, mut guest: Played) -> (Console, Seen) {
    let timeout = timeout.map(Duration::from_secs);
    let seen = Watch::new(accelerator, trust, timeout).until_it_stands(&mut guest, &mut |_| {});
    (boot_console::read(&guest.heard), seen)
}

fn told(console: &Console, seen: &Seen) -> Outcome {
    verdict(console, seen).0
}

#[test]
fn a_guest_that_hangs_under_kvm_is_given_up_soon_and_told_nothing_of() {
    let guest = Played { says: vec![(1, LOADER)], share: 100, ..Played::default() };
    let (console, seen) = play(Accelerator::Kvm, Trust::OnTrial, None, guest);
    assert_eq!(seen.end, End::Silence);
    assert!(seen.took.wall < Duration::from_secs(20), "{:?}", seen.took);
    assert!(is_kvm_suspected(&console));
    assert_eq!(told(&console, &seen), Outcome::Untold);
}

#[test]
fn a_guest_that_crawls_under_kvm_is_given_up_too() {
    let says = (0..600).map(|at| (at, "Loading ...\n")).chain([(0, LOADER)]).collect();
    let (console, seen) =
        play(Accelerator::Kvm, Trust::OnTrial, None, Played { says, share: 100, ..Played::default() });
    assert_eq!(seen.end, End::NotCarried);
    assert!(is_kvm_suspected(&console));
}

/// Beside a build it gets a twentieth of a processor; that is no silence.
#[test]
fn a_guest_that_waits_for_a_processor_is_waited_for() {
    for (accelerator, trust) in [(Accelerator::Kvm, Trust::OnTrial), (Accelerator::Tcg, Trust::Full)] {
        let says = vec![(1, LOADER), (55, KERNEL), (170, "lab login: ")];
        let (console, seen) = play(accelerator, trust, None, Played { says, share: 5, ..Played::default() });
        assert_eq!(seen.end, End::Said);
        assert_eq!(told(&console, &seen), Outcome::Login);
        assert!(!is_kvm_suspected(&console));
    }
}

/// systemd waits 90 seconds for a device without a word, and the guest sleeps meanwhile.
#[test]
fn a_guest_that_sleeps_is_waited_for() {
    let says = vec![(1, LOADER), (5, KERNEL), (280, "lab login: ")];
    let (console, seen) = play(Accelerator::Kvm, Trust::OnTrial, None, Played { says, share: 1, ..Played::default() });
    assert_eq!(told(&console, &seen), Outcome::Login);
}

#[test]
fn silence_is_no_stop() {
    for text in [LOADER, KERNEL, "GRUB loading.\nWelcome to GRUB!\nLoading Linux 6.1 ...\n"] {
        let guest = Played { says: vec![(1, text)], share: 100, ..Played::default() };
        let (console, seen) = play(Accelerator::Tcg, Trust::Full, None, guest);
        assert_eq!(seen.end, End::Silence);
        assert_eq!(told(&console, &seen), Outcome::Untold, "{text}");
    }
}

#[test]
fn what_was_printed_before_the_silence_counts() {
    let guest = Played {
        says: vec![(1, "GRUB loading.\nWelcome to GRUB!\n\nerror: no such partition.\ngrub rescue> ")],
        share: 100,
        ..Played::default()
    };
    let (console, seen) = play(Accelerator::Kvm, Trust::OnTrial, None, guest);
    assert!(!is_kvm_suspected(&console));
    assert_eq!((told(&console, &seen), seen.end), (Outcome::Stopped, End::Said));
}

#[test]
fn a_halted_processor_has_stopped() {
    let guest = Played { says: vec![(1, LOADER)], state: Some(State::Halted), ..Played::default() };
    let (console, seen) = play(Accelerator::Tcg, Trust::Full, None, guest);
    assert!(seen.took.wall < Duration::from_secs(10));
    assert_eq!((told(&console, &seen), seen.end), (Outcome::Stopped, End::Halted));
}

#[test]
fn what_qemu_stops_tells_nothing() {
    let state = Some(State::Paused("internal-error".into()));
    let guest = Played { says: vec![(1, LOADER)], state, ..Played::default() };
    let (console, seen) = play(Accelerator::Kvm, Trust::OnTrial, None, guest);
    assert!(is_kvm_suspected(&console));
    assert_eq!(told(&console, &seen), Outcome::Untold);
}

/// The kernel found no timer, or the like: that need not be the disk's fault. A root that is not there is.
#[test]
fn a_panic_is_kvms_or_the_disks() {
    let panic = |reason: &str| {
        let text =
            format!("[    0.000000] Linux version 6.1.0 (gcc)\n[    0.200000] Kernel panic - not syncing: {reason}\n");
        is_kvm_suspected(&boot_console::read(text.as_bytes()))
    };
    assert!(panic("IO-APIC + timer doesn't work!  Boot with apic=debug"));
    assert!(!panic("VFS: Unable to mount root fs on unknown-block(0,0)"));
}

#[test]
fn the_users_time_is_that_of_the_wall() {
    let guest = Played { says: vec![(1, KERNEL)], share: 1, ..Played::default() };
    let (console, seen) = play(Accelerator::Tcg, Trust::Full, Some(7), guest);
    assert_eq!((seen.end.clone(), seen.took.wall.as_secs()), (End::Timeout, 7));
    assert_eq!(told(&console, &seen), Outcome::Untold);
}
