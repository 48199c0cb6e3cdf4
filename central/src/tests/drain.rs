//! Told to stop, central lets nobody new in and ends what was begun.

use super::Served;

#[test]
fn a_connection_that_rests_is_closed_and_nobody_new_is_let_in() {
    let served = Served::with(|_| {});
    let runtime = &served.runtime;
    let mut client = runtime.block_on(served.client("127.0.0.1")).unwrap();
    assert_eq!(runtime.block_on(client.ask("GET", "/healthz")).unwrap().status, 200);
    served.app.hub.stop.send_replace(true);
    runtime.block_on(async {
        // A request that crosses the word is answered, and then the connection is closed.
        while client.ask("GET", "/healthz").await.is_ok() {}
        // Long before the limit on draining, which is there for those who do not read their answers.
        while served.client("127.0.0.1").await.is_ok() {}
    });
    let Served { serving, runtime, .. } = served;
    runtime.block_on(serving).unwrap().unwrap();
}

#[test]
fn what_was_begun_is_finished() {
    let served = Served::with(|_| {});
    let runtime = &served.runtime;
    let mut client = runtime.block_on(served.client("127.0.0.1")).unwrap();
    assert_eq!(runtime.block_on(client.ask("GET", "/jwks")).unwrap().status, 200);
    // The store is held, so the request waits in the middle of its act until it is let go.
    let (held, hold) = std::sync::mpsc::channel();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let app = std::sync::Arc::clone(&served.app);
    let holder = std::thread::spawn(move || {
        app.store_for_tests().act(&mut |_| {
            held.send(()).unwrap();
            wait.recv().unwrap();
            Ok(())
        })
    });
    hold.recv().unwrap();
    let asked = runtime.spawn(async move { client.ask("POST", "/oauth/token").await });
    // It is being answered once its bucket was asked.
    while served.app.limits.address.callers_for_tests() == 0 {
        std::thread::yield_now();
    }
    served.app.hub.stop.send_replace(true);
    go.send(()).unwrap();
    assert_eq!(runtime.block_on(asked).unwrap().unwrap().body["tether_code"], "proof.none");
    holder.join().unwrap().unwrap();
    let Served { serving, runtime, folder, .. } = served;
    runtime.block_on(serving).unwrap().unwrap();
    let refused = super::trail(folder.path()).into_iter().filter(|link| link.event.event == "token.refused").count();
    assert_eq!(refused, 1, "and it is on record");
}
