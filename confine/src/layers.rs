//! Which layers there are. A build with the feature `ablation`, which is never packaged, leaves out those that
//! /run/tether-ablation names: so a test can show that each layer holds something.
#![forbid(unsafe_code)]

/// A layer of the confinement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// What descriptors 0 to 2 may be.
    Descriptors,
    /// Read-only mounts.
    Mounts,
    /// A /dev of its own, and covers over files of the kernel.
    Devices,
    /// Resource limits.
    Limits,
    /// Uid, groups and capabilities.
    Identity,
    /// No gain by exec.
    NoNewPrivs,
    /// Rules on files.
    Landlock,
    /// The filter of system calls.
    Seccomp,
}

/// The layers of this launch.
#[derive(Debug, Clone, Copy)]
pub struct Layers {
    #[cfg(feature = "ablation")]
    off: u16,
}

#[cfg(not(feature = "ablation"))]
impl Layers {
    /// All of them.
    pub const fn new() -> Self {
        Self {}
    }

    /// Whether a layer is there.
    #[allow(clippy::unused_self)]
    pub const fn has(self, _: Layer) -> bool {
        true
    }
}

#[cfg(feature = "ablation")]
impl Layers {
    /// All but those that root named.
    pub fn new() -> Self {
        use std::os::unix::fs::MetadataExt;
        let path = "/run/tether-ablation";
        let of_root = std::fs::symlink_metadata(path).is_ok_and(|about| about.is_file() && about.uid() == 0);
        let names = if of_root { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let known = [
            ("descriptors", Layer::Descriptors),
            ("mounts", Layer::Mounts),
            ("devices", Layer::Devices),
            ("limits", Layer::Limits),
            ("identity", Layer::Identity),
            ("no_new_privs", Layer::NoNewPrivs),
            ("landlock", Layer::Landlock),
            ("seccomp", Layer::Seccomp),
        ];
        let named = |name: &str| names.split([',', ' ', '\n']).any(|one| one == name);
        let off = known.iter().filter(|(name, _)| named(name)).fold(0, |off, (_, layer)| off | 1 << *layer as u16);
        Self { off }
    }

    /// Whether a layer is there.
    pub const fn has(self, layer: Layer) -> bool {
        self.off & (1 << layer as u16) == 0
    }
}
