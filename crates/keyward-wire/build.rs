//! Compiles the schema; protox needs no installed `protoc`.

use std::io::Result;

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed=proto/keyward.proto");
    let descriptors = protox::compile(["proto/keyward.proto"], ["proto"])
        .map_err(|error| std::io::Error::other(format!("{error:?}")))?;
    prost_build::Config::new()
        // Messages that may carry a PIN, a ticket or a plaintext get a `Debug`
        // of their own in src/lib.rs.
        .skip_debug([
            "keyward.v1.Request",
            "keyward.v1.Response",
            "keyward.v1.Ticket",
            "keyward.v1.Attribute",
            "keyward.v1.Bytes",
            "keyward.v1.Part",
            "keyward.v1.Login",
            "keyward.v1.SetPin",
            "keyward.v1.InitPin",
            "keyward.v1.InitToken",
            "keyward.v1.CreateToken",
            "keyward.v1.Pbkdf2",
        ])
        .compile_fds(descriptors)
}
