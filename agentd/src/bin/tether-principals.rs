//! sshd's AuthorizedPrincipalsCommand: prints the principals that may log in to an account with a key.
//!
//! Runs before authentication, for anybody who sends a certificate, as a user that owns nothing. Prints
//! nothing unless agentd says so, and then sshd refuses.
#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;
use tether_hostlink::{Deadline, PrincipalsQuery, Reply, Request, ask_at, paths};

const USAGE: &str = "usage: tether-principals USER KEY-FINGERPRINT KEY-ID SERIAL CA-FINGERPRINT
sshd runs it: AuthorizedPrincipalsCommand /usr/libexec/tether/tether-principals %u %f %i %s %F";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [account, key, key_id, serial, ca] = arguments.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let query = PrincipalsQuery {
        account: account.clone(),
        key: key.clone(),
        key_id: key_id.clone(),
        serial: serial.clone(),
        ca: ca.clone(),
    };
    match ask_at(paths::PRINCIPALS_SOCKET, &Request::Principals(query), Deadline::after(Duration::from_secs(2))) {
        Ok(answer) => print(answer.reply),
        Err(error) => refuse(&error),
    }
}

fn print(reply: Reply) -> ExitCode {
    match reply {
        Reply::Principals { principals } => {
            let text: String = principals.iter().map(|principal| format!("{principal}\n")).collect();
            match std::io::stdout().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => refuse(&error),
            }
        }
        Reply::Refused(refusal) => refuse(&refusal),
        _ => refuse(&"agentd gave another answer than was asked for"),
    }
}

fn refuse(why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("tether-principals: {why}");
    ExitCode::FAILURE
}
