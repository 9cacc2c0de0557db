//! Work that may never end, such as reading a file of a dead disk or asking a dead file server.

use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// The workers' stack; collectors need a few pages of it.
const STACK_BYTES: usize = 512 * 1024;

/// One piece of work.
pub struct Job<T> {
    /// What it asks; two jobs with the same key ask the same thing.
    pub key: String,
    /// Asks.
    pub work: Box<dyn FnOnce() -> T + Send>,
}

/// How a job ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// It answered.
    Done(T),
    /// It has not answered, now or since an earlier run.
    Late,
    /// It panicked, with these words.
    Crashed(String),
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For one job.
    pub each: Duration,
    /// For all of them.
    pub all: Duration,
}

/// Runs jobs one after the other and leaves behind those that hang: one thread for each, never a second one for the
/// same key until the first has come back. A thread whose jobs all ended waits for the next run.
#[derive(Debug, Default)]
pub struct Turns {
    under_way: Arc<Mutex<BTreeSet<String>>>,
    idle: Mutex<Option<Thread>>,
}

/// Where a thread takes its work from; it ends when nobody holds this any more.
type Thread = mpsc::Sender<Box<dyn FnOnce() + Send>>;

impl Turns {
    /// Answers one verdict for each job, in their order.
    pub fn run<T: Send + 'static>(&self, jobs: Vec<Job<T>>, limits: Limits) -> Vec<Verdict<T>> {
        let batch = Arc::new(self.batch(jobs));
        let deadline = Instant::now() + limits.all;
        let mut progress = lock(&batch.progress);
        let mut thread = None;
        while !progress.is_over() {
            let now = Instant::now();
            if thread.is_none() {
                progress.since = now;
                thread = self.begin(&batch, progress.shift);
            }
            let until = deadline.min(progress.since + limits.each);
            if now >= deadline || thread.is_none() {
                break;
            }
            if now >= until {
                // Without its sender, the thread ends as soon as the job that hangs has come back.
                thread = None;
                progress.dismiss();
                continue;
            }
            let wait = batch.over.wait_timeout(progress, until - now);
            progress = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
        if progress.is_over() && thread.is_some() {
            *lock(&self.idle) = thread;
        }
        progress.dismiss();
        progress.queue.clear();
        std::mem::take(&mut progress.verdicts)
    }

    fn batch<T>(&self, jobs: Vec<Job<T>>) -> Batch<T> {
        let under_way = self.under_way.clone();
        let stuck = lock(&under_way).clone();
        let verdicts = jobs.iter().map(|_| Verdict::Late).collect();
        let queue =
            jobs.into_iter().enumerate().filter(|(_, job)| !stuck.contains(&job.key)).collect();
        let progress =
            Progress { queue, verdicts, shift: 0, is_busy: false, since: Instant::now() };
        Batch { progress: Mutex::new(progress), over: Condvar::new(), under_way }
    }

    /// Gives a batch to the waiting thread, or to a new one; nothing where the system has no thread left.
    fn begin<T: Send + 'static>(&self, batch: &Arc<Batch<T>>, shift: usize) -> Option<Thread> {
        let waiting = lock(&self.idle).take();
        let thread = waiting.map_or_else(spawn, Ok);
        let thread =
            thread.inspect_err(|error| tracing::error!(%error, "cannot start a thread")).ok()?;
        let batch = batch.clone();
        thread.send(Box::new(move || batch.work(shift))).ok()?;
        Some(thread)
    }
}

fn spawn() -> io::Result<Thread> {
    let (sender, work) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
    let builder = thread::Builder::new().name("collector".to_owned()).stack_size(STACK_BYTES);
    builder.spawn(move || work.iter().for_each(|work| work()))?;
    Ok(sender)
}

/// Jobs that are run together.
struct Batch<T> {
    progress: Mutex<Progress<T>>,
    over: Condvar,
    under_way: Arc<Mutex<BTreeSet<String>>>,
}

struct Progress<T> {
    /// The jobs nobody has begun, each with its place in the order.
    queue: VecDeque<(usize, Job<T>)>,
    verdicts: Vec<Verdict<T>>,
    /// Which thread works; those of earlier shifts are given up.
    shift: usize,
    /// Whether the thread of this shift has a job.
    is_busy: bool,
    /// When it began that job, or was asked to begin.
    since: Instant,
}

