//! What is known of the target: parsed, never lossy, gathered once and only when a check asks.

pub mod boot;
pub mod cpu;
pub mod episode;
pub mod glimpse;
pub mod io;
pub mod limits;
pub mod login;
pub mod logs;
pub mod memory;
pub mod network;
pub mod packages;
pub mod services;
pub mod system;
pub mod time;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use sickbay_target::{Budget, Reason, Root, Target, Unread};

use crate::facts::packages::mirror::Mirror;
use crate::model::outcome::Skip;
use crate::model::source::SourceFile;
use crate::sample::{Asked, Window};
use crate::tr;

/// So many files are asked for at most. Those of a healthy system are some thousands.
const FILES: usize = 1 << 15;

/// Something that can be known of a target. Implemented by one type per file in `facts/`.
pub trait Fact: Sized + Send + Sync + 'static {
    /// Reads it from the target, or says why that cannot be.
    fn gather(facts: &Facts) -> Result<Self, Skip>;
}

/// All that is known of one target at one moment. Facts are never refreshed: after a repair a new `Facts` is made.
#[derive(Debug)]
pub struct Facts {
    target: Arc<Target>,
    donor: Option<Arc<Target>>,
    now: jiff::Timestamp,
    deadline: Duration,
    all_digests: bool,
    memory: Option<u64>,
    mirror: Option<Arc<Mirror>>,
    window: Option<Duration>,
    asked: Asked,
    samples: Option<Arc<Window>>,
    security_groups: Option<(String, Vec<u8>)>,
    cells: Mutex<HashMap<TypeId, Arc<Cell>>>,
    files: Mutex<HashMap<PathBuf, Option<Arc<SourceFile>>>>,
    /// Which thread waits for which, and for what: a fact that needs itself, by whatever way, would wait for ever.
    waits: Mutex<HashMap<ThreadId, (ThreadId, TypeId)>>,
}

#[derive(Debug)]
struct Cell {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Debug)]
enum State {
    Gathering(Instant, ThreadId),
    /// The fact, and what could not be read for it.
    Ready(Result<Shared, Skip>, Vec<Unread>),
}

