//! The running service: it opens the store, listens, and stops in good order.

mod connection;
mod connections;
mod door;
pub(crate) mod tls;
mod upload;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_wire::ALPN;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use self::connection::{Bounds, Shared};
use self::connections::Connections;
use self::door::{Arrival, Door, Turn};
use self::upload::Room;
use crate::authority::shown;
use crate::clock;
use crate::config::{Config, StoreKind};
use crate::engine::{Engine, Hsms, Parts, Reply};
use crate::files::FileError;
use crate::id::Id;
use crate::master::{self, MasterKeyError};
use crate::signer::Signer;
use crate::state::State;
use crate::store::etcd::Etcd;
use crate::store::redb::{OpenError, Redb};
use crate::store::vault::{FORMAT, Secret, Vault};
use crate::store::{Snapshot, Store, StoreError, Update, Watcher, paths};
use crate::workers::Workers;

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A file of the configuration cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not, and what to do.
        reason: String,
    },
    /// Another service has the store open.
    #[error("the store {0} is in use by another process; stop that service first")]
    StoreInUse(PathBuf),
    /// The store is not there or cannot be read.
    #[error("cannot open the store {store}: {reason}")]
    Store {
        /// The store's file, or where in etcd it is.
        store: String,
        /// What went wrong.
        reason: String,
    },
    /// A later version wrote the store.
    #[error(
        "the store {store} has format {found}, and this version knows formats up to {FORMAT}; use the version of Keyward that wrote it, or a newer one"
    )]
    StoreTooNew {
        /// The store's file, or where in etcd it is.
        store: String,
        /// The format it has.
        found: String,
    },
    /// The master key does not open the store.
    #[error(
        "the master key {master_key} is not the one of the store {store}; put the right key file in its place"
    )]
    WrongMasterKey {
        /// The key's file, or the name of its credential.
        master_key: PathBuf,
        /// The store's file, or where in etcd it is.
        store: String,
    },
    /// The master key is not to be had.
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    /// It was told to stop before it had opened the store.
    #[error("told to stop while it waited for {0}")]
    Stopped(String),
    /// The system refused a thread or a signal handler.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Runs a service until SIGTERM or SIGINT; what is under way then is finished.
/// `ready` is called once connections are accepted, with the address.
///
/// # Errors
/// [`ServeError`] if it cannot start.
pub fn run(config: Config, ready: impl FnOnce(SocketAddr) + Send) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("keyward-net")
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve(config, ready, shutdown).await
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// Runs a service until `shutdown` ends; what is under way then is finished,
/// for as long as the configuration allows. `ready` is called once connections
/// are accepted, with the address. Runs inside a tokio runtime.
///
/// # Errors
/// [`ServeError`] if it cannot start.
pub async fn serve(
    config: Config,
    ready: impl FnOnce(SocketAddr) + Send,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (tls, signer) = tls::config(&config)?;
    let tls = TlsAcceptor::from(Arc::new(tls));
    let connections = Arc::new(Connections::default());
    let mut shutdown = std::pin::pin!(shutdown);
    let mut hsms = Hsms::start(&config);
    let sealed_by = config.master_key.seal.as_ref().map(|seal| seal.hsm.as_str());
    let master = tokio::select! {
        biased;
        master = master_key(&config, &mut hsms) => master?,
        () = &mut shutdown => {
            let name = sealed_by.unwrap_or_default();
            return Err(ServeError::Stopped(format!("the HSM {name:?}")));
        }
    };
    let opening = open(&config, &master, hsms, &connections, signer);
    let (engine, store) = match config.store {
        // A file is open or not in a moment.
        StoreKind::Redb => opening.await?,
        StoreKind::Etcd => tokio::select! {
            opened = opening => opened?,
            () = &mut shutdown => {
                return Err(ServeError::Stopped(format!("the store {}", config.store_name())));
            }
        },
    };
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| listen_error(config.listen, &error))?;
    let address = listener.local_addr()?;
    let (drain, draining) = watch::channel(false);
    let service = Arc::new(Service {
        tls,
        engine: Arc::clone(&engine),
        connections,
        bounds: Bounds {
            requests: config.limits.requests_per_connection.min(Semaphore::MAX_PERMITS),
            idle: config.deadlines.idle(),
            write: config.deadlines.write(),
            bytes: config.limits.request_kib_per_connection.saturating_mul(1024),
        },
        memory: Semaphore::new(
            config.limits.request_mib.saturating_mul(1024).min(Semaphore::MAX_PERMITS),
        ),
        room: Room::new(config.limits.input_mib.saturating_mul(1 << 20)),
        handshake: config.deadlines.handshake(),
        door: Door::new(config.limits.handshakes),
        places: Semaphore::new(config.limits.connections.min(Semaphore::MAX_PERMITS)),
        draining,
    });
    tracing::info!(%address, store = store.name(), "the service accepts connections");
    ready(address);

    let mut tasks = JoinSet::new();
    tokio::select! {
        () = &mut shutdown => {}
        () = service.accept(&listener, &mut tasks) => {}
        () = sweep(&engine) => {}
    }
    drop(listener);
    tracing::info!("the service stops; what is under way is finished");
    // The service holds a receiver, so there is somebody to tell.
    let _ = drain.send(true);
    let drained =
        timeout(config.deadlines.drain(), async { while tasks.join_next().await.is_some() {} });
    if drained.await.is_err() {
        tracing::warn!(connections = tasks.len(), "some connections did not end in time");
        tasks.shutdown().await;
    }
    drop(service);
    // Both wait for threads.
    tokio::task::spawn_blocking(move || {
        drop(engine);
        store.close();
    })
    .await
    .map_err(io::Error::other)?;
    tracing::info!("the service has stopped");
    Ok(())
}

