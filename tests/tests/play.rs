//! What `tether session play` writes is for other programs too: the stock asciinema of the distribution plays it.

use anyhow::{Context, ensure};
use std::time::Duration;
use tether_recording::{Header, Kind, Stream, frame_head, resize};
use tether_testhost::{Host, HostSpec, Image, Lab, Suite};
use tether_tests::on_both_suites;
use tether_tests::programs::built;

type Result = anyhow::Result<()>;

on_both_suites!(stock_asciinema_plays_the_cast);

/// A program that draws: characters in two frames, bytes that are none, the second screen, a size, a gap.
fn recording() -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let all: Vec<u8> = (0..=255).collect();
    let size = resize(132, 50);
    let frames: [(u64, Stream, &[u8]); 9] = [
        (0, Stream::Output, b"caf\xc3"),
        (100_000, Stream::Output, b"\xa9 \xf0\x9f\x98"),
        (200_000, Stream::Output, b"\x80\r\n\x1b[31mred\x1b[0m\r\n"),
        (300_000, Stream::Resize, &size),
        (400_000, Stream::Output, &all),
        (500_000, Stream::Gap, b"1 MiB"),
        (600_000, Stream::Output, b"\x1b[?1049h\x1b[2J\"quoted\\\"\x1b[?1049l"),
        (700_000, Stream::Output, b"the end\r\n"),
        (700_000, Stream::End, &[0; 4]),
    ];
    let header = Header {
        name: "tty-1".to_owned(),
        session: "0123456789abcdef".to_owned(),
        host: "web-01".to_owned(),
        kind: Kind::Tty,
        command: serde_json::Value::Null,
        started_us: 1_800_000_000_000_000,
        columns: 80,
        rows: 24,
    };
    let (mut file, mut shown) = (header.encode()?, Vec::new());
    for (micros, stream, data) in frames {
        file.extend(frame_head(micros, stream, u32::try_from(data.len())?));
        file.extend(data);
        if stream == Stream::Output {
            shown.extend(data);
        }
    }
    Ok((file, shown))
}

fn stock_asciinema_plays_the_cast(suite: Suite) -> Result {
    let image = Image::ensure_with(suite, "asciinema", &mut |line| eprintln!("{line}"))?;
    let lab = Lab::new()?;
    let host = lab.boot(HostSpec::new("desk", &image))?;
    host.wait_ready(Duration::from_secs(60))?;
    host.copy_in(built("test-tether")?, "/usr/local/bin/tether", 0o755)?;
    let (file, shown) = recording()?;
    host.write_file("/root/tty-1.rec", &file, 0o600)?;
    host.sh("tether session play --cast /root/tty-1.rec > /root/tty-1.cast")?;

    // `cat` shows all text at once; `play` the same in its time. Both want a terminal.
    let wanted = String::from_utf8_lossy(&shown);
    let at_once = at_a_terminal(&host, "asciinema cat /root/tty-1.cast")?;
    ensure!(at_once == wanted.as_bytes(), "cat: {:?}", String::from_utf8_lossy(&at_once));
    let played = at_a_terminal(&host, "asciinema play -s 10 /root/tty-1.cast")?;
    let played = String::from_utf8(played).context("play")?;
    ensure!(played.contains(&*wanted), "play: {played:?}");

    // Control: a cast that is none is not played.
    host.sh("sed '1s/\"version\":2/\"version\":9/' /root/tty-1.cast > /root/bad.cast")?;
    let bad = at_a_terminal(&host, "asciinema cat /root/bad.cast")?;
    ensure!(!String::from_utf8_lossy(&bad).contains("the end"), "control: {:?}", String::from_utf8_lossy(&bad));

    let raw = host.sh("tether session play --raw /root/tty-1.rec | sha256sum")?;
    host.write_file("/root/shown", &shown, 0o600)?;
    ensure!(raw == host.sh("sha256sum < /root/shown")?, "the raw bytes are others");
    Ok(())
}

/// What a command shows at a terminal of script(1).
fn at_a_terminal(host: &Host, command: &str) -> anyhow::Result<Vec<u8>> {
    let command = host.command("script").args(&["-qec", command, "/dev/null"]).env("LANG", "C.UTF-8");
    Ok(command.stdin(Vec::new()).output()?.stdout)
}
