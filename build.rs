//! How the program is linked, where a plain `cargo build --release` makes it.
//!
//! Never runs a program or looks at the host.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=release.ld");
    // Relocations of a static program that may lie anywhere, in a few bits each.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // With `panic = "abort"`, which holds in this profile, nothing unwinds.
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/release.ld", env!("CARGO_MANIFEST_DIR"));
        // Functions of the same instructions are there once: what is generic makes many. An option of LLD, rustc's linker here
        // from version 1.90 on.
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
