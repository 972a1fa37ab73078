// What the Node clients share: the parts of a script.
'use strict';

const failed = [];

exports.env = {
  module: process.env.PKCS11_MODULE,
  token: process.env.PKCS11_TOKEN,
  pin: process.env.PKCS11_PIN,
};

/** Runs a part of the script and prints what came of it. */
exports.part = (name, body) => {
  try {
    body();
    console.log(`passed: ${name}`);
  } catch (error) {
    console.error(error);
    console.log(`failed: ${name}`);
    failed.push(name);
  }
};

exports.end = () => process.exit(failed.length ? 1 : 0);
