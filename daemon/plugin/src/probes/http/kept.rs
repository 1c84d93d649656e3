//! Connections that are kept for the next runs. Each holds a descriptor that another check may need: none is kept for long,
//! their number is limited, and all are closed when descriptors run out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::time::Instant;

use super::connection::{Connection, Target};

/// Most servers close connections that were idle for longer.
const MAX_IDLE: Duration = Duration::from_secs(90);

/// Most kept connections, however many descriptors the process may have.
const MAX_KEPT: usize = 1024;

/// Kept connections may hold one in this many of the process's descriptors.
const SHARE: u64 = 4;

/// The kept connections of all checks.
pub(super) struct Kept {
    idle: Duration,
    most: usize,
    pool: Arc<Mutex<Pool>>,
}

#[derive(Default)]
struct Pool {
    connections: HashMap<Target, (Instant, Connection)>,
    /// Whether a task is closing those whose time is over.
    is_watched: bool,
}

impl Default for Kept {
    fn default() -> Self {
        let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
        let share = usize::try_from(descriptors / SHARE).unwrap_or(MAX_KEPT);
        Kept::new(MAX_IDLE, share.clamp(1, MAX_KEPT))
    }
}

impl Kept {
    pub(super) fn new(idle: Duration, most: usize) -> Self {
        Kept { idle, most, pool: Arc::default() }
    }

    /// Takes out a connection that is still usable.
    pub(super) async fn take(&self, target: &Target) -> Option<Connection> {
        let (_, mut connection) = lock(&self.pool).connections.remove(target)?;
        connection.is_idle().await.then_some(connection)
    }

    pub(super) fn put(&self, target: Target, connection: Connection) {
        let mut pool = lock(&self.pool);
        if pool.connections.len() >= self.most {
            pool.drop_oldest();
        }
        pool.connections.insert(target, (Instant::now() + self.idle, connection));
        if !std::mem::replace(&mut pool.is_watched, true) {
            self.watch();
        }
    }

    /// Closes all of them, and returns whether there were any. Their descriptors are free afterwards.
    pub(super) async fn give_back(&self) -> bool {
        let all = std::mem::take(&mut lock(&self.pool).connections);
        let any = !all.is_empty();
        for (_, connection) in all.into_values() {
            connection.end().await;
        }
        any
    }

    fn watch(&self) {
        let pool = Arc::downgrade(&self.pool);
        tokio::spawn(async move {
            while let Some(next) = pool.upgrade().and_then(|pool| lock(&pool).prune()) {
                tokio::time::sleep_until(next).await;
            }
        });
    }
}

impl Pool {
    fn drop_oldest(&mut self) {
        let oldest = self.connections.iter().min_by_key(|(_, (end, _))| *end).map(|(target, _)| target.clone());
        oldest.and_then(|target| self.connections.remove(&target));
    }

    /// Closes those whose time is over. Returns when the next one's is; `None` if none is left, which ends the watching.
    fn prune(&mut self) -> Option<Instant> {
        let now = Instant::now();
        self.connections.retain(|_, (end, _)| *end > now);
        let next = self.connections.values().map(|(end, _)| *end).min();
        self.is_watched = next.is_some();
        next
    }
}

fn lock(pool: &Mutex<Pool>) -> MutexGuard<'_, Pool> {
    pool.lock().unwrap_or_else(PoisonError::into_inner)
}
