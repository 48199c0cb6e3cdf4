//! Which OCSF class and activity an event of ours is.

/// A class, and the activity in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 3002: somebody proves who they are, or leaves.
    Authentication(u32),
    /// 3003: a session gets its rights.
    AuthorizeSession(u32),
    /// 3001: an account comes or goes.
    AccountChange(u32),
    /// 1007: a program runs, or ends.
    ProcessActivity(u32),
    /// 3004: anything else that is there, and changes.
    EntityManagement(u32),
}

impl Class {
    /// `class_uid`.
    pub const fn uid(self) -> u32 {
        match self {
            Self::AccountChange(_) => 3001,
            Self::Authentication(_) => 3002,
            Self::AuthorizeSession(_) => 3003,
            Self::EntityManagement(_) => 3004,
            Self::ProcessActivity(_) => 1007,
        }
    }

    /// `activity_id`.
    pub const fn activity(self) -> u32 {
        match self {
            Self::AccountChange(activity)
            | Self::Authentication(activity)
            | Self::AuthorizeSession(activity)
            | Self::EntityManagement(activity)
            | Self::ProcessActivity(activity) => activity,
        }
    }

    /// `class_name`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AccountChange(_) => "Account Change",
            Self::Authentication(_) => "Authentication",
            Self::AuthorizeSession(_) => "Authorize Session",
            Self::EntityManagement(_) => "Entity Management",
            Self::ProcessActivity(_) => "Process Activity",
        }
    }
}

/// The class of an event by its name.
pub fn class_of(event: &str) -> Class {
    match event {
        "token.issued" | "token.refused" | "grant.sent" | "grant.refused" => Class::AuthorizeSession(1),
        // An authentication ticket.
        "certificate.issued" | "certificate.refused" => Class::Authentication(3),
        "login.bound" | "login.refused" | "login.unbound" | "admin.break_glass" | "admin.refused" => {
            Class::Authentication(1)
        }
        "session.ending" => Class::Authentication(2),
        "session.reserved" => Class::AccountChange(1),
        "session.removed" => Class::AccountChange(6),
        "sudo.command" => Class::ProcessActivity(1),
        "sudo.ended" => Class::ProcessActivity(2),
        other => Class::EntityManagement(change(other)),
    }
}

/// What was done to an entity, by the last part of the event's name; 99 is "other".
fn change(event: &str) -> u32 {
    match event.rsplit('.').next().unwrap_or_default() {
        "registered" | "admitted" | "published" | "created" | "made" => 1,
        "changed" | "taken" | "loaded" | "confirmed" | "mark_accepted" => 3,
        "deleted" | "removed" => 4,
        "enrolled" => 6,
        "activated" => 10,
        "revoked" | "stopped" => 11,
        "started" => 13,
        _ => 99,
    }
}
