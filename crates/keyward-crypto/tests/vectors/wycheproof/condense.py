#!/usr/bin/env python3
"""Makes the .txt files beside it out of Wycheproof's JSON.

    git clone https://github.com/C2SP/wycheproof
    ./condense.py wycheproof/testvectors_v1

One case is one line: its tcId, its result (valid, invalid, acceptable), then the fields that the tests
use, name=value; byte strings are hexadecimal. Of the large files a few cases of each kind are kept, for each
hash where a file has several.
"""

import json
import pathlib
import sys

# File without _test.json, fields of the group, fields of the case, most cases of each set of flags.
PUBLIC = ["modulus=publicKey.modulus", "exponent=publicKey.publicExponent"]
PRIVATE = ["n=privateKey.modulus", "e=privateKey.publicExponent", "d=privateKey.privateExponent"]
PRIMES = ["p=privateKey.prime1", "q=privateKey.prime2", "dp=privateKey.exponent1", "dq=privateKey.exponent2",
          "qi=privateKey.coefficient"]

FILES = [
    ("aes_gcm", ["tagSize"], ["key", "iv", "aad", "msg", "ct", "tag"], None),
    ("aes_ccm", ["tagSize"], ["key", "iv", "aad", "msg", "ct", "tag"], None),
    ("aes_cmac", ["tagSize"], ["key", "msg", "tag"], None),
    ("aes_wrap", [], ["key", "msg", "ct"], None),
    ("aes_kwp", [], ["key", "msg", "ct"], None),
    ("aes_cbc_pkcs5", [], ["key", "iv", "msg", "ct"], None),
    *[(f"hmac_{name}", ["tagSize"], ["key", "msg", "tag"], 20)
      for name in ["sha1", "sha224", "sha256", "sha384", "sha512", "sha512_224", "sha512_256",
                   "sha3_224", "sha3_256", "sha3_384", "sha3_512"]],
    *[(f"hkdf_{name}", [], ["ikm", "salt", "info", "size", "okm"], 4)
      for name in ["sha1", "sha256", "sha384", "sha512"]],
    ("x25519", [], ["public", "private", "shared"], 8),
    ("ed25519", ["publicKey.pk"], ["msg", "sig"], None),
    *[(f"ecdh_{curve}_ecpoint", [], ["public", "private", "shared"], 6)
      for curve in ["secp224r1", "secp256r1", "secp384r1", "secp521r1"]],
    ("ecdsa_secp256k1_sha256_p1363", ["publicKey.uncompressed"], ["msg", "sig"], 3),
    ("ecdsa_secp256r1_sha3_256", ["publicKey.uncompressed"], ["msg", "sig"], 1),
    ("rsa_signature_2048_sha3_256", ["publicKeyDer"], ["msg", "sig"], 2),
    *[(f"mldsa_{size}_sign_seed", ["privateSeed", "publicKey"], ["ctx", "msg", "sig"], 1)
      for size in [44, 65, 87]],
    *[(f"mldsa_{size}_verify", ["publicKey"], ["ctx", "msg", "sig"], 1) for size in [44, 65, 87]],
    *[(f"mlkem_{size}_keygen_seed", [], ["seed", "ek", "dk"], 2) for size in [512, 768, 1024]],
    *[(f"mlkem_{size}", [], ["seed", "ek", "c", "K"], 4) for size in [512, 768, 1024]],
    *[(f"mlkem_{size}_semi_expanded_decaps", [], ["dk", "c", "K"], 2) for size in [512, 768, 1024]],
    ("dsa_2048_256_sha256_p1363", ["publicKeyDer"], ["msg", "sig"], 2),
    *[(f"ecdsa_{name}_p1363", ["publicKey.uncompressed"], ["msg", "sig"], 2)
      for name in ["secp224r1_sha224", "secp256r1_sha256", "secp384r1_sha384", "secp521r1_sha512"]],
    *[(f"rsa_signature_2048_{name}", PUBLIC, ["msg", "sig"], 1)
      for name in ["sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_384", "sha3_512"]],
    *[(f"rsa_pss_2048_{name}", PUBLIC, ["msg", "sig"], 2)
      for name in ["sha1_mgf1_20", "sha256_mgf1_0", "sha256_mgf1_32", "sha256_mgf1sha1_20", "sha384_mgf1_48"]],
    *[(f"rsa_oaep_2048_{name}", PRIVATE + PRIMES, ["label", "msg", "ct"], 1)
      for name in ["sha1_mgf1sha1", "sha224_mgf1sha224", "sha256_mgf1sha1", "sha256_mgf1sha256",
                   "sha384_mgf1sha384", "sha512_mgf1sha512"]],
    ("rsa_pkcs1_2048", PRIVATE + PRIMES, ["msg", "ct"], 2),
    ("rsa_pkcs1_2048_sig_gen", ["sha", *PRIVATE], ["msg", "sig"], 1),
]


def field(group, path):
    for part in path.split("."):
        group = group[part]
    return group


def named(entry):
    """`name=path.in.group`, or a path whose first part is the name."""
    name, _, path = entry.rpartition("=")
    return name or path.split(".")[0], path


def condense(source, name, of_group, of_case, most):
    document = json.loads((source / f"{name}_test.json").read_text())
    seen = {}
    lines = [f"# Wycheproof testvectors_v1/{name}_test.json, Apache-2.0; made by condense.py"]
    for group in document["testGroups"]:
        shared = [f"{name}={field(group, path)}" for name, path in map(named, of_group)]
        for case in group["tests"]:
            kind = (group.get("sha"), case["result"], tuple(case.get("flags", [])))
            seen[kind] = seen.get(kind, 0) + 1
            if most is not None and seen[kind] > most:
                continue
            # ML-DSA's tests of a bare mu have no message: AWS-LC's message interface cannot run them.
            if "msg" in of_case and "msg" not in case:
                continue
            own = [f"{key}={case.get(key, '')}" for key in of_case]
            lines.append(" ".join([str(case["tcId"]), case["result"], *shared, *own]))
    pathlib.Path(__file__).with_name(f"{name}.txt").write_text("\n".join(lines) + "\n")


def main():
    source = pathlib.Path(sys.argv[1])
    for entry in FILES:
        condense(source, *entry)


main()
