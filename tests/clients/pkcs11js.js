// pkcs11js: PKCS#11 as it is in C, in JavaScript. Node's own OpenSSL is the referee.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const pkcs11 = require('pkcs11js');
const { part, end, env } = require('./parts.js');

const MESSAGE = Buffer.from('signed by pkcs11js');
const P256 = Buffer.from('06082a8648ce3d030107', 'hex');

const module11 = new pkcs11.PKCS11();
module11.load(env.module);
module11.C_Initialize();
const slot = module11
  .C_GetSlotList(true)
  .find((one) => module11.C_GetTokenInfo(one).label.trim() === env.token);
const session = module11.C_OpenSession(slot, pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION);

const code = (body) => {
  try {
    body();
  } catch (error) {
    return error.code;
  }
  return assert.fail('it was done');
};

part('the library is described', () => {
  assert.strictEqual(module11.C_GetInfo().cryptokiVersion.major, 2);
  assert(module11.C_GetMechanismList(slot).includes(pkcs11.CKM_ECDSA));
  assert(module11.C_GetMechanismInfo(slot, pkcs11.CKM_ECDSA).flags & pkcs11.CKF_SIGN);
});

part('a wrong PIN is refused', () => {
  const why = code(() => module11.C_Login(session, pkcs11.CKU_USER, `${env.pin}0`));
  assert.strictEqual(why, pkcs11.CKR_PIN_INCORRECT);
});

module11.C_Login(session, pkcs11.CKU_USER, env.pin);

const pair = (mechanism, id, more) => {
  const both = [
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_ID, value: Buffer.from([id]) },
  ];
  return module11.C_GenerateKeyPair(
    session,
    { mechanism },
    [...both, { type: pkcs11.CKA_VERIFY, value: true }, ...more],
    [
      ...both,
      { type: pkcs11.CKA_PRIVATE, value: true },
      { type: pkcs11.CKA_SENSITIVE, value: true },
      { type: pkcs11.CKA_SIGN, value: true },
      ...(mechanism === pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN
        ? [{ type: pkcs11.CKA_DECRYPT, value: true }]
        : []),
    ],
  );
};

const get = (object, ...types) =>
  module11
    .C_GetAttributeValue(session, object, types.map((type) => ({ type })))
    .map((entry) => entry.value);

const rsa = pair(pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, 1, [
  { type: pkcs11.CKA_MODULUS_BITS, value: 2048 },
  { type: pkcs11.CKA_PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
]);
const ec = pair(pkcs11.CKM_EC_KEY_PAIR_GEN, 2, [{ type: pkcs11.CKA_EC_PARAMS, value: P256 }]);

const [modulus, exponent] = get(rsa.publicKey, pkcs11.CKA_MODULUS, pkcs11.CKA_PUBLIC_EXPONENT);
const rsaPublic = crypto.createPublicKey({
  format: 'jwk',
  key: { kty: 'RSA', n: modulus.toString('base64url'), e: exponent.toString('base64url') },
});
// An OCTET STRING: two bytes, 4, x, y.
const [point] = get(ec.publicKey, pkcs11.CKA_EC_POINT);
const ecPublic = crypto.createPublicKey({
  format: 'jwk',
  key: {
    kty: 'EC',
    crv: 'P-256',
    x: point.subarray(3, 35).toString('base64url'),
    y: point.subarray(35).toString('base64url'),
  },
});

const sign = (mechanism, key, data) => {
  module11.C_SignInit(session, mechanism, key);
  return module11.C_Sign(session, data, Buffer.alloc(1024));
};

const both = (hash, key, signature) => {
  assert(crypto.verify(hash, MESSAGE, key, signature));
  assert(!crypto.verify(hash, Buffer.from('something else'), key, signature));
};

part('signatures with RSA', () => {
  for (const hash of ['SHA256', 'SHA384', 'SHA512']) {
    const mechanism = { mechanism: pkcs11[`CKM_${hash}_RSA_PKCS`] };
    const signature = sign(mechanism, rsa.privateKey, MESSAGE);
    both(hash, rsaPublic, signature);
    module11.C_VerifyInit(session, mechanism, rsa.publicKey);
    assert(module11.C_Verify(session, MESSAGE, signature));
  }
});

part('signatures with RSA, PSS', () => {
  const parameter = {
    type: pkcs11.CK_PARAMS_RSA_PSS,
    hashAlg: pkcs11.CKM_SHA256,
    mgf: pkcs11.CKG_MGF1_SHA256,
    saltLen: 32,
  };
  const mechanism = { mechanism: pkcs11.CKM_SHA256_RSA_PKCS_PSS, parameter };
  const padding = crypto.constants.RSA_PKCS1_PSS_PADDING;
  both('SHA256', { key: rsaPublic, padding, saltLength: 32 }, sign(mechanism, rsa.privateKey, MESSAGE));
});

part('signatures with EC', () => {
  const digest = crypto.createHash('sha256').update(MESSAGE).digest();
  const signature = sign({ mechanism: pkcs11.CKM_ECDSA }, ec.privateKey, digest);
  both('SHA256', { key: ecPublic, dsaEncoding: 'ieee-p1363' }, signature);
});

part('signatures in parts', () => {
  module11.C_SignInit(session, { mechanism: pkcs11.CKM_SHA256_RSA_PKCS }, rsa.privateKey);
  module11.C_SignUpdate(session, MESSAGE.subarray(0, 6));
  module11.C_SignUpdate(session, MESSAGE.subarray(6));
  both('SHA256', rsaPublic, module11.C_SignFinal(session, Buffer.alloc(256)));
});

part('decryption with RSA', () => {
  const oaep = {
    type: pkcs11.CK_PARAMS_RSA_OAEP,
    hashAlg: pkcs11.CKM_SHA_1,
    mgf: pkcs11.CKG_MGF1_SHA1,
    // CKZ_DATA_SPECIFIED
    source: 1,
  };
  for (const [mechanism, padding] of [
    [{ mechanism: pkcs11.CKM_RSA_PKCS }, crypto.constants.RSA_PKCS1_PADDING],
    [{ mechanism: pkcs11.CKM_RSA_PKCS_OAEP, parameter: oaep }, crypto.constants.RSA_PKCS1_OAEP_PADDING],
  ]) {
    const secret = crypto.publicEncrypt({ key: rsaPublic, padding }, MESSAGE);
    module11.C_DecryptInit(session, mechanism, rsa.privateKey);
    assert.deepStrictEqual(module11.C_Decrypt(session, secret, Buffer.alloc(256)), MESSAGE);
  }
});

part('AES that OpenSSL can read', () => {
  const [value, iv] = [crypto.randomBytes(32), crypto.randomBytes(16)];
  const key = module11.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
    { type: pkcs11.CKA_VALUE, value },
    { type: pkcs11.CKA_ENCRYPT, value: true },
    { type: pkcs11.CKA_DECRYPT, value: true },
  ]);
  const mechanism = { mechanism: pkcs11.CKM_AES_CBC_PAD, parameter: iv };
  module11.C_EncryptInit(session, mechanism, key);
  const secret = module11.C_Encrypt(session, MESSAGE, Buffer.alloc(64));
  const cipher = crypto.createCipheriv('aes-256-cbc', value, iv);
  assert.deepStrictEqual(secret, Buffer.concat([cipher.update(MESSAGE), cipher.final()]));
  module11.C_DecryptInit(session, mechanism, key);
  assert.deepStrictEqual(module11.C_Decrypt(session, secret, Buffer.alloc(64)), MESSAGE);
});

