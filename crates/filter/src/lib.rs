//! The seccomp filters of confined commands and of sessions: [`policy`] says which system calls, [`compile`] makes
//! BPF of it. No program compiles at run time; each carries the steps that `cargo xtask filters` wrote, and a test
//! sees to it that they are these.
#![forbid(unsafe_code)]

pub mod compile;
mod numbers;
pub mod policy;

pub use compile::{Step, compile};
pub use policy::{Action, Policy, Profile};

/// A processor that there are filters for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    /// `x86_64`
    X86_64,
    /// `aarch64`
    Aarch64,
}

impl Arch {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// As in Rust's `target_arch`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As in `seccomp_data.arch`.
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The number of a call. `None`: this processor has no such call.
    ///
    /// # Panics
    /// If the table has no such name.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let row = numbers::NUMBERS.iter().find(|(known, _, _)| *known == name);
        let (_, x86_64, aarch64) = row.unwrap_or_else(|| panic!("{name} is not in numbers.rs"));
        let number = match self {
            Self::X86_64 => *x86_64,
            Self::Aarch64 => *aarch64,
        };
        u32::try_from(number).ok()
    }
}

/// The bytes of a filter, as they are checked in: eight for each step, in the order of `struct sock_filter`.
#[must_use]
pub fn bytes(arch: Arch, profile: Profile) -> Vec<u8> {
    compile(arch, &profile.policy()).iter().flat_map(|step| step.bytes()).collect()
}
