"""PyKCS11, closest to C of Python's libraries. OpenSSL is the referee."""

import PyKCS11
from PyKCS11 import *  # noqa: F403: its constants

from common import MODULE, PIN, TOKEN, encrypt, end, openssl, part, verify

MESSAGE = b"signed by PyKCS11"
P256 = bytes.fromhex("06082a8648ce3d030107")
library = PyKCS11.PyKCS11Lib()
library.load(MODULE)
[slot] = [
    slot for slot in library.getSlotList(tokenPresent=True) if library.getTokenInfo(slot).label.strip() == TOKEN
]
session = library.openSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION)


@part("a wrong PIN is refused")
def _():
    try:
        session.login(PIN + "0")
        raise AssertionError("let in")
    except PyKCS11.PyKCS11Error as error:
        assert error.value == CKR_PIN_INCORRECT


session.login(PIN)


def pair(*more, identity):
    common = [(CKA_TOKEN, CK_TRUE), (CKA_ID, identity), (CKA_LABEL, "key")]
    public = [*common, *more, (CKA_VERIFY, CK_TRUE)]
    private = [*common, (CKA_PRIVATE, CK_TRUE), (CKA_SENSITIVE, CK_TRUE), (CKA_SIGN, CK_TRUE), (CKA_DECRYPT, CK_TRUE)]
    return public, private


def spki(private):
    """Out of the public key's own attributes, by OpenSSL's ASN.1 compiler."""
    [public] = session.findObjects([(CKA_CLASS, CKO_PUBLIC_KEY), (CKA_ID, identity_of(private))])
    if session.getAttributeValue(public, [CKA_KEY_TYPE]) == [CKK_EC]:
        [point] = session.getAttributeValue(public, [CKA_EC_POINT])
        raw = bytes(point)[2:]
        head = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
        return head + raw
    modulus, exponent = session.getAttributeValue(public, [CKA_MODULUS, CKA_PUBLIC_EXPONENT])
    lines = ["asn1=SEQUENCE:s", "[s]", "a=SEQUENCE:a", "k=BITWRAP,SEQUENCE:k", "[a]", "o=OID:rsaEncryption", "n=NULL"]
    lines += ["[k]", f"n=INTEGER:0x{bytes(modulus).hex()}", f"e=INTEGER:0x{bytes(exponent).hex()}"]
    with open("asn1", "w") as file:
        file.write("\n".join(lines))
    openssl("asn1parse", "-genconf", "asn1", "-noout", "-out", "spki")
    with open("spki", "rb") as file:
        return file.read()


def identity_of(key):
    return bytes(session.getAttributeValue(key, [CKA_ID])[0])


def der(signature):
    """r || s as a SEQUENCE of two INTEGERs."""
    half = len(signature) // 2
    body = b""
    for number in (signature[:half], signature[half:]):
        number = number.lstrip(b"\0")
        if number[0] & 0x80:
            number = b"\0" + number
        body += bytes([2, len(number)]) + number
    return bytes([0x30, len(body)]) + body


public, private = pair((CKA_MODULUS_BITS, 2048), (CKA_PUBLIC_EXPONENT, (1, 0, 1)), identity=b"\x01")
rsa_public, rsa = session.generateKeyPair(public, private)
public, private = pair((CKA_EC_PARAMS, P256), identity=b"\x02")
ec_public, ec = session.generateKeyPair(public, private, mecha=Mechanism(CKM_EC_KEY_PAIR_GEN))


@part("signatures with RSA")
def _():
    for name in ["SHA256", "SHA384", "SHA512"]:
        mechanism = Mechanism(globals()[f"CKM_{name}_RSA_PKCS"])
        signature = bytes(session.sign(rsa, MESSAGE, mechanism))
        verify(spki(rsa), signature, MESSAGE, digest=name.lower())
        assert session.verify(rsa_public, MESSAGE, signature, mechanism)
        assert not session.verify(rsa_public, b"other", signature, mechanism)
    pss = RSA_PSS_Mechanism(CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32)
    signature = bytes(session.sign(rsa, MESSAGE, pss))
    verify(spki(rsa), signature, MESSAGE, "rsa_padding_mode:pss", "rsa_pss_saltlen:32")


