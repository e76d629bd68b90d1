//! Runs a target with many inputs for some time.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::mutate::Corpus;
use super::{Random, Seeds};
use crate::os::allocations::peak_allocation;

/// Time for generated inputs per target, in seconds.
const SECONDS: f64 = 2.0;
/// The default seed: with the same inputs each time, a failure is caused by a change.
const SEED: u64 = 1;
/// Time limit for one input.
const SLOW: Duration = Duration::from_secs(1);
/// Number of retries for an input that exceeded its time limit: other programs use this host, too.
const AGAIN: u32 = 2;
/// After this time an input counts as a hang, which ends the process.
const HANGS: Duration = Duration::from_secs(60);
/// Maximum memory in use for one input, in bytes.
const MOST_MEMORY: usize = 16 << 20;
/// Generated inputs may exceed the longest known one by this many bytes.
const LONGER: usize = 4 << 10;

/// Searches for input that makes one target fail.
pub(crate) struct FuzzDriver {
    target: &'static str,
    /// Folders with known inputs.
    folders: Vec<PathBuf>,
    words: &'static [&'static [u8]],
    marks: &'static [u8],
    slow: Duration,
    most_memory: usize,
    time: Duration,
    seed: u64,
    /// Folder for inputs that cause a failure.
    artifacts: PathBuf,
}

/// An input that causes a failure.
#[derive(Debug)]
struct Finding {
    what: String,
    /// The file it is in.
    kept: PathBuf,
    input: Vec<u8>,
}

impl FuzzDriver {
    /// A driver that starts from the inputs in `fuzz/seeds/TARGET`.
    pub(crate) fn new(target: &'static str) -> FuzzDriver {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let (seconds, seed): (Option<f64>, _) = (wish("KVM_FUZZ_SECONDS"), wish("KVM_FUZZ_SEED"));
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(SEED, |now| now.as_secs());
        FuzzDriver {
            target,
            folders: vec![Seeds::of(target).folder().to_owned()],
            words: &[],
            marks: &[],
            slow: SLOW,
            most_memory: MOST_MEMORY,
            time: Duration::from_secs_f64(seconds.unwrap_or(SECONDS)),
            seed: seed.unwrap_or_else(|| if seconds.is_some() { now() } else { SEED }),
            artifacts: fuzz.join("artifacts").join(target),
        }
    }

    /// Also uses the files in `folder` of the source tree.
    pub(crate) fn with_inputs_from(mut self, folder: &str) -> FuzzDriver {
        self.folders.push(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder));
        self
    }

    /// Inserts these pieces into inputs.
    pub(crate) fn dictionary(self, words: &'static [&'static [u8]]) -> FuzzDriver {
        FuzzDriver { words, ..self }
    }

    /// Prefers to split inputs before these bytes.
    pub(crate) fn delimiters(self, marks: &'static [u8]) -> FuzzDriver {
        FuzzDriver { marks, ..self }
    }

    /// Allows more time than a second for one input.
    pub(crate) fn time_limit(self, slow: Duration) -> FuzzDriver {
        FuzzDriver { slow, ..self }
    }

    /// Runs the target with all known inputs, and then with generated ones until the time is over.
    ///
    /// # Panics
    ///
    /// If `target` panics, takes too long or too much memory, with the file the input is kept in.
    pub(crate) fn run(self, target: impl Fn(&[u8])) {
        let (name, seed) = (self.target, self.seed);
        match self.search(&target) {
            Ok(tried) => println!("{name}: {tried} inputs, with seed {seed}"),
            Err(Finding { what, kept, .. }) => panic!(
                "{name}: {what}; the input is in {}, and was found with KVM_FUZZ_SEED={seed}. Once that is \
                 mended, put it into fuzz/seeds/{name}",
                kept.display()
            ),
        }
    }

    /// Number of inputs that were run.
    fn search(&self, target: &dyn Fn(&[u8])) -> Result<u64, Finding> {
        let inputs = self.known();
        let longest = inputs.iter().map(Vec::len).max().unwrap_or(0) + LONGER;
        let corpus = Corpus { inputs: &inputs, words: self.words, marks: self.marks, longest };
        let _ = fs::create_dir_all(&self.artifacts);
        // Holds the current input, in case it ends the process.
        let trying = self.artifacts.join(format!("trying-{}", std::process::id()));
        let file = File::create(&trying).ok();
        let tried = AtomicU64::new(0);
        let found = thread::scope(|scope| {
            let (_over, ended) = channel::<()>();
            let (tried, trying) = (&tried, &trying);
            scope.spawn(move || {
                let mut before = u64::MAX;
                while ended.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
                    let now = tried.load(Ordering::Relaxed);
                    if now == before {
                        eprintln!("{}: the input in {} hangs", self.target, trying.display());
                        std::process::abort();
                    }
                    before = now;
                }
            });
            let try_one = |input: &[u8]| {
                tried.fetch_add(1, Ordering::Relaxed);
                if let Some(file) = &file {
                    // If this fails, the input is lost should the process end.
                    let _ = file.set_len(input.len() as u64).and_then(|()| file.write_all_at(input, 0));
                }
                self.check(input, target)
            };
            inputs.iter().try_for_each(|input| try_one(input))?;
            let start = Instant::now();
            let mut random = Random::new(self.seed);
            while start.elapsed() < self.time {
                try_one(&corpus.relative(&mut random))?;
            }
            Ok(())
        });
        let _ = fs::remove_file(&trying);
        let _ = fs::remove_dir(&self.artifacts);
        found.map(|()| tried.into_inner())
    }

    /// The known inputs, in the order of their names.
    fn known(&self) -> Vec<Vec<u8>> {
        let mut paths = Vec::new();
        for folder in &self.folders {
            let files = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
            paths.extend(files.map(|file| file.expect("its entry").path()));
        }
        paths.sort();
        let read = |path: &PathBuf| fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let inputs: Vec<_> = paths.iter().map(read).collect();
        assert!(!inputs.is_empty(), "{}: there is no input to start from", self.target);
        inputs
    }

    fn check(&self, input: &[u8], target: &dyn Fn(&[u8])) -> Result<(), Finding> {
        let mut least = Duration::MAX;
        for _ in 0..=AGAIN {
            let start = Instant::now();
            let (caught, memory) = peak_allocation(|| catch_unwind(AssertUnwindSafe(|| target(input))));
            least = least.min(start.elapsed());
            if let Err(panic) = caught {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("");
                return Err(self.keep(input, format!("it panics: {text}")));
            }
            if memory > self.most_memory {
                return Err(self.keep(input, format!("it takes {memory} bytes of memory")));
            }
            if least <= self.slow {
                return Ok(());
            }
        }
        Err(self.keep(input, format!("it takes {} ms", least.as_millis())))
    }

    fn keep(&self, input: &[u8], what: String) -> Finding {
        let kept = self.artifacts.join(format!("failure-{:016x}", Random::of(input).next()));
        if let Err(error) = fs::write(&kept, input) {
            println!("{}: {error}; the input is {}", kept.display(), input.escape_ascii());
        }
        Finding { what, kept, input: input.to_vec() }
    }
}

/// A setting from the environment.
fn wish<T: FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[cfg(test)]
#[path = "driver_test.rs"]
mod tests;
