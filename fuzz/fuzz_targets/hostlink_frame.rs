#![no_main]

use libfuzzer_sys::fuzz_target;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;
use tether_hostlink::{Connection, Deadline, Reply, Request};

/// The listener is kept for the whole run, with the folder that its socket lies in.
static LISTENER: LazyLock<(tempfile::TempDir, PathBuf, UnixListener)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    (folder, path, listener)
});

fn question(frame: &[u8]) -> Option<Request> {
    let (_, path, listener) = &*LISTENER;
    let mut client = UnixStream::connect(path).unwrap();
    let connection = Connection::accept(listener).unwrap();
    // More than the socket holds would wait for a reader that is this same thread.
    client.set_nonblocking(true).unwrap();
    let _ = client.write_all(frame);
    drop(client);
    connection.question(Deadline::after(Duration::from_millis(100))).ok()
}

fn frame(request: &Request) -> Vec<u8> {
    let body = serde_json::to_vec(request).unwrap();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[tether_hostlink::VERSION][..], &length, &body].concat()
}

fuzz_target!(|data: &[u8]| {
    if let Some(request) = question(data) {
        let again = frame(&request);
        if again.len() <= tether_hostlink::FRAME_MAX {
            assert_eq!(question(&again), Some(request));
        }
    }
    if let Ok(reply) = serde_json::from_slice::<Reply>(data) {
        let text = serde_json::to_vec(&reply).unwrap();
        assert_eq!(serde_json::from_slice::<Reply>(&text).unwrap(), reply);
    }
});
