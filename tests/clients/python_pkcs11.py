"""python-pkcs11: keys, signatures, ciphers, objects, as its users write it. OpenSSL is the referee."""

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MGF, ObjectClass
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key
from pkcs11.util.x509 import decode_x509_certificate

from common import MODULE, PIN, TOKEN, encrypt, end, openssl, part, verify, write

MESSAGE = b"signed by python-pkcs11"
library = pkcs11.lib(MODULE)
token = library.get_token(token_label=TOKEN)
session = token.open(rw=True, user_pin=PIN)


def rsa_spki(public):
    """SubjectPublicKeyInfo of the PKCS #1 key that the library gives."""
    write("pkcs1.der", encode_rsa_public_key(public))
    return openssl("rsa", "-RSAPublicKey_in", "-inform", "DER", "-in", "pkcs1.der", "-pubout", "-outform", "DER")


@part("a token is found and described")
def _():
    assert token.label == TOKEN
    assert Mechanism.RSA_PKCS in token.slot.get_mechanisms()
    assert token.slot.get_mechanism_info(Mechanism.RSA_PKCS).max_key_length >= 4096


rsa_public, rsa_private = session.generate_keypair(KeyType.RSA, 2048, store=True, label="rsa", id=b"\x01")
parameters = session.create_domain_parameters(
    KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
)
ec_public, ec_private = parameters.generate_keypair(
    mechanism=Mechanism.EC_KEY_PAIR_GEN, store=True, label="ec", id=b"\x02"
)


@part("signatures with RSA")
def _():
    spki = rsa_spki(rsa_public)
    for digest in ["sha256", "sha384", "sha512"]:
        mechanism = Mechanism[f"{digest.upper()}_RSA_PKCS"]
        signature = rsa_private.sign(MESSAGE, mechanism=mechanism)
        verify(spki, signature, MESSAGE, digest=digest)
        assert rsa_public.verify(MESSAGE, signature, mechanism=mechanism)
        assert not rsa_public.verify(MESSAGE + b"!", signature, mechanism=mechanism)
    pss = (Mechanism.SHA256, MGF.SHA256, 32)
    signature = rsa_private.sign(MESSAGE, mechanism=Mechanism.SHA256_RSA_PKCS_PSS, mechanism_param=pss)
    verify(spki, signature, MESSAGE, "rsa_padding_mode:pss", "rsa_pss_saltlen:32")


@part("signatures with EC")
def _():
    digest = openssl("dgst", "-sha256", "-binary", data=MESSAGE)
    signature = ec_private.sign(digest, mechanism=Mechanism.ECDSA)
    verify(encode_ec_public_key(ec_public), encode_ecdsa_signature(signature), MESSAGE)
    assert ec_public.verify(digest, signature, mechanism=Mechanism.ECDSA)


@part("signatures in parts")
def _():
    pieces = [MESSAGE] * 50
    signature = rsa_private.sign(iter(pieces), mechanism=Mechanism.SHA256_RSA_PKCS)
    verify(rsa_spki(rsa_public), signature, b"".join(pieces))


@part("decryption with RSA")
def _():
    spki = rsa_spki(rsa_public)
    secret = encrypt(spki, MESSAGE, "rsa_padding_mode:pkcs1")
    assert rsa_private.decrypt(secret, mechanism=Mechanism.RSA_PKCS) == MESSAGE
    secret = encrypt(spki, MESSAGE, "rsa_padding_mode:oaep")
    oaep = (Mechanism.SHA_1, MGF.SHA1, None)
    assert rsa_private.decrypt(secret, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=oaep) == MESSAGE
    back = rsa_public.encrypt(MESSAGE, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=oaep)
    assert rsa_private.decrypt(back, mechanism=Mechanism.RSA_PKCS_OAEP, mechanism_param=oaep) == MESSAGE


@part("AES with a key that was brought along")
def _():
    value, iv = bytes(range(32)), bytes(range(16))
    key = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: value,
            Attribute.ENCRYPT: True,
            Attribute.DECRYPT: True,
            Attribute.TOKEN: False,
        }
    )
    secret = key.encrypt(MESSAGE, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv)
    assert secret == openssl("enc", "-aes-256-cbc", "-K", value.hex(), "-iv", iv.hex(), data=MESSAGE)
    assert key.decrypt(secret, mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv) == MESSAGE
    pieces = [MESSAGE] * 50
    secret = b"".join(key.encrypt(iter(pieces), mechanism=Mechanism.AES_CBC_PAD, mechanism_param=iv))
    assert openssl("enc", "-d", "-aes-256-cbc", "-K", value.hex(), "-iv", iv.hex(), data=secret) == MESSAGE * 50


@part("AES with a key of the token")
def _():
    key = session.generate_key(KeyType.AES, 256, store=True, label="aes")
    iv = session.generate_random(128)
    secret = key.encrypt(MESSAGE, mechanism_param=iv)
    assert key.decrypt(secret, mechanism_param=iv) == MESSAGE
    assert session.get_key(label="aes", key_type=KeyType.AES)[Attribute.ALWAYS_SENSITIVE]
    key.destroy()


@part("digests")
def _():
    for name in ["sha256", "sha384", "sha512"]:
        ours = session.digest(MESSAGE, mechanism=Mechanism[name.upper()])
        assert ours == openssl("dgst", f"-{name}", "-binary", data=MESSAGE)


@part("a certificate and data as objects")
def _():
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k", "-out", "c", "-subj", "/CN=python")
    der = openssl("x509", "-in", "c", "-outform", "DER")
    session.create_object({**decode_x509_certificate(der), Attribute.TOKEN: True, Attribute.LABEL: "certificate"})
    found = list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.LABEL: "certificate"}))
    assert [one[Attribute.VALUE] for one in found] == [der]
    found[0].destroy()
    data = session.create_object({Attribute.CLASS: ObjectClass.DATA, Attribute.VALUE: b"\0data", Attribute.TOKEN: True})
    assert data[Attribute.VALUE] == b"\0data"
    data.destroy()


@part("another session finds the keys")
def _():
    with token.open() as other:
        found = other.get_key(object_class=ObjectClass.PRIVATE_KEY, label="ec", id=b"\x02")
        assert found[Attribute.LABEL] == "ec"
        assert found.sign(bytes(32), mechanism=Mechanism.ECDSA)
        try:
            other.get_key(label="nobody")
            raise AssertionError("found")
        except pkcs11.NoSuchKey:
            pass


@part("what is secret stays there")
def _():
    for attribute in [Attribute.PRIVATE_EXPONENT, Attribute.PRIME_1]:
        try:
            rsa_private[attribute]
            raise AssertionError("told")
        except pkcs11.AttributeSensitive:
            pass


@part("attributes are changed and keys deleted")
def _():
    ec_private[Attribute.LABEL] = "renamed"
    assert session.get_key(object_class=ObjectClass.PRIVATE_KEY, label="renamed")[Attribute.ID] == b"\x02"
    for key in [ec_private, ec_public, rsa_private, rsa_public]:
        key.destroy()
    assert list(session.get_objects({Attribute.TOKEN: True})) == []


session.close()
end()
