//! An agentd that records channels, for tests of the recorder alone.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tether_hostlink::{Connection, Deadline, RecordRequest, Refusal, Reply, Request, paths};
use tether_recording::{Intake, Stream};

/// What was recorded of one channel.
#[derive(Debug)]
pub struct Heard {
    pub request: RecordRequest,
    pub frames: Vec<(Stream, Vec<u8>)>,
}

impl Heard {
    /// All bytes of one stream.
    pub fn of(&self, stream: Stream) -> Vec<u8> {
        self.frames.iter().filter(|(one, _)| *one == stream).flat_map(|(_, data)| data.clone()).collect()
    }

    /// The wait status at the end; none if there was no end.
    pub fn status(&self) -> Option<i32> {
        let (Stream::End, data) = self.frames.last()? else { return None };
        Some(i32::from_le_bytes(data.as_slice().try_into().ok()?))
    }
}

/// Records every channel of a uid, or refuses all.
pub fn sink(uid: u32, refuses: bool) -> Receiver<Heard> {
    let path = paths::record_socket(uid);
    std::fs::create_dir_all(paths::RUN_FOLDER).unwrap();
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    chown(&path, Some(uid), None).unwrap();
    let (heard, told) = channel();
    std::thread::spawn(move || {
        loop {
            let connection = Connection::accept(&listener).unwrap();
            assert_eq!(connection.peer.uid, uid);
            let deadline = Deadline::after(Duration::from_secs(10));
            let Ok(Request::Record(request)) = connection.question(deadline) else { panic!("it asks something else") };
            let no = Reply::Refused(Refusal::new("recording.limit", "no more"));
            let reply = if refuses { no } else { Reply::Recording { name: "exec-1".to_owned() } };
            connection.answer(&reply, &[], deadline).unwrap();
            let (heard, stream) = (heard.clone(), UnixStream::from(connection.into_stream()));
            std::thread::spawn(move || heard.send(listen(request, stream)));
        }
    });
    told
}

fn listen(request: RecordRequest, mut stream: UnixStream) -> Heard {
    stream.set_nonblocking(false).unwrap();
    let (mut intake, mut frames, mut buffer) = (Intake::new(), Vec::new(), [0; 8192]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Heard { request, frames },
            Ok(count) => {
                intake.take(&buffer[..count], |stream, data| frames.push((stream, data.to_vec()))).unwrap();
                let _ = stream.write_all(&(frames.len() as u64).to_le_bytes());
                if intake.has_ended() {
                    // As agentd does: it closes.
                    return Heard { request, frames };
                }
            }
        }
    }
}
