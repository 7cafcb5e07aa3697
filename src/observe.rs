//! Logs and metrics: how they start, and the names they go by.
//!
//! Logs go to standard error, one event a line. Secrets cannot be in them, because [`Secret`](crate::secret::Secret)
//! shows nothing; and libraries are held at warnings, because some of them print whole requests when asked for more.

use std::fmt;
use std::io::IsTerminal as _;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level is not one.
    #[error("wanted a log level (error, warn, info, debug or trace), found \"{0}\"")]
    Level(String),
    /// Something logs already.
    #[error("logging was started before in this process")]
    Started,
}

/// The log of this process, whose level can be changed while it runs.
#[derive(Debug)]
pub struct Logs(reload::Handle<Targets, Registered>);

type Registered = tracing_subscriber::Registry;

impl Logs {
    /// From now on events of ours from this level on are written.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        let targets = targets(level)?;
        // An error means that nothing logs any more, so that there is nothing to change.
        let _ = self.0.reload(targets);
        Ok(())
    }
}

fn targets(level: &str) -> Result<Targets, LogError> {
    let level: LevelFilter = level.parse().map_err(|_| LogError::Level(level.to_owned()))?;
    Ok(Targets::new().with_target(OURS, level).with_default(level.min(LevelFilter::WARN)))
}

/// Starts logging to standard error for the whole process, once; `level` is for our own events.
pub fn start_logs(format: LogFormat, level: &str) -> Result<Logs, LogError> {
    let (ours, logs) = reload::Layer::new(targets(level)?);
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match format {
        LogFormat::Text => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().boxed(),
    };
    // Whatever the filter says: no library tells more than a warning.
    let capped = filter_fn(|event| event.target().starts_with(OURS) || *event.level() <= tracing::Level::WARN);
    let layer = layer.with_filter(ours).with_filter(capped);
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| LogError::Started)?;
    Ok(Logs(logs))
}

/// The metrics of one process, in the OpenMetrics text format.
///
/// Every name begins with `portcullis_`; counters end in `_total` and what tells of the build in `_info`, which is added
/// here. Times are in seconds, moments in Unix seconds (`_timestamp_seconds`). Labels are from closed lists or name what
/// the product has (issuers, proxies), never IDs of people: those would grow without bound and tell tales.
pub struct Metrics(Mutex<Registry>);

/// A value that goes up and down and is no whole number, such as seconds.
pub type Fractional = Gauge<f64, AtomicU64>;

impl Metrics {
    /// None yet but which version this is.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix(OURS);
        registry.register("build", "The version of this process", Info::new(vec![("version", VERSION)]));
        Self(Mutex::new(registry))
    }

    /// A counter; `name` without prefix and `_total`, `help` without full stop.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.with(|registry| registry.register(name, help, counter.clone()));
        counter
    }

    /// A counter for each set of labels.
    pub fn counters<L>(&self, name: &str, help: &str) -> Family<L, Counter>
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
    {
        let family = Family::default();
        self.with(|registry| registry.register(name, help, family.clone()));
        family
    }

    /// A value that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.with(|registry| registry.register(name, help, gauge.clone()));
        gauge
    }

    /// A value that goes up and down for each set of labels; `G` is [`Gauge`] or [`Fractional`].
    pub fn gauges<L, G>(&self, name: &str, help: &str) -> Family<L, G>
    where
        L: EncodeLabelSet + Clone + std::hash::Hash + Eq + fmt::Debug + Send + Sync + 'static,
        G: Default + EncodeMetric + TypedMetric + fmt::Debug + Send + Sync + 'static,
    {
        let family = Family::default();
        self.with(|registry| registry.register(name, help, family.clone()));
        family
    }

    /// How long something takes, in seconds: from what a commit takes on a good disk to where somebody complains.
    pub fn durations(&self, name: &str, help: &str) -> Histogram {
        let histogram = Histogram::new(BUCKETS);
        self.with(|registry| registry.register(name, help, histogram.clone()));
        histogram
    }

    /// Everything as text, to be served with [`CONTENT_TYPE`].
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only when a metric's own encoder does; ours do not.
        let _ = self.with(|registry| text::encode(&mut text, registry));
        text
    }

    fn with<T>(&self, act: impl FnOnce(&mut Registry) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The media type of [`Metrics::to_text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OURS: &str = "portcullis";
const VERSION: &str = env!("CARGO_PKG_VERSION");
const BUCKETS: [f64; 12] = [0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_carry_our_prefix_and_their_kind() {
        let metrics = Metrics::new();
        metrics.counter("proxy_cuts", "Connections cut").inc();
        metrics.gauge("proxy_connections", "Connections open").set(3);
        metrics.durations("issuance_duration_seconds", "How long issuing takes").observe(0.02);
        let text = metrics.to_text();
        assert!(text.contains("portcullis_proxy_cuts_total 1"), "{text}");
        assert!(text.contains("portcullis_proxy_connections 3"), "{text}");
        assert!(text.contains(&format!("portcullis_build_info{{version=\"{VERSION}\"}} 1")), "{text}");
        assert!(text.contains("portcullis_issuance_duration_seconds_bucket{le=\"0.025\"} 1"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        assert!(matches!(start_logs(LogFormat::Text, "chatty"), Err(LogError::Level(_))));
    }
}
