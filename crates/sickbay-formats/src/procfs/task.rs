//! `/proc/PID/stat` and `/proc/PID/task/TID/stat`: proc(5). A name may hold anything, blanks, brackets and line ends too; what
//! follows it begins behind the last `)`.

/// PF_KTHREAD of include/linux/sched.h: one of the kernel's own threads.
pub const KERNEL_THREAD: u64 = 0x20_0000;

/// PF_FROZEN, before 6.1: it is frozen, and counts for no load. Since 6.14 the bit says something else.
pub const FROZEN: u64 = 0x1_0000;

/// A thread; of `/proc/PID/stat`, times and faults are those of all threads of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task<'a> {
    /// Its number.
    pub id: u32,
    /// Its name: at most 15 bytes, of the kernel's own threads more.
    pub name: &'a [u8],
    /// `R`, `S`, `D`, `I` … as in proc(5).
    pub state: u8,
    /// The process that made it; of a thread, the one that made its process.
    pub parent: u32,
    /// PF_* of include/linux/sched.h.
    pub flags: u64,
    /// Page faults of children that ended and were waited for: `cminflt`.
    pub faults_of_children: u64,
    /// Time in programs, in ticks of a hundredth of a second.
    pub user: u64,
    /// Time in the kernel, in ticks.
    pub system: u64,
    /// The number of threads of its process.
    pub threads: u64,
    /// When it began, in ticks since the machine did: with its number, what it is known again by.
    pub began: u64,
}

/// Reads one.
pub fn parse(text: &[u8]) -> Option<Task<'_>> {
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let id = super::digits(text.get(..open)?.trim_ascii())?.try_into().ok()?;
    let name = text.get(open + 1..close)?;
    // The numbers are those of proc(5), which begins to count at 1: the state is field 3.
    let mut words = super::words(text.get(close + 1..)?);
    let state = match words.next()? {
        [state] => *state,
        _ => return None,
    };
    let parent = super::digits(words.next()?)?.try_into().ok()?;
    // Fields between may be negative.
    let mut skip = |count: usize| super::digits(words.nth(count)?);
    let flags = skip(4)?; // field 9
    let faults_of_children = skip(1)?; // 11
    let (user, system) = (skip(2)?, skip(0)?); // 14, 15
    let threads = skip(4)?; // 20
    let began = skip(1)?; // 22
    Some(Task { id, name, state, parent, flags, faults_of_children, user, system, threads, began })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let text = b"958 (ngi) D (\nx) D 957 958 957 0 -1 4194624 107 3 0 0 41 17 0 0 20 0 1 0 288931 7 8 9\n";
        let task = parse(text).expect("a thread");
        assert_eq!((task.name, task.state, task.parent), (&b"ngi) D (\nx"[..], b'D', 957));
        assert_eq!((task.flags, task.faults_of_children, task.user, task.system), (4_194_624, 3, 41, 17));
        assert_eq!((task.id, task.threads, task.began), (958, 1, 288_931));
        for broken in [
            "",
            "958 (nginx",
            "958 (nginx)",
            "958 (nginx) D 957",
            "x (nginx) D 957 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, text in "[0-9 ()D\n-]{0,120}") {
            let _ = (parse(&bytes), parse(text.as_bytes()));
        }

        #[test]
        fn whatever_its_name(name: Vec<u8>, numbers in proptest::collection::vec(0_u64..1 << 40, 18..60)) {
            let mut text = [b"7 (", name.as_slice(), b") R 1"].concat();
            numbers.iter().for_each(|number| text.extend(format!(" {number}").bytes()));
            let task = parse(&text).expect("a thread");
            proptest::prop_assert_eq!((task.name, task.parent), (name.as_slice(), 1));
            proptest::prop_assert_eq!((task.flags, task.began), (numbers[4], numbers[17]));
        }
    }
}
