//! Links the module so that it stays mapped: threads that are inside it, or
//! that have thread-locals of its standard library, outlive `dlclose`.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
}
