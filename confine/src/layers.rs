//! Which layers there are. A build with the feature `ablation`, which is never packaged, leaves out the one that
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
    off: Option<Layer>,
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
    /// All but the one that root named.
    pub fn new() -> Self {
        use std::os::unix::fs::MetadataExt;
        let path = "/run/tether-ablation";
        let of_root = std::fs::symlink_metadata(path).is_ok_and(|about| about.is_file() && about.uid() == 0);
        let name = if of_root { std::fs::read_to_string(path).unwrap_or_default() } else { String::new() };
        let off = match name.trim() {
            "descriptors" => Some(Layer::Descriptors),
            "mounts" => Some(Layer::Mounts),
            "devices" => Some(Layer::Devices),
            "limits" => Some(Layer::Limits),
            "identity" => Some(Layer::Identity),
            "no_new_privs" => Some(Layer::NoNewPrivs),
            "landlock" => Some(Layer::Landlock),
            "seccomp" => Some(Layer::Seccomp),
            _ => None,
        };
        Self { off }
    }

    /// Whether a layer is there.
    pub fn has(self, layer: Layer) -> bool {
        self.off != Some(layer)
    }
}
