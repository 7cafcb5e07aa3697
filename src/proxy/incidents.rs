//! What belongs on the authority's record: told when it is followed, kept in bounds until then.

use tokio::sync::mpsc;

use crate::status::frames::Incident;

/// Where incidents are reported; those that find no room are in the log alone.
#[derive(Clone, Debug, Default)]
pub struct Incidents(Option<mpsc::Sender<Incident>>);

impl Incidents {
    /// A way for incidents, and where they come out.
    pub fn channel() -> (Self, mpsc::Receiver<Incident>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (Self(Some(sender)), receiver)
    }

    pub(super) fn report(&self, incident: Incident) {
        if let Some(sender) = &self.0
            && sender.try_send(incident).is_err()
        {
            tracing::warn!("too many incidents wait for the authority: one is in this log alone");
        }
    }
}

const MOST_WAITING: usize = 256;