/// A fact of any type.
type Shared = Arc<dyn Any + Send + Sync>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in one check must not take the facts from the others; every value is replaced whole, never half.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Facts {
    /// How long one fact may take to be read before the checks that wait for it say "could not tell".
    pub const DEADLINE: Duration = Duration::from_secs(20);

    /// The same where the user asked for what takes long, and for logs: a terabyte at the speed of a network disk.
    pub const PATIENCE: Duration = Duration::from_secs(4 * 3600);

    /// Facts of `target`, with files to restore from `donor`, if there is one.
    pub fn new(target: Arc<Target>, donor: Option<Arc<Target>>) -> Facts {
        // A log is read to its end, however long that takes: nothing in it can hang.
        let deadline = if target.logs().is_ok() { Facts::PATIENCE } else { Facts::DEADLINE };
        let now = jiff::Timestamp::try_from(target.now()).unwrap_or_default();
        Facts {
            target,
            donor,
            now,
            deadline,
            all_digests: false,
            memory: None,
            mirror: None,
            window: None,
            asked: Asked::default(),
            samples: None,
            security_groups: None,
            cells: Mutex::default(),
            files: Mutex::default(),
            waits: Mutex::default(),
        }
    }

    /// The same facts, for a user who wants every packaged file read and is ready to wait for it.
    pub fn with_all_digests(self, yes: bool) -> Facts {
        let deadline = if yes { Facts::PATIENCE } else { self.deadline };
        Facts { all_digests: yes, deadline, ..self }
    }

    /// The same facts, for a user who says how much memory the machine has, in KiB.
    pub fn with_memory(self, memory: Option<u64>) -> Facts {
        Facts { memory, ..self }
    }

    /// How much memory the machine has, in KiB, if the user said so.
    pub fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// The same facts, for a user who lets packages be fetched.
    pub fn with_mirror(self, mirror: Option<Arc<Mirror>>) -> Facts {
        Facts { mirror, ..self }
    }

    /// The same facts, for a user who wants a running system watched for so long.
    pub fn with_window(self, length: Option<Duration>) -> Facts {
        let deadline = self.deadline.saturating_add(length.unwrap_or_default());
        Facts { window: length, deadline, ..self }
    }

    /// The same facts, for a user who gives the rules of the cloud's security groups: the name of a file, and its content.
    pub fn with_security_groups(self, file: Option<(String, Vec<u8>)>) -> Facts {
        Facts { security_groups: file, ..self }
    }

    /// The rules of the cloud's security groups, as they were given.
    pub fn security_groups(&self) -> Option<(&str, &[u8])> {
        self.security_groups.as_ref().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// For how long the user wants a running system watched, if that was said.
    pub fn window(&self) -> Option<Duration> {
        self.window
    }

    /// The same facts, for a user who asks for a part of a recording.
    pub fn with_asked(self, asked: Asked) -> Facts {
        Facts { asked, ..self }
    }

    /// The same facts, of a running system that somebody watches already: these samples are its window.
    pub fn with_samples(self, samples: Arc<Window>) -> Facts {
        Facts { samples: Some(samples), ..self }
    }

    /// The samples of who watches already.
    pub fn samples(&self) -> Option<&Arc<Window>> {
        self.samples.as_ref()
    }

    /// Which part of a recording the user asks for.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Fetches packages, where the user lets it.
    pub fn mirror(&self) -> Option<&Mirror> {
        self.mirror.as_deref()
    }

    /// Whether every packaged file is to be read, not only those that boot and login need.
    pub fn all_digests(&self) -> bool {
        self.all_digests
    }

    /// The target itself.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The target's file system.
    pub fn root(&self) -> &Root {
        self.target.root()
    }

    /// Whether it runs, so that `/proc` and `/sys` are its kernel's: what else it can tell (files, disks, logs) is asked of the
    /// target, which answers or says why not.
    pub fn runs(&self) -> bool {
        self.target.running().is_ok()
    }

    /// How long one fact may take to be read, from now on. What a fact does many times has a part of it, and says so where
    /// that is spent; nothing else has a limit of its own.
    pub fn budget(&self) -> Budget {
        Budget::new(self.deadline)
    }

    /// The healthy root that lost files may be taken from.
    pub fn donor(&self) -> Option<&Target> {
        self.donor.as_deref()
    }

    /// The moment that ages and expiry dates are judged at.
    pub fn now(&self) -> jiff::Timestamp {
        self.now
    }

    /// The fact `T`, gathered on the first call. Every caller gets the same answer.
    pub fn get<T: Fact>(&self) -> Result<Arc<T>, Skip> {
        let gather = || T::gather(self).map(|fact| Arc::new(fact) as Shared);
        let fact = self.get_any(TypeId::of::<T>(), &name_of::<T>, &gather)?;
        // The cell is keyed by the type, so the downcast cannot fail.
        fact.downcast()
            .map_err(|_| Skip::Unknown(tr!("reading {fact} failed: {panic}", fact = name_of::<T>(), panic = "type")))
    }

    /// The same for a fact whose type only the caller knows: compiled once, not for each.
    fn get_any(
        &self,
        what: TypeId,
        name: &dyn Fn() -> &'static str,
        gather: &dyn Fn() -> Result<Shared, Skip>,
    ) -> Result<Shared, Skip> {
        let me = thread::current().id();
        let (cell, mine) = {
            let mut cells = lock(&self.cells);
            match cells.get(&what) {
                Some(cell) => (Arc::clone(cell), false),
                None => {
                    let cell = Arc::new(Cell {
                        state: Mutex::new(State::Gathering(Instant::now(), me)),
                        ready: Condvar::new(),
                    });
                    cells.insert(what, Arc::clone(&cell));
                    (cell, true)
                }
            }
        };
        if mine {
            let before = self.root().take_unread();
            let gathered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(gather)).unwrap_or_else(|panic| {
                Err(Skip::Unknown(tr!(
                    "reading {fact} failed: {panic}",
                    fact = name(),
                    panic = panic_message(panic.as_ref())
                )))
            });
            let unread = self.root().take_unread();
            self.root().note_unread(&before);
            *lock(&cell.state) = State::Ready(gathered, unread);
            // Nobody waits for it any more, though it may take them a moment to see it.
            lock(&self.waits).retain(|_, (_, waited)| *waited != what);
            cell.ready.notify_all();
        }
        let mut state = lock(&cell.state);
        loop {
            match &*state {
                State::Ready(answer, unread) => {
                    self.root().note_unread(unread);
                    return answer.clone();
                }
                State::Gathering(since, gatherer) => {
                    let Some(left) = self.deadline.checked_sub(since.elapsed()) else {
                        return Err(Skip::Unknown(tr!(
                            "reading {fact} took longer than {seconds} s",
                            fact = name(),
                            seconds = self.deadline.as_secs()
                        )));
                    };
                    if !self.may_wait(me, *gatherer, what) {
                        return Err(Skip::Unknown(tr!("reading {fact} needs {fact} itself", fact = name())));
                    }
                    state = cell
                        .ready
                        .wait_timeout(state, left.min(Duration::from_secs(3600)))
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                    lock(&self.waits).remove(&me);
                }
            }
        }
    }

    /// Notes that `me` waits for what `other` gathers, unless that waits for `me`, itself or through others.
    fn may_wait(&self, me: ThreadId, other: ThreadId, what: TypeId) -> bool {
        let mut waits = lock(&self.waits);
        let mut last = Some(other);
        while let Some(thread) = last {
            if thread == me {
                return false;
            }
            last = waits.get(&thread).map(|(next, _)| *next);
        }
        waits.insert(me, (other, what));
        true
    }

    /// A file of the target, read once; `None` when there is no such file. What is there but cannot be read (a FIFO,
    /// a directory, a 2 GiB file, no permission) is [`Skip::Unknown`] with the path and the reason.
    pub fn file(&self, path: impl AsRef<Path>) -> Result<Option<Arc<SourceFile>>, Skip> {
        let path = path.as_ref();
        if let Some(known) = lock(&self.files).get(path) {
            return Ok(known.clone());
        }
        if lock(&self.files).len() >= FILES {
            return Err(Skip::Unknown(tr!(
                "{path} was not read: there are more than {most} files",
                path,
                most = FILES
            )));
        }
        let file = match self.root().read(path) {
            Ok(bytes) => Some(Arc::new(SourceFile { path: path.to_owned(), bytes })),
            Err(error) if matches!(error.reason, Reason::NotFound | Reason::NotADirectory) => None,
            Err(error) => return Err(error.into()),
        };
        lock(&self.files).insert(path.to_owned(), file.clone());
        Ok(file)
    }

    /// Like [`Facts::file`] for a file without which the check has nothing to look at.
    pub fn required(&self, path: impl AsRef<Path>) -> Result<Arc<SourceFile>, Skip> {
        let path = path.as_ref();
        self.file(path)?.ok_or_else(|| Skip::NotApplicable(tr!("{path} does not exist", path)))
    }
}