part('GCM that OpenSSL can read', () => {
  const [value, iv, aad] = [crypto.randomBytes(16), crypto.randomBytes(12), Buffer.from('and this')];
  const key = module11.C_CreateObject(session, [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_KEY_TYPE, value: pkcs11.CKK_AES },
    { type: pkcs11.CKA_VALUE, value },
    { type: pkcs11.CKA_ENCRYPT, value: true },
  ]);
  const parameter = { type: pkcs11.CK_PARAMS_AES_GCM_v240, iv, ivBits: 96, aad, tagBits: 128 };
  module11.C_EncryptInit(session, { mechanism: pkcs11.CKM_AES_GCM, parameter }, key);
  const secret = module11.C_Encrypt(session, MESSAGE, Buffer.alloc(64));
  const decipher = crypto.createDecipheriv('aes-128-gcm', value, iv);
  decipher.setAAD(aad);
  decipher.setAuthTag(secret.subarray(-16));
  const plain = Buffer.concat([decipher.update(secret.subarray(0, -16)), decipher.final()]);
  assert.deepStrictEqual(plain, MESSAGE);
});

part('digests', () => {
  module11.C_DigestInit(session, { mechanism: pkcs11.CKM_SHA512 });
  const digest = module11.C_Digest(session, MESSAGE, Buffer.alloc(64));
  assert.deepStrictEqual(digest, crypto.createHash('sha512').update(MESSAGE).digest());
});

part('what is secret stays there', () => {
  const why = code(() => get(rsa.privateKey, pkcs11.CKA_PRIVATE_EXPONENT));
  assert.strictEqual(why, pkcs11.CKR_ATTRIBUTE_SENSITIVE);
});

part('objects are found and deleted', () => {
  const count = () => {
    module11.C_FindObjectsInit(session, [{ type: pkcs11.CKA_TOKEN, value: true }]);
    const found = module11.C_FindObjects(session, 100);
    module11.C_FindObjectsFinal(session);
    return found.length;
  };
  assert.strictEqual(count(), 4);
  for (const key of [rsa.publicKey, rsa.privateKey, ec.publicKey, ec.privateKey]) {
    module11.C_DestroyObject(session, key);
  }
  assert.strictEqual(count(), 0);
});

module11.C_Logout(session);
module11.C_CloseSession(session);
module11.C_Finalize();
end();
