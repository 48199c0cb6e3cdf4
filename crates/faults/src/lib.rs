//! Places where a test makes a program of ours fail: agentd dies, a module panics.
//!
//! Programs and modules have these places only when they are built with their feature `faults`, which the package
//! never is (`cargo xtask check` looks). There a place does nothing until a file of its name lies in
//! [`FOLDER`], which is root's.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// Where a file arms the place of its name.
pub const FOLDER: &str = "/run/tether-faults";

macro_rules! places {
    ($(#[$about:meta])* $list:ident { $($(#[$what:meta])* $name:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $list { $($(#[$what])* $name,)+ }

        impl $list {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The file that arms it.
            pub fn path(self) -> PathBuf {
                Path::new(FOLDER).join(format!("{self:?}"))
            }
        }
    };
}

places! {
    /// Between two steps of agentd, in the order in which a session comes by.
    Crash {
        /// A file of state is written beside its place.
        StoreBeside,
        /// It is in its place.
        StoreRenamed,
        /// The feed's new position is on disk, and nothing was done about the statement.
        FeedKept,
        /// A pair of uids is taken.
        ReserveUids,
        /// The session's id is used up.
        ReserveSpent,
        /// The session's file is written beside its place.
        SessionBeside,
        /// The session is on disk.
        ReserveKept,
        /// A segment of the chain is made, and its name not yet known to be on stable storage.
        SegmentMade,
        /// A record is written, and not yet known to be on stable storage.
        ChainWritten,
        /// A head of the chain counts, and its line is not in it.
        HeadKept,
        /// Its line is in the chain, and its key is not overwritten.
        HeadWritten,
        /// Its key is overwritten.
        KeyEvolved,
        /// The reservation is on record.
        ReserveRecorded,
        /// The session's cgroup is there.
        VisibleCgroup,
        /// Its namespaces are there.
        VisibleWorld,
        /// They are noted on disk.
        VisibleKept,
        /// An account file is written beside its place.
        AccountBeside,
        /// The login account is found by uid, and not by name.
        AccountByUid,
        /// The login account is there, the `-ro` one is not.
        AccountLogin,
        /// Both accounts are there.
        VisibleAccounts,
        /// The statement is carried out, and still in the inbox.
        FeedObeyed,
        /// A connection passed the account gate.
        LoginExpected,
        /// The delegation is used up.
        BindSpent,
        /// The login is on record.
        BindRecorded,
        /// The open session is on disk, its connection is not watched.
        BindKept,
        /// The connection is bound and was not told so.
        BindDone,
        /// sshd's child is in the session's cgroup and was not told so.
        EnterCgroup,
        /// A command is allowed and sudo was not told so.
        DecidePlanned,
        /// The launcher is in the command's cgroup.
        BeginCgroup,
        /// The command is on record and does not run.
        BeginRecorded,
        /// What was left of the command is killed.
        EndedKilled,
        /// The command's end is on record.
        EndedRecorded,
        /// The session's end is on disk, and nothing was done about it.
        ClosingKept,
        /// One file of its accounts is gone.
        ClosingHalf,
        /// Its accounts are gone.
        ClosingAccounts,
        /// The end is on record.
        ClosingRecorded,
        /// Its processes are killed.
        TornKilled,
        /// Its remains were looked for.
        TornLooked,
        /// The removal is on record.
        GoneRecorded,
        /// Its uids rest.
        GoneUids,
        /// Its file is gone.
        GoneFile,
    }
}

places! {
    /// Where a module is entered.
    Panic {
        /// getpwnam(3).
        NssPasswdByName,
        /// getpwuid(3).
        NssPasswdByUid,
        /// getgrnam(3).
        NssGroupByName,
        /// getgrgid(3).
        NssGroupByGid,
        /// initgroups(3).
        NssInitgroups,
        /// pam_authenticate(3).
        PamAuthenticate,
        /// pam_acct_mgmt(3).
        PamAccount,
        /// pam_open_session(3).
        PamOpen,
        /// pam_close_session(3).
        PamClose,
        /// pam_setcred(3).
        PamSetcred,
        /// pam_chauthtok(3).
        PamPassword,
        /// The policy's `open`.
        SudoOpen,
        /// The policy's `check_policy`.
        SudoCheck,
        /// The policy's `list`.
        SudoList,
        /// The policy's `validate`.
        SudoValidate,
        /// The policy's `show_version`.
        SudoVersion,
        /// The policy's `close`.
        SudoClose,
        /// The policy's `register_hooks`.
        SudoHooks,
        /// The audit plugin's `open`.
        AuditOpen,
        /// The audit plugin's `accept`.
        AuditAccept,
        /// The audit plugin's `reject` and `error`.
        AuditReject,
        /// The audit plugin's `register_hooks`.
        AuditHooks,
        /// The I/O plugin's `open`.
        IoOpen,
        /// The I/O plugin's `register_hooks`.
        IoHooks,
    }
}

/// Ends this program as the kernel or a power cut would, once, if the place is armed.
pub fn crash(at: Crash) {
    if std::fs::remove_file(at.path()).is_ok() {
        // It does not come back: a signal to oneself is delivered before the call returns.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Panics while the place is armed, and leaves [`Panic::reached`] if it may write there.
///
/// # Panics
/// That is what it is for.
pub fn panic(at: Panic) {
    if at.path().exists() {
        // Who may not is somebody's look-up, whose answer shows it.
        let _ = std::fs::write(at.reached(), "");
        std::panic::panic_any(at);
    }
}

impl Panic {
    /// The file that shows that a program of root's came by while it was armed.
    pub fn reached(self) -> PathBuf {
        self.path().with_extension("reached")
    }
}
