//! The six functions that libpam calls. Their return codes are those of `<security/_pam_types.h>`.
#![allow(unsafe_code)]

use crate::gate::{self, Transaction, Verdict};
use crate::handle::{Handle, PAM_SUCCESS, RawHandle};
use libc::{c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;
use tether_hostlink::{Answer, Deadline, LinkError, Request, ask};

const PAM_PERM_DENIED: c_int = 6;
const PAM_AUTH_ERR: c_int = 7;
const PAM_SESSION_ERR: c_int = 14;
const PAM_CRED_ERR: c_int = 17;
const PAM_IGNORE: c_int = 25;
const PAM_ABORT: c_int = 26;
const PAM_ESTABLISH_CRED: c_int = 2;
const PAM_REINITIALIZE_CRED: c_int = 8;

/// One exchange with agentd.
const EXCHANGE: Duration = Duration::from_secs(2);

type Argv = *const *const c_char;

#[unsafe(no_mangle)]
extern "C" fn pam_sm_authenticate(handle: *mut RawHandle, _flags: c_int, _argc: c_int, _argv: Argv) -> c_int {
    guarded(handle, PAM_AUTH_ERR, |handle| {
        panic_point!(PamAuthenticate);
        gate::authenticate(handle, ask_agentd)
    })
}

#[unsafe(no_mangle)]
extern "C" fn pam_sm_acct_mgmt(handle: *mut RawHandle, _flags: c_int, _argc: c_int, _argv: Argv) -> c_int {
    guarded(handle, PAM_PERM_DENIED, |handle| {
        panic_point!(PamAccount);
        gate::account(handle, ask_agentd)
    })
}

#[unsafe(no_mangle)]
extern "C" fn pam_sm_open_session(handle: *mut RawHandle, _flags: c_int, _argc: c_int, _argv: Argv) -> c_int {
    guarded(handle, PAM_SESSION_ERR, |handle| {
        panic_point!(PamOpen);
        gate::open_session(handle, ask_agentd)
    })
}

#[unsafe(no_mangle)]
extern "C" fn pam_sm_close_session(handle: *mut RawHandle, _flags: c_int, _argc: c_int, _argv: Argv) -> c_int {
    guarded(handle, PAM_SESSION_ERR, |handle| {
        panic_point!(PamClose);
        gate::close_session(handle, ask_agentd)
    })
}

#[unsafe(no_mangle)]
extern "C" fn pam_sm_chauthtok(handle: *mut RawHandle, _flags: c_int, _argc: c_int, _argv: Argv) -> c_int {
    guarded(handle, PAM_PERM_DENIED, |handle| {
        panic_point!(PamPassword);
        gate::authenticate(handle, ask_agentd)
    })
}

#[unsafe(no_mangle)]
extern "C" fn pam_sm_setcred(handle: *mut RawHandle, flags: c_int, _argc: c_int, _argv: Argv) -> c_int {
    if flags & (PAM_ESTABLISH_CRED | PAM_REINITIALIZE_CRED) == 0 {
        return PAM_IGNORE;
    }
    let result = guarded(handle, PAM_CRED_ERR, |handle| {
        panic_point!(PamSetcred);
        gate::establish(handle, ask_agentd)
    });
    if result == PAM_SUCCESS {
        // The monitor's open connection to the journal came along with the fork. Without it the user's side
        // cannot log from inside the session, where the journal's socket is masked.
        // SAFETY: closelog(3) closes libc's own descriptor; the next syslog(3) opens one of its own.
        unsafe { libc::closelog() };
    }
    if !matches!(result, PAM_SUCCESS | PAM_IGNORE) && asked(handle, |handle| gate::is_agents_login(handle)) {
        // sshd ignores an error of setcred: without this the agent would be in the host's own namespaces. Any
        // other program is told and lives: it may serve people too.
        // SAFETY: _exit(2) ends this process, an sshd of this one connection, and runs no handlers.
        unsafe { libc::_exit(1) };
    }
    result
}

fn ask_agentd(request: &Request) -> Result<Answer, LinkError> {
    ask(request, Deadline::after(EXCHANGE))
}

/// Asks about the transaction; what cannot be answered without a panic is answered by yes, which is closed.
fn asked(raw: *mut RawHandle, question: impl FnOnce(&Handle<'_>) -> bool) -> bool {
    let ask = || {
        // SAFETY: libpam called the entry function that called this with its handle.
        unsafe { Handle::new(raw) }.is_none_or(|handle| question(&handle))
    };
    catch_unwind(AssertUnwindSafe(ask)).unwrap_or(true)
}

/// Runs a phase. A panic is the closed answer for an agent and none for a person, and it is silent: sshd's
/// stderr may be a user's terminal.
fn guarded(raw: *mut RawHandle, denied: c_int, phase: impl FnOnce(&Handle<'_>) -> Verdict) -> c_int {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let run = || {
        // SAFETY: libpam called the entry function that called this with its handle.
        let Some(handle) = (unsafe { Handle::new(raw) }) else { return PAM_ABORT };
        match phase(&handle) {
            Verdict::Ignore => PAM_IGNORE,
            Verdict::Success => PAM_SUCCESS,
            Verdict::Deny(refusal) => {
                handle.tell(&told(&refusal, handle.user().as_deref()));
                denied
            }
        }
    };
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| if asked(raw, |handle| gate::concerns_an_agent(handle)) { PAM_ABORT } else { PAM_IGNORE })
}

fn told(refusal: &tether_hostlink::Refusal, user: Option<&str>) -> String {
    let hint = refusal.hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    format!("tether: {} [{}] ({}){hint}", refusal.text, refusal.code, user.unwrap_or("no user"))
}
