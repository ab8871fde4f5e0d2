//! Stacks of the kernel as logs have them: `dump_stack+0x45/0x56`, ` [<ffffffffa01a1ef7>] ? bnx2_rx_int+0x5e7/0x1700 [bnx2]`.

/// A function on a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its name.
    pub name: String,
    /// The module that it is in; "" for the kernel itself.
    pub module: String,
    /// The unwinder is sure of it: no `?` stands before it.
    pub certain: bool,
}

/// So many functions of a stack are kept.
const DEPTH: usize = 64;

/// The function that a line without prefix names, if it is a line of a stack.
pub fn frame(text: &str) -> Option<Frame> {
    let text = text.trim();
    // Registers name functions, too.
    if ["RIP", "EIP", "pc ", "lr ", "PC is", "LR is", "NIP"].iter().any(|head| text.starts_with(head)) {
        return None;
    }
    let words: Vec<&str> = text.split_whitespace().take(12).collect();
    let at = words.iter().position(|word| word.contains("+0x") && word.contains("/0x"))?;
    let name = words.get(at)?.split('+').next()?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.$".contains(&byte));
    // Only addresses, marks and question marks stand before it.
    let head = words.get(..at).unwrap_or_default();
    let plain = head.iter().all(|word| word.starts_with(['[', '<', '?', '(']) || word.ends_with("]"));
    if !is_name || !plain || name.len() > 120 {
        return None;
    }
    let module = words.get(at + 1).and_then(|word| word.strip_prefix('[')).map(|word| word.trim_end_matches(']'));
    let module = module.filter(|word| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    Some(Frame {
        name: name.split('.').next().unwrap_or(name).to_owned(),
        module: module.unwrap_or_default().chars().take(60).collect(),
        certain: !head.contains(&"?"),
    })
}

/// The functions of a stack as its lines come, the innermost first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames {
    all: Vec<Frame>,
    interrupt: bool,
    over: bool,
}

impl Frames {
    /// Takes a line; `false` when it is none of a stack.
    pub fn line(&mut self, text: &str) -> bool {
        // What follows is what was interrupted.
        if text.contains("<EOI>") || text.contains("</IRQ>") || text.contains("<<EOE>>") {
            self.over |= self.interrupt;
        }
        self.interrupt |= text.contains("<IRQ>");
        let Some(frame) = frame(text) else { return text.contains("<IRQ>") || text.contains("<EOI>") };
        // Where no mark tells it, as on arm64, functions do.
        self.interrupt |=
            ["net_rx_action", "__do_softirq", "irq_exit", "__irq_exit_rcu"].contains(&frame.name.as_str());
        if !self.over && self.all.len() < DEPTH {
            self.all.push(frame);
        }
        true
    }

    /// Whether it is the stack of an interrupt.
    pub fn in_interrupt(&self) -> bool {
        self.interrupt
    }

    /// The functions; those that merely lie on the stack only where there are no others.
    pub fn list(&self) -> Vec<&Frame> {
        let certain: Vec<&Frame> = self.all.iter().filter(|frame| frame.certain).collect();
        if certain.len() > 1 { certain } else { self.all.iter().collect() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new() {
        let of = |text| frame(text).map(|frame| (frame.name, frame.module, frame.certain));
        let is = |name: &str, module: &str, certain| Some((name.to_owned(), module.to_owned(), certain));
        assert_eq!(of(" dump_stack+0x5c/0x78"), is("dump_stack", "", true));
        assert_eq!(of(" [<ffffffffa01a1ef7>] ? bnx2_rx_int+0x5e7/0x1700 [bnx2]"), is("bnx2_rx_int", "bnx2", false));
        assert_eq!(of("__alloc_pages_slowpath.constprop.0+0xb5c/0xba0"), is("__alloc_pages_slowpath", "", true));
        for text in ["RIP: 0010:foo+0x1/0x2", "pc : foo+0x1/0x2", "a talk of foo+0x1/0x2", "", "+0x/0x"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn what_was_interrupted_is_left_out() {
        let mut frames = Frames::default();
        for line in ["<IRQ>  [<ffff>] dump_stack+0x1/0x2", " poll+0x1/0x2 [nic]", " <EOI>", " sys_read+0x1/0x2"] {
            assert!(frames.line(line), "{line}");
        }
        assert!(frames.in_interrupt());
        assert_eq!(frames.list().len(), 2);
        assert!(!Frames::default().line("words"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String) {
            frame(&text);
            Frames::default().line(&text);
        }
    }
}
