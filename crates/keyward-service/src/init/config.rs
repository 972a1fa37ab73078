//! The `keyward.toml` of a new service.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::{AUTHORITY, CERTIFICATE, CONFIG, DATA, InitError, MASTER_KEY, PRIVATE_KEY};
use crate::bundle::quoted;
use crate::config::Etcd;
use crate::files;

/// Writes the configuration of a service that listens on an address, with its
/// store in etcd or in its own folder.
pub(crate) fn write_config(
    listen: SocketAddr,
    etcd: Option<&Etcd>,
    dir: &Path,
) -> Result<(), InitError> {
    let content = content(listen, etcd);
    Ok(files::write_new(&dir.join(CONFIG), content.as_bytes(), files::PUBLIC)?)
}

fn content(listen: SocketAddr, etcd: Option<&Etcd>) -> String {
    let mut text = String::from("# The Keyward service. File names are relative to this file.\n\n");
    // Writing to a String does not fail.
    let _ = write!(
        text,
        "# The address to accept connections on.\n\
         listen = \"{}\"\n\
         \n\
         {}\
         \n\
         # The server's certificate and key, and the authority that signs identities.\n\
         certificate = \"{CERTIFICATE}\"\n\
         private_key = \"{PRIVATE_KEY}\"\n\
         authority = \"{AUTHORITY}\"\n\
         \n\
         # Unlocks the store. Keep a copy where the store's copies are not: either is\n\
         # useless without the other. {{ credential = \"NAME\" }}: systemd's LoadCredential.\n\
         master_key = {{ file = \"{MASTER_KEY}\" }}\n\
         \n\
         [limits]\n\
         # connections = 4096            # at once\n\
         # handshakes = 256              # of peers that have not shown a certificate yet\n\
         # requests_per_connection = 64  # under way at once\n\
         # request_kib_per_connection = 2048  # bytes of the requests under way\n\
         # request_mib = 256             # bytes of all requests over 16 KiB\n\
         # input_mib = 256               # for inputs over 1 MiB, three times their length\n\
         # queue = 4096                  # requests that wait for a processor\n\
         # workers = 0                   # threads for private-key work; 0: one per processor\n\
         \n\
         [deadlines]\n\
         # handshake_ms = 5000\n\
         # idle_s = 0                    # silent connections are closed after; 0: never\n\
         # write_ms = 10000              # for a peer to take an answer\n\
         # request_ms = 30000            # for a request that does not say how long it waits\n\
         # drain_ms = 10000              # for what is under way when the service stops\n\
         # access_s = 300                # life of a ticket's access part\n\
         # snapshot_h = 72               # the longest that a client may start without the service; 0: not at all\n\
         \n\
         [pins]\n\
         # tries = 10                    # wrong PINs, per token and identity, before a lock\n\
         # backoff_ms = 1000             # the longest hold-up of the answer to a wrong PIN\n\
         \n\
         [log]\n\
         # format = \"text\"               # or \"json\"\n\
         # filter = \"info\"\n",
        listen,
        etcd.map_or_else(
            || {
                format!(
                    "# Where the keys are kept: \"redb\", the embedded store, and its file.\n\
                     store = \"redb\"\n\
                     data = \"{DATA}\"\n"
                )
            },
            |_| {
                "# Where the keys are kept: in etcd, which all replicas share; see [etcd] below.\n\
                 store = \"etcd\"\n"
                    .to_owned()
            },
        ),
    );
    if let Some(etcd) = etcd {
        let members: Vec<_> = etcd.endpoints.iter().map(|member| quoted(member)).collect();
        let _ = write!(
            text,
            "\n[etcd]\n\
             # All members, the authority of their certificates, and who this service is there.\n\
             endpoints = [{}]\n\
             authority = {}\n\
             certificate = {}\n\
             private_key = {}\n\
             # What stands before all keys.\n\
             prefix = {}\n\
             # request_ms = 1000             # for one question to one member\n\
             # start_s = 120                 # how long a service that starts waits for etcd\n",
            members.join(", "),
            quoted(&etcd.authority.to_string_lossy()),
            quoted(&etcd.certificate.to_string_lossy()),
            quoted(&etcd.private_key.to_string_lossy()),
            quoted(&etcd.prefix),
        );
    }
    text.push_str(
        "\n\
         # An HSM that tokens may have their keys in. There may be several.\n\
         # [[hsm]]\n\
         # name = \"main\"\n\
         # library = \"/usr/lib/softhsm/libsofthsm2.so\"\n\
         # token = \"LABEL\"               # or serial = \"...\"\n\
         # pin.file = \"hsm.pin\"          # or pin.credential, pin.env = \"NAME\"\n\
         # sessions = 4\n\
         # call_ms = 3000                # a call that takes longer hangs\n\
         # generate_ms = 120000          # the same for a key pair\n\
         # start_ms = 20000              # the same for the library's start\n\
         # environment = {}              # variables for the library\n",
    );
    text
}