impl<T> Progress<T> {
    fn is_over(&self) -> bool {
        self.queue.is_empty() && !self.is_busy
    }

    fn dismiss(&mut self) {
        self.shift += 1;
        self.is_busy = false;
    }
}

impl<T> Batch<T> {
    fn work(&self, shift: usize) {
        let mut progress = lock(&self.progress);
        while progress.shift == shift {
            let Some((index, Job { key, work })) = progress.queue.pop_front() else {
                progress.is_busy = false;
                // Only the end is told: waking somebody for each job would cost more than most jobs.
                self.over.notify_all();
                return;
            };
            (progress.is_busy, progress.since) = (true, Instant::now());
            drop(progress);
            lock(&self.under_way).insert(key.clone());
            let verdict = match catch_unwind(AssertUnwindSafe(work)) {
                Ok(answer) => Verdict::Done(answer),
                Err(panic) => Verdict::Crashed(words(&*panic)),
            };
            lock(&self.under_way).remove(&key);
            progress = lock(&self.progress);
            // An answer that comes after the end finds no place any more.
            if let Some(place) = progress.verdicts.get_mut(index) {
                *place = verdict;
            }
        }
    }
}

/// Finds what a panic said.
pub fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no words".to_owned())
}

/// Takes a lock; what it guards is replaced whole, so a panic of another thread leaves it as good as before.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { each: Duration::from_millis(200), all: Duration::from_secs(20) };

    fn job(key: &str, work: impl FnOnce() -> u32 + Send + 'static) -> Job<u32> {
        Job { key: key.to_owned(), work: Box::new(work) }
    }

    #[test]
    fn every_job_is_answered_in_its_order() {
        let jobs = (0..100).map(|number| job(&number.to_string(), move || number)).collect();
        let answers = Turns::default().run(jobs, LIMITS);
        assert_eq!(answers, (0..100).map(Verdict::Done).collect::<Vec<_>>());
        assert_eq!(Turns::default().run::<u32>(Vec::new(), LIMITS), []);
    }

    #[test]
    fn a_panic_is_one_verdict() {
        let jobs = vec![
            job("a", || panic!("went {}", "wrong")),
            job("b", || panic!("plain")),
            job("c", || 3),
        ];
        let answers = Turns::default().run(jobs, LIMITS);
        assert_eq!(
            answers,
            [
                Verdict::Crashed("went wrong".to_owned()),
                Verdict::Crashed("plain".to_owned()),
                Verdict::Done(3)
            ]
        );
    }

    #[test]
    fn a_hanging_job_is_left_behind_and_asked_again_only_when_it_came_back() {
        let turns = Turns::default();
        let (release, gate) = mpsc::channel::<()>();
        let (started, starts) = mpsc::channel::<()>();
        let hanging = move || {
            started.send(()).unwrap();
            _ = gate.recv();
            1
        };
        let answers = turns
            .run(vec![job("fine", || 0), job("dead", hanging), job("also fine", || 2)], LIMITS);
        assert_eq!(answers, [Verdict::Done(0), Verdict::Late, Verdict::Done(2)]);
        starts.recv().unwrap();
        for _ in 0..10 {
            let answers = turns
                .run(vec![job("dead", || panic!("a second thread")), job("fine", || 2)], LIMITS);
            assert_eq!(answers, [Verdict::Late, Verdict::Done(2)]);
        }
        release.send(()).unwrap();
        while !lock(&turns.under_way).is_empty() {
            thread::yield_now();
        }
        assert_eq!(turns.run(vec![job("dead", || 5)], LIMITS), [Verdict::Done(5)]);
    }

    #[test]
    fn the_limit_for_all_ends_the_wait() {
        let limits = Limits { each: Duration::from_secs(60), all: Duration::from_millis(50) };
        let (_release, gate) = mpsc::channel::<()>();
        let answers = Turns::default().run(
            vec![
                job("dead", move || {
                    _ = gate.recv();
                    1
                }),
                job("next", || 2),
            ],
            limits,
        );
        assert_eq!(answers, [Verdict::Late, Verdict::Late]);
    }
}
