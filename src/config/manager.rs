//! What the service manager says in the environment: where it wants to be told how we are, how often it wants to hear
//! that we are alive, and which sockets it has opened for us (sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)).

use std::time::Duration;

/// What the service manager asks for and gives; nothing where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manager {
    /// Where it listens: a path, or a name that begins with `@` (`NOTIFY_SOCKET`).
    pub notify: Option<String>,
    /// After so long without a sign of life it ends us (`WATCHDOG_USEC`).
    pub watchdog: Option<Duration>,
    /// What the sockets are called that it has opened, in their order (`LISTEN_FDNAMES`).
    pub sockets: Vec<String>,
}

impl Manager {
    /// Reads it from the environment; what cannot be read counts as absent.
    pub fn read(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut read = Self::default();
        for (name, value) in environment.into_iter().filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "NOTIFY_SOCKET" => read.notify = Some(value),
                "WATCHDOG_USEC" => read.watchdog = value.parse().ok().map(Duration::from_micros),
                "LISTEN_FDNAMES" => read.sockets = value.split(':').map(str::to_owned).collect(),
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manager_says_is_read_and_the_rest_left() {
        let said =
            [("NOTIFY_SOCKET", "@x"), ("WATCHDOG_USEC", "30000000"), ("LISTEN_FDNAMES", "api:public"), ("A", "b")];
        let read = Manager::read(said.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(read.notify.as_deref(), Some("@x"));
        assert_eq!(read.watchdog, Some(Duration::from_secs(30)));
        assert_eq!(read.sockets, ["api", "public"]);
        assert_eq!(Manager::read([("WATCHDOG_USEC".to_owned(), "soon".to_owned())]), Manager::default());
    }
}
