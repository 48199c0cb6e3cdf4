//! Gives the module the soname that glibc looks for, and its own copy of the unwinder: a process that looks up
//! its first name then loads one library instead of two.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libnss_tether.so.2");
    if let Some(folder) = unwinder() {
        println!("cargo::rustc-link-search=native={folder}");
        println!("cargo::rustc-link-lib=static:+whole-archive=gcc_eh");
    }
}

/// The folder of gcc's static unwinder, if the compiler has one.
fn unwinder() -> Option<String> {
    let output = Command::new("cc").arg("-print-file-name=libgcc_eh.a").output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?;
    path.trim().strip_suffix("/libgcc_eh.a").map(str::to_owned)
}
