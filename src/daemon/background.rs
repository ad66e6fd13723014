//! A thread for what takes longer than packets may wait. It is there from the start, for a worker may start no other.
//!
//! Never decides what it does.

use std::io;
use std::sync::mpsc::{Sender, channel};

type Job = Box<dyn FnOnce() + Send>;

/// The thread; it ends with this, after what it has been given.
pub(super) struct Background(Sender<Job>);

impl Background {
    /// Starts it, on the processors that the caller may run on now.
    pub(super) fn start() -> io::Result<Background> {
        let (jobs, inbox) = channel::<Job>();
        std::thread::Builder::new().name("background".into()).spawn(move || inbox.into_iter().for_each(|job| job()))?;
        Ok(Background(jobs))
    }

    /// Has it do something; false if a job before has ended it.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.0.send(Box::new(job)).is_ok()
    }
}
