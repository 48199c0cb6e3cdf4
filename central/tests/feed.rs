//! What central sends reaches a courier at once, however events fall together.
#![allow(missing_docs, clippy::unwrap_used)]

use axum::body::{Body, Bytes};
use axum::response::IntoResponse;
use axum::{Extension, Router, routing::get};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tether_centrallink::{Caller, Central};
use tokio::sync::mpsc;

type Feeds = Arc<Mutex<Option<mpsc::Receiver<Bytes>>>>;

async fn feed(Extension(feeds): Extension<Feeds>) -> impl IntoResponse {
    let body = feeds.lock().unwrap().take().unwrap();
    Body::from_stream(futures_util::stream::unfold(body, |mut body| async {
        body.recv().await.map(|event| (Ok::<_, Infallible>(event), body))
    }))
}

#[test]
fn events_come_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(folder.path().join("chain.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let tls = tether_central::http::tls(&folder.path().join("chain.pem"), &folder.path().join("key.pem")).unwrap();

    let (events, body) = mpsc::channel::<Bytes>(16);
    let feeds: Feeds = Arc::new(Mutex::new(Some(body)));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().route("/feed", get(feed)).layer(Extension(feeds));
    runtime.spawn(async move { tether_central::http::serve(listener, tls, router).await });

    let central = Central::new(&format!("https://localhost:{port}"), certificate.pem().as_bytes()).unwrap();
    let key = tether_oauth::issue::PrivateKey::from_seed(&[7; 32]).unwrap();
    let mut stream = central.events("/feed", Caller { key: &key, token: None }, Duration::from_secs(5)).unwrap();
    let begun = Instant::now();
    let mut sizes = (0..2000u64).map(|n| (n.wrapping_mul(2654435761) >> 7) as usize % 3000).collect::<Vec<_>>();
    sizes.push(1);
    let all = sizes.clone();
    let sender = std::thread::spawn(move || {
        for (number, size) in all.iter().enumerate() {
            let data = "x".repeat(*size);
            let at = begun.elapsed().as_micros();
            events.blocking_send(format!("event: a\nid: {at}\ndata: {data}\n\n").into()).unwrap();
            if number % 3 == 0 {
                std::thread::sleep(Duration::from_micros(*size as u64));
            }
        }
    });
    let mut worst = 0;
    for size in sizes {
        let event = stream.next_event().unwrap().unwrap();
        assert_eq!(event.data.len(), size);
        worst = worst.max(begun.elapsed().as_micros() - event.id.parse::<u128>().unwrap());
    }
    sender.join().unwrap();
    eprintln!("worst {worst} us");
    assert!(worst < 1_000_000);
}
