"""What the Python clients share: the parts of a script, and OpenSSL's command line as the referee."""

import os
import subprocess
import sys
import traceback

MODULE = os.environ["PKCS11_MODULE"]
TOKEN = os.environ["PKCS11_TOKEN"]
PIN = os.environ["PKCS11_PIN"]

_failed = []


def part(name):
    """Runs the function below as a part of the script and prints what came of it."""

    def run(function):
        try:
            function()
            print(f"passed: {name}", flush=True)
        except Exception:
            traceback.print_exc()
            print(f"failed: {name}", flush=True)
            _failed.append(name)
        return function

    return run


def end():
    sys.exit(1 if _failed else 0)


def openssl(*arguments, data=b""):
    """What openssl prints; it must succeed."""
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True, timeout=30)
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def write(name, data):
    with open(name, "wb") as file:
        file.write(data)


def verify(public, signature, message, *options, digest="sha256"):
    """Asks openssl about a signature over a message, and whether it can tell another message from it."""
    write("public.der", public)
    write("signature", signature)
    ask = ["openssl", "dgst", f"-{digest}", "-keyform", "DER", "-verify", "public.der", "-signature", "signature"]
    for option in options:
        ask += ["-sigopt", option]
    for data, right in [(message, True), (message + b"!", False)]:
        done = subprocess.run(ask, input=data, capture_output=True, timeout=30)
        assert (done.returncode == 0) == right, (right, done.stdout, done.stderr)


def encrypt(public, message, *options):
    write("public.der", public)
    arguments = ["pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", "public.der"]
    for option in options:
        arguments += ["-pkeyopt", option]
    return openssl(*arguments, data=message)
