// graphene-pk11: PKCS#11 in objects, over pkcs11js. Node's own OpenSSL is the referee.
'use strict';

const assert = require('node:assert');
const crypto = require('node:crypto');
const graphene = require('graphene-pk11');
const { part, end, env } = require('./parts.js');

const MESSAGE = Buffer.from('signed by graphene');
const module11 = graphene.Module.load(env.module, 'module');
module11.initialize();
const slots = module11.getSlots(true);
const slot = [...Array(slots.length).keys()]
  .map((index) => slots.items(index))
  .find((one) => one.getToken().label.trim() === env.token);
const session = slot.open(graphene.SessionFlag.SERIAL_SESSION | graphene.SessionFlag.RW_SESSION);

part('the slot is described', () => {
  const mechanisms = slot.getMechanisms();
  const names = [...Array(mechanisms.length).keys()].map((index) => mechanisms.items(index).name);
  assert(names.includes('RSA_PKCS') && names.includes('ECDSA'), names);
});

part('a wrong PIN is refused', () => {
  assert.throws(() => session.login(`${env.pin}0`), /PIN_INCORRECT/);
});

session.login(env.pin);

const rsa = session.generateKeyPair(
  graphene.KeyGenMechanism.RSA,
  { keyType: graphene.KeyType.RSA, modulusBits: 2048, publicExponent: Buffer.from([1, 0, 1]), token: true, verify: true, encrypt: true, id: Buffer.from('r') },
  { keyType: graphene.KeyType.RSA, token: true, private: true, sensitive: true, sign: true, decrypt: true, id: Buffer.from('r') },
);
const ec = session.generateKeyPair(
  graphene.KeyGenMechanism.EC,
  { keyType: graphene.KeyType.EC, paramsECDSA: graphene.NamedCurve.getByName('secp256r1').value, token: true, verify: true, id: Buffer.from('e') },
  { keyType: graphene.KeyType.EC, token: true, private: true, sensitive: true, sign: true, derive: true, id: Buffer.from('e') },
);

const rsaAttributes = rsa.publicKey.getAttribute({ modulus: null, publicExponent: null });
const rsaPublic = crypto.createPublicKey({
  format: 'jwk',
  key: {
    kty: 'RSA',
    n: rsaAttributes.modulus.toString('base64url'),
    e: rsaAttributes.publicExponent.toString('base64url'),
  },
});
const { pointEC } = ec.publicKey.getAttribute({ pointEC: null });
const ecPublic = crypto.createPublicKey({
  format: 'jwk',
  key: {
    kty: 'EC',
    crv: 'P-256',
    x: pointEC.subarray(3, 35).toString('base64url'),
    y: pointEC.subarray(35).toString('base64url'),
  },
});

const both = (hash, key, signature) => {
  assert(crypto.verify(hash, MESSAGE, key, signature));
  assert(!crypto.verify(hash, Buffer.from('something else'), key, signature));
};

part('signatures with RSA', () => {
  for (const hash of ['SHA256', 'SHA512']) {
    const signature = session.createSign(`${hash}_RSA_PKCS`, rsa.privateKey).once(MESSAGE);
    both(hash, rsaPublic, signature);
    assert(session.createVerify(`${hash}_RSA_PKCS`, rsa.publicKey).once(MESSAGE, signature));
  }
  const signer = session.createSign('SHA256_RSA_PKCS', rsa.privateKey);
  signer.update(MESSAGE.subarray(0, 5));
  signer.update(MESSAGE.subarray(5));
  both('SHA256', rsaPublic, signer.final());
});

part('signatures with RSA, PSS', () => {
  const params = new graphene.RsaPssParams(graphene.MechanismEnum.SHA256, graphene.RsaMgf.MGF1_SHA256, 32);
  const signature = session.createSign({ name: 'SHA256_RSA_PKCS_PSS', params }, rsa.privateKey).once(MESSAGE);
  const padding = crypto.constants.RSA_PKCS1_PSS_PADDING;
  both('SHA256', { key: rsaPublic, padding, saltLength: 32 }, signature);
});

part('signatures with EC', () => {
  const digest = crypto.createHash('sha256').update(MESSAGE).digest();
  const signature = session.createSign('ECDSA', ec.privateKey).once(digest);
  both('SHA256', { key: ecPublic, dsaEncoding: 'ieee-p1363' }, signature);
});

part('decryption with RSA', () => {
  const params = new graphene.RsaOaepParams(graphene.MechanismEnum.SHA1, graphene.RsaMgf.MGF1_SHA1);
  const secret = crypto.publicEncrypt({ key: rsaPublic, oaepHash: 'sha1' }, MESSAGE);
  const decipher = session.createDecipher({ name: 'RSA_PKCS_OAEP', params }, rsa.privateKey);
  assert.deepStrictEqual(decipher.once(secret, Buffer.alloc(256)), MESSAGE);
});

part('AES with a key of the token', () => {
  const key = session.generateKey(graphene.KeyGenMechanism.AES, {
    keyType: graphene.KeyType.AES,
    valueLen: 32,
    token: true,
    sensitive: true,
    encrypt: true,
    decrypt: true,
  });
  const mechanism = { name: 'AES_CBC_PAD', params: crypto.randomBytes(16) };
  const secret = session.createCipher(mechanism, key).once(MESSAGE, Buffer.alloc(64));
  assert.deepStrictEqual(session.createDecipher(mechanism, key).once(secret, Buffer.alloc(64)), MESSAGE);
  key.destroy();
});

part('digests', () => {
  const digest = session.createDigest('sha256').once(MESSAGE);
  assert.deepStrictEqual(digest, crypto.createHash('sha256').update(MESSAGE).digest());
});

part('objects are found, copied and deleted', () => {
  const found = session.find({ class: graphene.ObjectClass.PRIVATE_KEY, id: Buffer.from('e') });
  assert.strictEqual(found.length, 1);
  const data = session.create({
    class: graphene.ObjectClass.DATA,
    label: 'data',
    value: Buffer.from('some data'),
    token: true,
    private: false,
  });
  const copy = session.copy(data, { label: 'copy' });
  assert.deepStrictEqual(copy.getAttribute({ value: null }).value, Buffer.from('some data'));
  for (const one of [rsa.publicKey, rsa.privateKey, ec.publicKey, ec.privateKey, data, copy]) {
    session.destroy(one);
  }
  assert.strictEqual(session.find({ token: true }).length, 0);
});

session.logout();
session.close();
module11.finalize();
end();
