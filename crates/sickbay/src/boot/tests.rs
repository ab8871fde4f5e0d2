use super::watch::End;
use super::*;

/// A boot of which the console said this.
fn boot(accelerator: Accelerator, text: &str, end: End) -> Boot {
    Boot {
        accelerator,
        seen: Seen { end, screen: String::new(), took: watch::Time::default() },
        console: boot_console::read(text.as_bytes()),
        text: text.as_bytes().to_vec(),
        added: None,
        remarks: Vec::new(),
    }
}

const HANGS: &str = "GRUB loading.\nWelcome to GRUB!\n";
const STANDS: &str = "GRUB loading.\nWelcome to GRUB!\n[    0.000000] Linux version 6.1.0 (gcc)\n\nlab login: ";

/// What KVM and emulation each come to; gives what was started, which counts, and what is said.
fn tried(by: By, has_kvm: bool, kvm: &str, tcg: &str) -> (Vec<Accelerator>, Accelerator, Option<String>) {
    let mut started = Vec::new();
    let (boot, remark) = carried(by, has_kvm, |accelerator, _| {
        started.push(accelerator);
        let text = if accelerator == Accelerator::Kvm { kvm } else { tcg };
        if text.is_empty() {
            return Err(Text::verbatim("QEMU: failed to initialize kvm".to_owned()));
        }
        Ok(boot(accelerator, text, if text == STANDS { End::Said } else { End::Silence }))
    })
    .unwrap();
    (started, boot.accelerator, remark.map(|text| text.render(crate::model::text::Lang::En)))
}

#[test]
fn kvm_that_carries_the_guest_is_kept() {
    assert_eq!(tried(By::Auto, true, STANDS, HANGS), (vec![Accelerator::Kvm], Accelerator::Kvm, None));
    let stopped = "GRUB loading.\nerror: no such partition.\ngrub rescue> ";
    assert_eq!(tried(By::Auto, true, stopped, STANDS), (vec![Accelerator::Kvm], Accelerator::Kvm, None));
}

#[test]
fn kvm_that_hangs_gives_way_and_is_named() {
    let (started, counts, remark) = tried(By::Auto, true, HANGS, STANDS);
    assert_eq!((started, counts), (vec![Accelerator::Kvm, Accelerator::Tcg], Accelerator::Tcg));
    assert!(remark.unwrap().starts_with("KVM exists but does not run guests"));
}

/// Then it is the disk that says nothing.
#[test]
fn kvm_is_not_blamed_where_emulation_comes_no_further() {
    assert_eq!(tried(By::Auto, true, HANGS, HANGS), (vec![Accelerator::Kvm, Accelerator::Tcg], Accelerator::Tcg, None));
}

#[test]
fn kvm_that_does_not_start_gives_way() {
    let (started, counts, remark) = tried(By::Auto, true, "", STANDS);
    assert_eq!((started, counts), (vec![Accelerator::Kvm, Accelerator::Tcg], Accelerator::Tcg));
    assert!(remark.unwrap().contains("failed to initialize kvm"));
}

#[test]
fn what_is_asked_for_is_done() {
    assert_eq!(tried(By::Auto, false, STANDS, STANDS), (vec![Accelerator::Tcg], Accelerator::Tcg, None));
    assert_eq!(tried(By::Tcg, true, STANDS, STANDS), (vec![Accelerator::Tcg], Accelerator::Tcg, None));
    assert_eq!(tried(By::Kvm, true, HANGS, STANDS), (vec![Accelerator::Kvm], Accelerator::Kvm, None));
}
