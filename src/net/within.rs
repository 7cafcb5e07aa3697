//! Tasks that run inside the future of their owner.
//!
//! HTTP/2 needs a task for each stream. Run here, they are polled where their connection is: whoever drops the
//! connection has ended them all, with nothing left to join, and while the owner does something else none of them runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, Stream as _};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes tasks; cheap to clone.
#[derive(Clone, Default)]
pub struct Within {
    begun: Arc<Mutex<Vec<Task>>>,
}

/// Runs what its [`Within`] took; dropping it ends them.
pub struct Tasks {
    within: Within,
    running: FuturesUnordered<Task>,
}

impl Within {
    /// The one who runs the tasks that this takes.
    pub fn tasks(&self) -> Tasks {
        Tasks { within: self.clone(), running: FuturesUnordered::new() }
    }

    fn take(&self) -> Vec<Task> {
        std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Within {
    fn execute(&self, task: F) {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

impl Tasks {
    /// Whether tasks were taken since the last [`Tasks::poll`].
    pub fn has_new(&self) -> bool {
        !self.within.begun.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Lets every task that can do so make progress; ready when none is left.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.running.extend(self.within.take());
            match Pin::new(&mut self.running).poll_next(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) if self.has_new() => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if self.has_new() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl std::fmt::Debug for Within {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Within").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tasks").field("running", &self.running.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Executor as _;

    #[tokio::test]
    async fn tasks_run_with_their_owner_and_end_with_it() {
        let within = Within::default();
        let mut tasks = within.tasks();
        let (told, mut hears) = tokio::sync::mpsc::unbounded_channel();
        let (inner, tell) = (within.clone(), told.clone());
        within.execute(async move {
            tokio::task::yield_now().await;
            inner.execute(async move { tell.send("from a task of a task").unwrap() });
        });
        std::future::poll_fn(|cx| tasks.poll(cx)).await;
        assert_eq!(hears.recv().await, Some("from a task of a task"));
        within.execute(async move {
            let _held = told;
            std::future::pending::<()>().await;
        });
        std::future::poll_fn(|cx| Poll::Ready(tasks.poll(cx))).await.is_pending().then_some(()).unwrap();
        drop(tasks);
        assert_eq!(hears.recv().await, None, "what a task held is gone with its owner");
    }
}