fn name_of<T>() -> &'static str {
    std::any::type_name::<T>().rsplit("::").next().unwrap_or_default()
}

/// What a caught panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|message| (*message).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use sickbay_target::Access;

    use super::*;

    #[derive(Debug)]
    struct First;
    #[derive(Debug)]
    struct Second;

    impl Fact for First {
        fn gather(facts: &Facts) -> Result<First, Skip> {
            // Long enough for another thread to begin at the other end.
            thread::sleep(Duration::from_millis(50));
            facts.get::<Second>().map(|_| First)
        }
    }

    impl Fact for Second {
        fn gather(facts: &Facts) -> Result<Second, Skip> {
            thread::sleep(Duration::from_millis(50));
            facts.get::<First>().map(|_| Second)
        }
    }

    #[test]
    fn a_fact_that_needs_itself_fails_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let target = Target::described(dir.path(), Access::ReadOnly, Vec::new(), &[]).expect("a directory is a target");
        let began = Instant::now();
        let alone = Facts::new(Arc::new(target), None);
        let Err(Skip::Unknown(why)) = alone.get::<First>() else { panic!("it cannot be known") };
        assert_eq!(why.render(crate::model::text::Lang::En), "reading First needs First itself");

        let target = Target::described(dir.path(), Access::ReadOnly, Vec::new(), &[]).expect("a directory is a target");
        let facts = Facts::new(Arc::new(target), None);
        thread::scope(|scope| {
            let one = scope.spawn(|| facts.get::<First>().is_err());
            let two = scope.spawn(|| facts.get::<Second>().is_err());
            assert!(one.join().unwrap_or(false) && two.join().unwrap_or(false));
        });
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
}
