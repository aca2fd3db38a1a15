//! What an agent writes, collected line by line while it runs.

use std::io::{BufRead, BufReader, PipeReader};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// The lines so far, of all starts of one agent. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Log {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    open_pipes: usize,
}

impl Log {
    /// Collects from `pipe`, in a thread of its own, until its last writer has closed it.
    pub(crate) fn collect(&self, pipe: PipeReader) {
        self.state().open_pipes += 1;
        let log = self.clone();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                log.change(|state| state.lines.push(text));
                line.clear();
            }
            log.change(|state| state.open_pipes -= 1);
        });
    }

    /// How many lines there are: a mark for [`Log::wait_for`].
    pub(crate) fn len(&self) -> usize {
        self.state().lines.len()
    }

    /// The lines as one text.
    pub(crate) fn text(&self) -> String {
        self.state().lines.join("\n")
    }

    /// The first line from number `from` on that `wanted` accepts. Waits for it, until `deadline`
    /// has passed or nobody can write any more.
    pub(crate) fn wait_for(
        &self,
        from: usize,
        deadline: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let find = |state: &State| state.lines.iter().skip(from).find(|line| wanted(line)).cloned();
        self.wait(deadline, |state| find(state).is_some() || state.open_pipes == 0);
        find(&self.state())
    }

    /// Waits until nobody can write any more; false when `deadline` has passed before.
    pub(crate) fn wait_for_end(&self, deadline: Duration) -> bool {
        self.wait(deadline, |state| state.open_pipes == 0)
    }

    fn wait(&self, deadline: Duration, done: impl Fn(&State) -> bool) -> bool {
        let end = Instant::now() + deadline;
        let mut state = self.state();
        while !done(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.1.wait_timeout(state, left).expect("no reader panics").0;
        }
        true
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.shared.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no reader panics")
    }
}