/// What every connection shares.
struct Service {
    tls: TlsAcceptor,
    engine: Arc<Engine>,
    connections: Arc<Connections>,
    bounds: Bounds,
    handshake: Duration,
    /// For connections that have not said yet who they are.
    door: Arc<Door>,
    /// For those that have.
    places: Semaphore,
    /// KiB, for requests that are long.
    memory: Semaphore,
    /// For inputs that are longer than a frame.
    room: Room,
    draining: watch::Receiver<bool>,
}

impl Service {
    /// Accepts connections. Does not return.
    ///
    /// Who has not shown a certificate yet takes no place of those who have.
    async fn accept(self: &Arc<Self>, listener: &TcpListener, tasks: &mut JoinSet<()>) {
        loop {
            while tasks.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let service = Arc::clone(self);
                    let number = self.connections.accept();
                    // Here, in the order in which they come.
                    let arrival = self.door.arrive(peer.ip(), number);
                    tasks.spawn(async move {
                        service.connection(stream, peer, number, arrival).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, number: u64, arrival: Arrival) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "no TCP_NODELAY");
        }
        let Some(turn) = self.turn(&stream, peer, arrival).await else { return };
        let shaken = tokio::select! {
            shaken = timeout(self.handshake, self.tls.accept(stream)) => shaken,
            () = turn.closed() => {
                tracing::info!(%peer, "a handshake gave way to another address, which has fewer");
                return;
            }
        };
        let stream = match shaken {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::info!(%peer, %error, "a handshake failed");
                return;
            }
            Err(_) => {
                tracing::info!(%peer, "a handshake took too long");
                return;
            }
        };
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN) {
            tracing::info!(%peer, "a client without the protocol keyward/1");
            return;
        }
        // A resumed session has the certificate of the first one, which may
        // have expired since.
        let shown = session
            .peer_certificates()
            .and_then(<[_]>::first)
            .and_then(shown)
            .filter(|shown| shown.expires > clock::seconds());
        let Some(shown) = shown else {
            tracing::info!(%peer, "a certificate that names no identity, or has expired");
            return;
        };
        // Entered first: a revocation from here on closes the connection.
        let entry = self.connections.enter(&shown, number);
        let identity = match self.engine.admit_up_to_date(&shown).await {
            Ok(identity) => identity,
            Err(error) => {
                let reason = error.message.as_ref();
                tracing::warn!(%peer, identity = %shown.uid, reason, "not admitted");
                connection::refuse(stream, Reply::refused(&error), self.bounds).await;
                return;
            }
        };
        let Some(_place) = self.place(shown.uid).await else {
            tracing::warn!(%peer, identity = %identity.record.name, "no place for a connection");
            connection::refuse(stream, Reply::full(), self.bounds).await;
            return;
        };
        drop(turn);
        tracing::debug!(%peer, identity = %identity.record.name, "connected");
        let draining = self.draining.clone();
        let shared = Shared { engine: &self.engine, memory: &self.memory, room: &self.room };
        connection::serve(stream, shared, shown.uid, &entry, self.bounds, draining).await;
    }
}

