"""The C interface by ctypes, for what the libraries do not let one do: C_Initialize's arguments, threads, processes."""

import ctypes
import hashlib
from ctypes import byref, c_char_p, c_ubyte, c_ulong, c_void_p

from common import MODULE, PIN, TOKEN

CKR_OK, CKR_ARGUMENTS_BAD, CKR_CANT_LOCK = 0, 0x7, 0xA
CKR_USER_ALREADY_LOGGED_IN, CKR_NOT_INITIALIZED, CKR_ALREADY_INITIALIZED = 0x100, 0x190, 0x191
CANT_CREATE_OS_THREADS, OS_LOCKING_OK = 1, 2
CKO_DATA, CKO_PUBLIC_KEY, CKO_PRIVATE_KEY = 0, 2, 3
CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_VALUE, CKA_MODULUS, CKA_MODULUS_BITS = 0, 1, 2, 3, 0x11, 0x120, 0x121
CKA_SIGN, CKA_SENSITIVE, CKA_PUBLIC_EXPONENT = 0x108, 0x103, 0x122
CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_SHA256_RSA_PKCS = 0, 0x40

module = ctypes.CDLL(MODULE)


class Mechanism(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("parameter", c_void_p), ("length", c_ulong)]


class Attribute(ctypes.Structure):
    _fields_ = [("type", c_ulong), ("value", c_void_p), ("length", c_ulong)]


CREATE = ctypes.CFUNCTYPE(c_ulong, ctypes.POINTER(c_void_p))
USE = ctypes.CFUNCTYPE(c_ulong, c_void_p)


class InitializeArguments(ctypes.Structure):
    _fields_ = [("create", CREATE), ("destroy", USE), ("lock", USE), ("unlock", USE)]
    _fields_ += [("flags", c_ulong), ("reserved", c_void_p)]


class Refused(Exception):
    def __init__(self, name, rv):
        super().__init__(f"{name}: {rv:#x}")
        self.rv = rv


def call(name, *arguments):
    function = getattr(module, name)
    function.restype = c_ulong
    return function(*arguments)


def ok(name, *arguments):
    rv = call(name, *arguments)
    if rv:
        raise Refused(name, rv)


def template(*entries):
    """Attributes of (type, bytes, bool or int); it keeps their values alive."""
    values = []
    for _, value in entries:
        if isinstance(value, bool):
            value = bytes([value])
        elif isinstance(value, int):
            value = value.to_bytes(ctypes.sizeof(c_ulong), "little")
        values.append(ctypes.create_string_buffer(value, len(value)))
    array = (Attribute * len(entries))()
    for slot, (kind, _), value in zip(array, entries, values):
        slot.type, slot.value, slot.length = kind, ctypes.addressof(value), len(value)
    array.values = values
    return array


def slot():
    slots, count = (c_ulong * 64)(), c_ulong(64)
    ok("C_GetSlotList", c_ubyte(1), slots, byref(count))
    for one in slots[: count.value]:
        info = (c_ubyte * 208)()
        ok("C_GetTokenInfo", c_ulong(one), info)
        if bytes(info[:32]).decode().strip() == TOKEN:
            return one
    raise AssertionError(f"no token {TOKEN} in {count.value} slots")


def open_session(where):
    session = c_ulong()
    ok("C_OpenSession", c_ulong(where), c_ulong(6), None, None, byref(session))
    return session


def login(session):
    rv = call("C_Login", session, c_ulong(1), c_char_p(PIN.encode()), c_ulong(len(PIN)))
    if rv not in (CKR_OK, CKR_USER_ALREADY_LOGGED_IN):
        raise Refused("C_Login", rv)


def find(session, *entries):
    wanted, found, count = template(*entries), (c_ulong * 100)(), c_ulong()
    ok("C_FindObjectsInit", session, wanted, c_ulong(len(entries)))
    ok("C_FindObjects", session, found, c_ulong(100), byref(count))
    ok("C_FindObjectsFinal", session)
    return [c_ulong(one) for one in found[: count.value]]


def value_of(session, key, attribute):
    buffer = ctypes.create_string_buffer(4096)
    wanted = Attribute(attribute, ctypes.addressof(buffer), 4096)
    ok("C_GetAttributeValue", session, key, byref(wanted), c_ulong(1))
    return buffer.raw[: wanted.length]


def create(session, *entries):
    made = c_ulong()
    ok("C_CreateObject", session, template(*entries), c_ulong(len(entries)), byref(made))
    return made


def generate_rsa(session):
    """The key pair of this program: (modulus as a number)."""
    public = template((CKA_TOKEN, True), (CKA_MODULUS_BITS, 2048), (CKA_PUBLIC_EXPONENT, b"\1\0\1"))
    private = template((CKA_TOKEN, True), (CKA_PRIVATE, True), (CKA_SENSITIVE, True), (CKA_SIGN, True))
    keys = c_ulong(), c_ulong()
    mechanism = Mechanism(CKM_RSA_PKCS_KEY_PAIR_GEN, None, 0)
    ok("C_GenerateKeyPair", session, byref(mechanism), public, c_ulong(3), private, c_ulong(4), *map(byref, keys))
    return int.from_bytes(value_of(session, keys[0], CKA_MODULUS), "big")


def sign(session, key, message):
    mechanism = Mechanism(CKM_SHA256_RSA_PKCS, None, 0)
    ok("C_SignInit", session, byref(mechanism), key)
    signature, length = (c_ubyte * 256)(), c_ulong(256)
    ok("C_Sign", session, c_char_p(message), c_ulong(len(message)), signature, byref(length))
    return bytes(signature[: length.value])


def verify(modulus, message, signature):
    """RSASSA-PKCS1-v1_5 with SHA-256, by hand: RFC 8017, section 8.2.2."""
    info = bytes.fromhex("3031300d060960864801650304020105000420") + hashlib.sha256(message).digest()
    expected = b"\0\1" + b"\xff" * (253 - len(info)) + b"\0" + info
    assert pow(int.from_bytes(signature, "big"), 65537, modulus).to_bytes(256, "big") == expected, "a wrong signature"