@part("signatures with EC")
def _():
    digest = openssl("dgst", "-sha256", "-binary", data=MESSAGE)
    signature = bytes(session.sign(ec, digest, Mechanism(CKM_ECDSA)))
    verify(spki(ec), der(signature), MESSAGE)
    assert session.verify(ec_public, digest, signature, Mechanism(CKM_ECDSA))


@part("decryption with RSA")
def _():
    secret = encrypt(spki(rsa), MESSAGE, "rsa_padding_mode:pkcs1")
    assert bytes(session.decrypt(rsa, secret, Mechanism(CKM_RSA_PKCS))) == MESSAGE
    secret = encrypt(spki(rsa), MESSAGE, "rsa_padding_mode:oaep")
    oaep = RSAOAEPMechanism(CKM_SHA_1, CKG_MGF1_SHA1)
    assert bytes(session.decrypt(rsa, secret, oaep)) == MESSAGE


@part("AES with a key of the token")
def _():
    template = [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_AES), (CKA_VALUE_LEN, 32), (CKA_TOKEN, CK_TRUE)]
    template += [(CKA_ENCRYPT, CK_TRUE), (CKA_DECRYPT, CK_TRUE), (CKA_SENSITIVE, CK_TRUE)]
    key = session.generateKey(template)
    for mechanism in [Mechanism(CKM_AES_CBC_PAD, bytes(16)), AES_GCM_Mechanism(bytes(12), b"and this", 128)]:
        secret = bytes(session.encrypt(key, MESSAGE, mechanism))
        assert MESSAGE not in secret
        assert bytes(session.decrypt(key, secret, mechanism)) == MESSAGE
    session.destroyObject(key)


@part("an authentication code that OpenSSL gets too")
def _():
    template = [(CKA_CLASS, CKO_SECRET_KEY), (CKA_KEY_TYPE, CKK_GENERIC_SECRET), (CKA_VALUE, bytes(range(32)))]
    key = session.createObject([*template, (CKA_SIGN, CK_TRUE), (CKA_TOKEN, CK_FALSE)])
    code = bytes(session.sign(key, MESSAGE, Mechanism(CKM_SHA256_HMAC)))
    options = ["-mac", "HMAC", "-macopt", f"hexkey:{bytes(range(32)).hex()}"]
    assert code == openssl("dgst", "-sha256", *options, "-binary", data=MESSAGE)


@part("digests, whole and in parts")
def _():
    expected = openssl("dgst", "-sha256", "-binary", data=MESSAGE)
    assert bytes(session.digest(MESSAGE, Mechanism(CKM_SHA256))) == expected
    digest = session.digestSession(Mechanism(CKM_SHA256))
    digest.update(MESSAGE[:5])
    digest.update(MESSAGE[5:])
    assert bytes(digest.final()) == expected


@part("random numbers")
def _():
    assert session.generateRandom(32) != session.generateRandom(32)


@part("all attributes of all objects")
def _():
    found = session.findObjects()
    assert len(found) == 5, found  # the session object of the authentication code too
    for one in found:
        everything = one.to_dict()
        assert "CKA_CLASS" in everything


@part("objects are changed and deleted")
def _():
    session.setAttributeValue(ec, [(CKA_LABEL, "renamed")])
    assert session.getAttributeValue(ec, [CKA_LABEL]) == ["renamed"]
    for key in [rsa_public, rsa, ec_public, ec]:
        session.destroyObject(key)
    assert session.findObjects([(CKA_TOKEN, CK_TRUE)]) == []


@part("a logout hides what is private")
def _():
    session.logout()
    try:
        session.generateKeyPair(*pair((CKA_EC_PARAMS, P256), identity=b"\x03"), mecha=Mechanism(CKM_EC_KEY_PAIR_GEN))
        raise AssertionError("made")
    except PyKCS11.PyKCS11Error as error:
        assert error.value == CKR_USER_NOT_LOGGED_IN, error


session.closeSession()
end()