impl Service {
    /// A peer's turn to shake hands, once it has said something.
    async fn turn(&self, stream: &TcpStream, peer: SocketAddr, arrival: Arrival) -> Option<Turn> {
        let waits = async {
            // Not `readable`, which may hold of one that has said nothing.
            let said = timeout(self.handshake, stream.peek(&mut [0])).await.ok()?.ok()?;
            if said == 0 {
                return None;
            }
            timeout(self.handshake, arrival.turn()).await.ok()?
        };
        let turn = tokio::select! {
            turn = waits => turn,
            () = arrival.closed() => None,
        };
        if turn.is_none() {
            tracing::info!(%peer, "a peer that waited to shake hands was let go");
        }
        turn
    }

    /// A place for a connection. When there is none, whoever has most gives one
    /// up, so that nobody keeps others out.
    async fn place(&self, identity: Id) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.places.try_acquire() {
            return Some(place);
        }
        if !self.connections.make_room(identity) {
            return None;
        }
        timeout(LEAVING, self.places.acquire()).await.ok()?.ok()
    }
}

/// For a connection that is told to close.
const LEAVING: Duration = Duration::from_secs(1);

/// Reads the master key; waits for the HSM that seals it, if one does.
async fn master_key(config: &Config, hsms: &mut Hsms) -> Result<Secret, MasterKeyError> {
    let sealed_by = config.master_key.seal.as_ref().and_then(|seal| hsms.get(&seal.hsm));
    let opened = master::of_service(&config.master_key, sealed_by.map(|hsm| &**hsm)).await;
    let (master, key) = opened?;
    hsms.keep_apart(key);
    Ok(master)
}

/// Opens the store and builds what stands on it.
async fn open(
    config: &Config,
    master: &Secret,
    hsms: Hsms,
    connections: &Arc<Connections>,
    signer: Signer,
) -> Result<(Arc<Engine>, Arc<dyn Store>), ServeError> {
    let failed = |reason: String| ServeError::Store { store: config.store_name(), reason };
    let store = connect(config).await?;
    let snapshot = read(config, &*store).await?;
    let vault = Arc::new(unlock(config, master, &snapshot)?);
    let sequence = snapshot.sequence;
    let state =
        State::load(Arc::clone(&vault), snapshot).map_err(|error| failed(error.to_string()))?;
    let state = Arc::new(state);
    store.watch(watcher(&state, connections), sequence);
    let workers = Workers::start(config.limits.workers, config.limits.queue)?;
    let parts = Parts {
        store: Arc::clone(&store),
        vault,
        state,
        workers,
        connected: Arc::clone(connections) as Arc<dyn crate::engine::Connected>,
        signer,
        hsms,
    };
    Ok((Arc::new(Engine::new(parts, config)), store))
}

/// The store that the configuration names.
pub(crate) async fn connect(config: &Config) -> Result<Arc<dyn Store>, ServeError> {
    if let (StoreKind::Etcd, Some(etcd)) = (config.store, &config.etcd) {
        return Ok(Arc::new(Etcd::new(etcd)?));
    }
    let path = config.data.clone();
    let opened = tokio::task::spawn_blocking(move || Redb::open(&path)).await;
    match opened.map_err(io::Error::other)? {
        Ok(store) => Ok(Arc::new(store)),
        Err(OpenError::InUse) => Err(ServeError::StoreInUse(config.data.clone())),
        Err(OpenError::Failed(reason)) => {
            Err(ServeError::Store { store: config.store_name(), reason })
        }
    }
}

