//! Central as it runs, over TLS; where it needs a provider, one that a test speaks for: it signs whatever a test wants.
//! The real provider stands in `tests/`.

mod admin;
mod attacks;
mod audit;
mod bounds;
mod client;
mod cut;
mod drain;
mod dying;
mod floods;
mod mark;
mod openapi;
mod recordings;
mod reload;
mod rotation;
mod scim;
mod signals;
mod strangers;
pub(crate) mod world;

use crate::app::{App, Parts};
use crate::command::{Init, init};
use crate::config::Settings;
use crate::keys::{self, Keys};
use crate::rules::Rules;
use crate::store::{self, Sqlite, StoreError};
use crate::{http, tests::client::Client};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use tether_audit::Link;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// A central that serves until it is dropped.
struct Served {
    folder: tempfile::TempDir,
    app: Arc<App>,
    address: SocketAddr,
    runtime: Runtime,
    serving: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// A new folder, as an admin makes it.
fn made(address: SocketAddr) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("https://{address}");
    let new = Init { url, listen: address, namespaces: vec!["@example.org".to_owned()] };
    init::run(folder.path(), &new).unwrap();
    folder
}

fn open(folder: &Path, change: impl FnOnce(&mut Settings)) -> Arc<App> {
    let mut settings = Settings::load(folder).unwrap();
    change(&mut settings);
    let parts = Parts {
        keys: Keys::load(&folder.join(keys::FOLDER)).unwrap(),
        rules: Rules::read(folder, &settings).unwrap(),
        store: Arc::new(Sqlite::open(&folder.join("central.db")).unwrap()),
        shelf: crate::shelf::Shelf::new(folder.join(crate::shelf::FOLDER)),
        authority: String::new(),
        settings,
    };
    Arc::new(App::new(parts).unwrap())
}

impl Served {
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let folder = made(address);
        let app = open(folder.path(), change);
        let tls = http::tls(&folder.path().join("tls/chain.pem"), &folder.path().join("tls/key.pem")).unwrap();
        let (router, stop) = (http::router(Arc::clone(&app)), app.hub.stop.subscribe());
        let per_address = app.settings.limits.connections_per_address;
        let serving = runtime.spawn(http::serve_until(listener, tls, router, per_address, stop));
        Self { folder, app, address, runtime, serving }
    }

    /// A connection from an address of the loopback network.
    async fn client(&self, from: &str) -> std::io::Result<Client> {
        let authority = self.folder.path().join("tls/authority.pem");
        Client::connect(self.address, from.parse::<IpAddr>().unwrap(), &authority).await
    }

    fn trail(&self) -> Vec<Link> {
        trail(self.folder.path())
    }
}

/// The audit records of a folder; the chain was checked.
fn trail(folder: &Path) -> Vec<Link> {
    let store = Sqlite::open_to_read(&folder.join("central.db")).unwrap();
    let lines: Result<Vec<String>, StoreError> = store::look(&store, |act| act.audit(0, usize::MAX));
    let mut links = Vec::new();
    tether_audit::verify(lines.unwrap().iter().map(String::as_str), |link| links.push(link.clone())).unwrap();
    links
}
