//! Places, bodies and time of those who are not known.

use super::Served;
use super::client::Client;
use super::world::{HOST, World};
use crate::app::FEED_PATH;
use crate::clock;
use crate::store::{self, Host, HostKey, StoreError};
use std::future::Future;
use std::time::{Duration, Instant};
use tether_oauth::ProofRequest;
use tether_oauth::issue::PrivateKey;

/// Longer than central has patience, on a busy machine too.
const LONG: Duration = Duration::from_secs(60);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("central waits for ever")
}

#[test]
fn a_connection_that_asks_for_nothing_loses_its_place() {
    let served = Served::with(|settings| settings.limits.connections_per_address = 2);
    served.runtime.block_on(async {
        let mut silent = served.client("127.0.0.2").await.unwrap();
        let mut rested = served.client("127.0.0.2").await.unwrap();
        assert_eq!(rested.ask("GET", "/healthz").await.unwrap().status, 200);
        assert!(served.client("127.0.0.2").await.is_err(), "both places are taken");
        assert!(soon(silent.line()).await.is_err(), "closed");
        assert!(soon(rested.line()).await.is_err(), "closed");
        soon(async { while served.client("127.0.0.2").await.is_err() {} }).await;
    });
}

/// The control: a feed is one long answer, and goes on for longer than a connection may rest.
#[test]
fn a_feed_keeps_its_place() {
    let served = Served::with(|settings| settings.feed.head_seconds = 1);
    let key = PrivateKey::from_seed(&[9; 32]).unwrap();
    enrolled(&served, &key);
    served.runtime.block_on(async {
        let mut feed = served.client("127.0.0.2").await.unwrap();
        let begun = Instant::now();
        feed.send(&feed_request(&served, &key)).await.unwrap();
        assert!(soon(feed.line()).await.unwrap().contains("200"));
        let (mut heads, mut statements) = (0, 0);
        while begun.elapsed() < Duration::from_secs(13) {
            let line = soon(feed.line()).await.unwrap();
            heads += usize::from(line == "event: head");
            statements += usize::from(line == "event: statement");
        }
        assert!(heads > 5 && statements == 0, "{heads} heads");
    });
}

fn enrolled(served: &Served, key: &PrivateKey) {
    let host = Host {
        id: HOST.parse().unwrap(),
        address: None,
        labels: std::collections::BTreeSet::new(),
        key: Some(HostKey { jkt: key.thumbprint() }),
        active: true,
        enrolled_at: 1,
        revoked_at: 0,
    };
    store::act(served.app.store_for_tests(), |act| -> Result<(), StoreError> { act.put_host(&host) }).unwrap();
}

fn feed_request(served: &Served, key: &PrivateKey) -> String {
    let now = clock::now();
    let url = format!("{}{FEED_PATH}", served.app.settings.url);
    let request = ProofRequest { method: "GET", url: &url, access_token: None };
    let jti = tether_centrallink::random::name(16).unwrap();
    let proof = key.proof(request, Some(&served.app.nonces.make(now)), &jti, now);
    format!("GET {FEED_PATH}?after=0 HTTP/1.1\r\nHost: central\r\nDPoP: {proof}\r\n\r\n")
}

async fn begun(served: &Served, path: &str, length: usize, body: &str) -> Client {
    let mut client = served.client("127.0.0.2").await.unwrap();
    let kind = "application/x-www-form-urlencoded";
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: central\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    client.send(&head).await.unwrap();
    client
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let served = Served::with(|_| {});
    served.runtime.block_on(async {
        let mut slow = begun(&served, "/oauth/token", 100, "grant_type=").await;
        let answer = soon(slow.answer()).await.unwrap();
        assert_eq!((answer.status, answer.body["tether_code"].as_str()), (408, Some("request.slow")));
        // The control: the same, whole.
        let mut whole = begun(&served, "/oauth/token", 11, "grant_type=").await;
        assert_eq!(soon(whole.answer()).await.unwrap().body["tether_code"], "proof.none");
    });
}

#[test]
fn a_long_body_is_read_of_admins_only() {
    let served = Served::with(|_| {});
    served.runtime.block_on(async {
        // Not a byte of it has come, and they are told already that they are nobody.
        let mut nobody = begun(&served, "/v1/admin/bundles", 9_000_000, "").await;
        let answer = soon(nobody.answer()).await.unwrap();
        assert_eq!((answer.status, answer.body["tether_code"].as_str()), (401, Some("admin.none")));
        let mut long = begun(&served, "/oauth/token", 70_000, "").await;
        let answer = soon(long.answer()).await.unwrap();
        assert_eq!((answer.status, answer.body["tether_code"].as_str()), (413, Some("request.too_long")));
    });
    // The control: an admin's long body is read, and refused for what it says.
    let world = World::new();
    let bearer = format!("Bearer {}", world.admin_token(&world.claims("carol@example.org", &["admins"], 0)));
    let body = serde_json::json!({"text": "x".repeat(100_000)}).to_string();
    let got = world.ask("POST", "/v1/admin/bundles", &[("authorization", &bearer)], Some(body.as_bytes()));
    assert_eq!((got.status, got.body["tether_code"].as_str()), (400, Some("bundle.refused")), "{got:?}");
}