/// Reads the whole store; waits for one that is away, as long as the
/// configuration says.
pub(crate) async fn read(config: &Config, store: &dyn Store) -> Result<Snapshot, ServeError> {
    let failed = |reason: String| ServeError::Store { store: config.store_name(), reason };
    let patience = config.etcd.as_ref().map_or(Duration::ZERO, crate::config::Etcd::start);
    let started = Instant::now();
    loop {
        match store.snapshot("").await {
            Ok(snapshot) => return Ok(snapshot),
            Err(StoreError::Unavailable(reason)) if started.elapsed() < patience => {
                let left = patience.saturating_sub(started.elapsed()).as_secs();
                tracing::warn!(reason, "the store is away; waiting for it, {left} s more");
                sleep(AWAY).await;
            }
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}

/// What opens the store's values, by what the store says of itself.
pub(crate) fn unlock(
    config: &Config,
    master: &Secret,
    snapshot: &Snapshot,
) -> Result<Vault, ServeError> {
    let failed = |reason: String| ServeError::Store { store: config.store_name(), reason };
    let meta = |key: &str| match snapshot.value(key) {
        Some(found) => Ok(found),
        None if snapshot.value(paths::LOADING_KEY).is_some() => {
            Err(failed(paths::HALF_WRITTEN.to_owned()))
        }
        None => Err(failed(format!("it is no Keyward store: {key} is missing"))),
    };
    let format = String::from_utf8_lossy(meta(paths::FORMAT_KEY)?).into_owned();
    if format.parse::<u32>().is_ok_and(|found| found > FORMAT) {
        return Err(ServeError::StoreTooNew { store: config.store_name(), found: format });
    }
    if format != FORMAT.to_string() {
        return Err(failed(format!("its format is {format:?}, which never was one")));
    }
    meta(paths::INCARNATION_KEY)?;
    let wrapped = meta(paths::DATA_KEY_KEY)?;
    Vault::open(master, wrapped).map_err(|_| ServeError::WrongMasterKey {
        master_key: config.master_key.name().to_owned(),
        store: config.store_name(),
    })
}

/// Keeps the state right, and ends the connections of whoever may not connect
/// any more.
fn watcher(state: &Arc<State>, connections: &Arc<Connections>) -> Watcher {
    let state = Arc::clone(state);
    let connections = Arc::clone(connections);
    Arc::new(move |update| {
        let changed = match update {
            Update::Commit(commit) => state.apply(commit),
            Update::Everything(snapshot) => match state.replace(snapshot) {
                Ok(()) => state.identities().iter().map(|identity| identity.uid).collect(),
                Err(error) => {
                    tracing::error!(%error, "the store cannot be read again; the old state stays");
                    return;
                }
            },
        };
        for uid in changed {
            if let Some(identity) = state.identity(uid) {
                connections.close(uid, |serial| identity.record.accepts(serial));
            }
        }
    })
}

/// As [`open`], for the tests of what stands on it.
#[cfg(test)]
pub(crate) async fn open_for_tests(config: &Config) -> (Arc<Engine>, Arc<dyn Store>) {
    let (_, signer) = tls::config(config).unwrap();
    let mut hsms = Hsms::start(config);
    let master = master_key(config, &mut hsms).await.unwrap();
    open(config, &master, hsms, &Arc::new(Connections::default()), signer).await.unwrap()
}

/// Has old operations forgotten from time to time. Does not return.
async fn sweep(engine: &Engine) {
    // Replicas that started together need not sweep together.
    let apart = u64::from(keyward_crypto::random::bytes::<1>()[0]) * 40;
    let mut ticks = interval(Duration::from_millis(30_000 + apart));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        engine.sweep().await;
    }
}

/// Between two looks for a store that is away.
const AWAY: Duration = Duration::from_secs(2);

fn listen_error(address: SocketAddr, error: &io::Error) -> ServeError {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "address in use; stop what listens there or set another `listen`".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; set another `listen`".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => error.to_string(),
    };
    ServeError::Listen { address, reason }
}
