//! Real throw-away Debian hosts for tests.
//!
//! A host is an overlay over a cached image, in namespaces of its own (mount, pid, uts, ipc, cgroup, net), with systemd
//! as pid 1, sshd on port 22 and one leg on the private switch of its [`Lab`]. It boots in well under a second.
//!
//! ```no_run
//! use std::time::Duration;
//! use tether_testhost::{HostSpec, Image, Lab, Suite};
//!
//! # fn main() -> tether_testhost::Result<()> {
//! let image = Image::ensure(Suite::Bookworm, &mut |line| eprintln!("{line}"))?;
//! let lab = Lab::new()?;
//! let host = lab.boot(HostSpec::new("web1", &image))?;
//! host.wait_ready(Duration::from_secs(20))?;
//! assert_eq!(host.sh("hostname")?, "web1\n");
//! # Ok(())
//! # }
//! ```
//!
//! Invariants: root is needed. Nothing of the machine is changed beyond two mounts and a folder per lab, its cgroups, and
//! the image cache; all but the cache goes when the last handle is dropped, and what a killed process left behind is
//! swept by the next [`Lab::new`]. A host cannot write the kernel's settings (`/proc/sys` is read-only) nor set the clock.

mod cgroup;
mod error;
mod host;
mod image;
mod lab;
mod net;
mod scratch;
mod sys;
mod world;

pub use error::{Error, Result};
pub use host::{Host, HostCommand, HostSpec, Storage};
pub use image::{Image, Suite};
pub use lab::Lab;
