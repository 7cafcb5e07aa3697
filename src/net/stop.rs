//! How a running server is told to stop.

use tokio::sync::watch;

/// Says stop, once and for all, to every [`Stop`] made with it; dropping it says so too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Learns when to stop; cheap to clone.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

/// A pair of the one who says stop and the one who listens.
pub fn channel() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Tells everyone; saying it again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// One more listener.
    pub fn listener(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Stop {
    /// Resolves once stop was said; at once when it already was.
    pub async fn stopped(&mut self) {
        // An error means that the stopper is gone, which is the same word.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether stop was said.
    pub fn is_stopped(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everyone_hears_the_word_and_latecomers_too() {
        let (stopper, mut early) = channel();
        assert!(!early.is_stopped());
        stopper.stop();
        early.stopped().await;
        stopper.listener().stopped().await;
    }

    #[tokio::test]
    async fn a_stopper_that_is_gone_has_said_stop() {
        let (stopper, mut stop) = channel();
        drop(stopper);
        stop.stopped().await;
        assert!(stop.is_stopped());
    }
}
