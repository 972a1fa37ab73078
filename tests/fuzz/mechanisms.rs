//! Mechanisms with the parameters that they take, and with wrong ones.

use std::ptr::null_mut;

use cryptoki_sys::*;
use keyward_token::mechanism::{BlockCipher, Derived, Family, ModeName, REGISTRY, find};

use crate::draw::Draw;

impl Draw<'_> {
    /// CKM_AES_GCM or CKM_AES_CCM with a message's parameter.
    pub fn authenticating(&mut self) -> CK_MECHANISM_PTR {
        self.key_type = Some(CKK_AES);
        let (parameter, length) = self.message();
        let mechanism = self.length_of(&[CKM_AES_GCM, CKM_AES_CCM]);
        self.value(CK_MECHANISM { mechanism, pParameter: parameter.cast(), ulParameterLen: length })
    }

    /// A mechanism with one of these flags, mostly; now and then any number.
    pub fn mechanism(&mut self, flags: CK_FLAGS) -> CK_MECHANISM_PTR {
        let fitting: Vec<_> = REGISTRY.iter().filter(|one| one.flags & flags != 0).collect();
        let (number, family) = match self.rng.below(40) {
            0 => return null_mut(),
            1 => {
                let any = self.rng.number();
                (any, find(any).ok().map(|one| one.family))
            }
            2..5 => {
                let any = &REGISTRY[self.rng.below(REGISTRY.len())];
                (any.number, Some(any.family))
            }
            _ if fitting.is_empty() => (CKM_SHA256, None),
            _ => {
                let one = self.rng.pick(&fitting);
                (one.number, Some(one.family))
            }
        };
        self.key_type = family.and_then(key_type);
        let (parameter, length) = self.parameter(family);
        self.value(CK_MECHANISM {
            mechanism: number,
            pParameter: parameter.cast(),
            ulParameterLen: length,
        })
    }

    fn parameter(&mut self, family: Option<Family>) -> (*mut u8, CK_ULONG) {
        match family {
            Some(Family::RsaPss(_)) => {
                let (hash, mgf) = self.hash_and_mgf();
                let salt = self.length_of(&[20, 32, 48, 64, 0]);
                self.given(CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: salt })
            }
            Some(Family::RsaOaep) => {
                let oaep = self.oaep();
                self.given(oaep)
            }
            Some(Family::RsaAesKeyWrap) => {
                let oaep = self.oaep();
                let inner = if self.rng.once_in(20) { null_mut() } else { self.value(oaep) };
                let bits = self.length_of(&[128, 192, 256]);
                self.given(CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: bits, pOAEPParams: inner })
            }
            Some(Family::Eddsa) => {
                let (context, length) = self.data(8);
                let prehashed = self.byte();
                self.given(CK_EDDSA_PARAMS {
                    phFlag: prehashed,
                    ulContextDataLen: length,
                    pContextData: context,
                })
            }
            Some(Family::MlDsa | Family::HashMlDsa(Some(_))) => {
                let (context, length) = self.data(8);
                let hedge = self.length_of(&[0, 1, 2]);
                self.given(CK_SIGN_ADDITIONAL_CONTEXT {
                    hedgeVariant: hedge,
                    pContext: context,
                    ulContextLen: length,
                })
            }
            Some(Family::HashMlDsa(None)) => {
                let (context, length) = self.data(8);
                let (hash, _) = self.hash_and_mgf();
                let hedge = self.length_of(&[0, 1, 2]);
                self.given(CK_HASH_SIGN_ADDITIONAL_CONTEXT {
                    hedgeVariant: hedge,
                    pContext: context,
                    ulContextLen: length,
                    hash,
                })
            }
            Some(Family::Hmac { general: true, .. } | Family::Cmac { general: true, .. }) => {
                let length = self.length_of(&[4, 8, 16, 20, 32]);
                self.given(length)
            }
            Some(Family::TlsMac) => {
                let (hash, _) = self.hash_and_mgf();
                let (length, side) = (self.length_of(&[12, 12, 32]), self.length_of(&[1, 2]));
                self.given(CK_TLS_MAC_PARAMS {
                    prfHashMechanism: hash,
                    ulMacLength: length,
                    ulServerOrClient: side,
                })
            }
            Some(Family::PasswordGeneration) => {
                let ((salt, salt_length), (password, mut password_length)) =
                    (self.data(16), self.data(10));
                if !password.is_null() && self.rng.once_in(3) {
                    // The structure of v2.40.
                    password_length = self.block(&password_length.to_ne_bytes()) as CK_ULONG;
                }
                let iterations = self.rng.pick(&[1, 2, 1000, 0]);
                let prf = self.length_of(&[CKP_PKCS5_PBKD2_HMAC_SHA256, CKP_PKCS5_PBKD2_HMAC_SHA1]);
                self.given(CK_PKCS5_PBKD2_PARAMS2 {
                    saltSource: CKZ_SALT_SPECIFIED,
                    pSaltSourceData: salt.cast(),
                    ulSaltSourceDataLen: salt_length,
                    iterations,
                    prf,
                    pPrfData: null_mut(),
                    ulPrfDataLen: 0,
                    pPassword: password,
                    ulPasswordLen: password_length,
                })
            }
            Some(Family::PremasterGeneration) => self.given(CK_VERSION { major: 3, minor: 3 }),
            Some(Family::KeyWrap { .. }) => {
                let length = self.rng.pick(&[0, 4, 8]);
                self.data(length)
            }
            Some(Family::Block { mode, .. }) => self.of_block(mode),
            Some(Family::Derivation(derived)) => self.of_derivation(derived),
            _ if self.rng.once_in(10) => self.data(16),
            _ => (null_mut(), 0),
        }
    }

    fn of_block(&mut self, mode: ModeName) -> (*mut u8, CK_ULONG) {
        match mode {
            ModeName::Ecb => (null_mut(), 0),
            ModeName::Cbc | ModeName::CbcPad | ModeName::Feedback(_) => {
                let length = self.rng.pick(&[16, 16, 16, 8]);
                self.data(length)
            }
            ModeName::Ctr => {
                let bits = self.length_of(&[128, 64, 32, 8, 1]);
                let mut counter = CK_AES_CTR_PARAMS { ulCounterBits: bits, cb: [0xff; 16] };
                counter.cb[self.rng.below(16)] = self.byte();
                self.given(counter)
            }
            ModeName::Gcm => {
                let ((iv, iv_length), (aad, aad_length)) = (self.data(12), self.data(20));
                let (iv_bits, tag) = (self.length_of(&[96]), self.length_of(&[128, 96, 64, 32]));
                let gcm = CK_GCM_PARAMS {
                    pIv: iv,
                    ulIvLen: iv_length,
                    ulIvBits: iv_bits,
                    pAAD: aad,
                    ulAADLen: aad_length,
                    ulTagBits: tag,
                };
                if self.rng.once_in(4) {
                    // As v2.30 had it.
                    return self.given([iv as u64, iv_length, aad as u64, aad_length, tag]);
                }
                self.given(gcm)
            }
            ModeName::Ccm => {
                let length = self.rng.pick(&[7, 12, 13]);
                let ((nonce, nonce_length), (aad, aad_length)) = (self.data(length), self.data(20));
                let (data, mac) = (self.length_of(&[32, 40, 16]), self.length_of(&[16, 12, 8, 4]));
                self.given(CK_CCM_PARAMS {
                    ulDataLen: data,
                    pNonce: nonce,
                    ulNonceLen: nonce_length,
                    pAAD: aad,
                    ulAADLen: aad_length,
                    ulMACLen: mac,
                })
            }
        }
    }

    fn of_derivation(&mut self, derived: Derived) -> (*mut u8, CK_ULONG) {
        match derived {
            Derived::Ecdh => {
                let ((shared, shared_length), (public, public_length)) =
                    (self.data(0), self.data(65));
                let kdf = self.length_of(&[CKD_NULL, CKD_SHA1_KDF, CKD_SHA256_KDF]);
                self.given(CK_ECDH1_DERIVE_PARAMS {
                    kdf,
                    ulSharedDataLen: shared_length,
                    pSharedData: shared,
                    ulPublicDataLen: public_length,
                    pPublicData: public,
                })
            }
            Derived::Dh => self.data(256),
            Derived::Hkdf => {
                let ((salt, salt_length), (info, info_length)) = (self.data(16), self.data(10));
                let (hash, _) = self.hash_and_mgf();
                let kind =
                    self.length_of(&[CKF_HKDF_SALT_NULL, CKF_HKDF_SALT_DATA, CKF_HKDF_SALT_KEY]);
                let key = self.object();
                let (extract, expand) = (self.byte(), self.byte());
                self.given(CK_HKDF_PARAMS {
                    bExtract: extract,
                    bExpand: expand,
                    prfHashMechanism: hash,
                    ulSaltType: kind,
                    pSalt: salt,
                    ulSaltLen: salt_length,
                    hSaltKey: key,
                    pInfo: info,
                    ulInfoLen: info_length,
                })
            }
            Derived::CounterMode | Derived::FeedbackMode => {
                self.sp_800_108(derived == Derived::FeedbackMode)
            }
            Derived::BaseAndKey => {
                let key = self.object();
                self.given(key)
            }
            Derived::Extract => {
                let bit = self.length_of(&[0, 8, 127]);
                self.given(bit)
            }
            Derived::Digest(_) | Derived::PublicKey => self.data(0),
            Derived::BaseAndData
            | Derived::DataAndBase
            | Derived::Xor
            | Derived::Encryption { cbc: false, .. } => {
                let (data, length) = self.data(32);
                self.given(CK_KEY_DERIVATION_STRING_DATA { pData: data, ulLen: length })
            }
            Derived::Encryption {
                cbc: true,
                cipher: BlockCipher::TripleDes | BlockCipher::Des,
            } => {
                let (data, length) = self.data(32);
                self.given(CK_DES_CBC_ENCRYPT_DATA_PARAMS { iv: [7; 8], pData: data, length })
            }
            Derived::Encryption { cbc: true, cipher: BlockCipher::Aes } => {
                let (data, length) = self.data(32);
                self.given(CK_AES_CBC_ENCRYPT_DATA_PARAMS { iv: [7; 16], pData: data, length })
            }
            Derived::Tls12Master => {
                let randoms = self.randoms();
                let (hash, _) = self.hash_and_mgf();
                let version = self.place();
                self.given(CK_TLS12_MASTER_KEY_DERIVE_PARAMS {
                    RandomInfo: randoms,
                    pVersion: version,
                    prfHashMechanism: hash,
                })
            }
            Derived::Tls12ExtendedMaster => {
                let (hash, _) = self.hash_and_mgf();
                let (session, length) = self.data(32);
                let version = self.place();
                self.given(CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS {
                    prfHashMechanism: hash,
                    pSessionHash: session,
                    ulSessionHashLen: length,
                    pVersion: version,
                })
            }
            Derived::TlsKdf => {
                let ((label, label_length), (context, context_length)) =
                    (self.data(10), self.data(6));
                let randoms = self.randoms();
                let (hash, _) = self.hash_and_mgf();
                self.given(CK_TLS_KDF_PARAMS {
                    prfMechanism: hash,
                    pLabel: label,
                    ulLabelLength: label_length,
                    RandomInfo: randoms,
                    pContextData: context,
                    ulContextDataLength: context_length,
                })
            }
            Derived::Tls10Master => {
                let randoms = self.randoms();
                let version = self.place();
                self.given(CK_SSL3_MASTER_KEY_DERIVE_PARAMS {
                    RandomInfo: randoms,
                    pVersion: version,
                })
            }
            Derived::TlsKeys { tls12, .. } => self.tls_keys(tls12),
            Derived::TlsPrf => {
                let ((seed, seed_length), (label, label_length)) = (self.data(64), self.data(10));
                // Just as long as is said.
                let length = self.rng.pick(&[12, 48, 1, 0]);
                let (output, length) = (self.room(length), self.value(length as CK_ULONG));
                let absent = self.rng.once_in(20);
                self.given(CK_TLS_PRF_PARAMS {
                    pSeed: seed,
                    ulSeedLen: seed_length,
                    pLabel: label,
                    ulLabelLen: label_length,
                    pOutput: if absent { null_mut() } else { output },
                    pulOutputLen: length,
                })
            }
        }
    }

    fn tls_keys(&mut self, tls12: bool) -> (*mut u8, CK_ULONG) {
        let (mac, key) = (self.length_of(&[256, 160, 0]), self.length_of(&[128, 256, 0]));
        // The host's places are as long as it says.
        let bytes = self.rng.pick(&[16, 4, 0]);
        let (client, server) = (self.room(bytes), self.room(bytes));
        let absent = self.rng.once_in(20);
        let out = self.value(CK_SSL3_KEY_MAT_OUT {
            hClientMacSecret: 0,
            hServerMacSecret: 0,
            hClientKey: 0,
            hServerKey: 0,
            pIVClient: if absent { null_mut() } else { client },
            pIVServer: server,
        });
        let out = if self.rng.once_in(20) { null_mut() } else { out };
        let randoms = self.randoms();
        let export = CK_BBOOL::from(self.rng.once_in(20));
        let (hash, _) = self.hash_and_mgf();
        if !tls12 {
            return self.given(CK_SSL3_KEY_MAT_PARAMS {
                ulMacSizeInBits: mac,
                ulKeySizeInBits: key,
                ulIVSizeInBits: 8 * bytes as CK_ULONG,
                bIsExport: export,
                RandomInfo: randoms,
                pReturnedKeyMaterial: out,
            });
        }
        self.given(CK_TLS12_KEY_MAT_PARAMS {
            ulMacSizeInBits: mac,
            ulKeySizeInBits: key,
            ulIVSizeInBits: 8 * bytes as CK_ULONG,
            bIsExport: export,
            RandomInfo: randoms,
            pReturnedKeyMaterial: out,
            prfHashMechanism: hash,
        })
    }

    fn sp_800_108(&mut self, feeds_back: bool) -> (*mut u8, CK_ULONG) {
        let count = self.rng.below(5);
        let fields: Vec<_> = (0..count).map(|_| self.field()).collect();
        // In a block of their own, as many as are announced.
        let start = self.room(count * size_of::<CK_PRF_DATA_PARAM>()).cast::<CK_PRF_DATA_PARAM>();
        for (index, field) in fields.into_iter().enumerate() {
            // SAFETY: there is room for so many.
            unsafe { start.add(index).write_unaligned(field) };
        }
        let prf = self.length_of(&[CKM_SHA256_HMAC, CKM_SHA_1_HMAC, CKM_AES_CMAC, CKM_SHA512_HMAC]);
        let absent = self.rng.once_in(20);
        let more = CK_ULONG::from(self.rng.once_in(30));
        let fields = if absent { null_mut() } else { start };
        if feeds_back {
            let (iv, iv_length) = self.data(16);
            return self.given(CK_SP800_108_FEEDBACK_KDF_PARAMS {
                prfType: prf,
                ulNumberOfDataParams: count as CK_ULONG,
                pDataParams: fields,
                ulIVLen: iv_length,
                pIV: iv,
                ulAdditionalDerivedKeys: more,
                pAdditionalDerivedKeys: null_mut(),
            });
        }
        self.given(CK_SP800_108_KDF_PARAMS {
            prfType: prf,
            ulNumberOfDataParams: count as CK_ULONG,
            pDataParams: fields,
            ulAdditionalDerivedKeys: more,
            pAdditionalDerivedKeys: null_mut(),
        })
    }

    fn field(&mut self) -> CK_PRF_DATA_PARAM {
        let kind = self.length_of(&[
            CK_SP800_108_ITERATION_VARIABLE,
            CK_SP800_108_COUNTER,
            CK_SP800_108_DKM_LENGTH,
            CK_SP800_108_BYTE_ARRAY,
        ]);
        let bits = self.length_of(&[8, 16, 24, 32]);
        let (value, length) = match kind {
            CK_SP800_108_ITERATION_VARIABLE | CK_SP800_108_COUNTER => {
                let little = self.byte();
                self.given(CK_SP800_108_COUNTER_FORMAT {
                    bLittleEndian: little,
                    ulWidthInBits: bits,
                })
            }
            CK_SP800_108_DKM_LENGTH => {
                let (method, little) = (self.length_of(&[1, 2]), self.byte());
                self.given(CK_SP800_108_DKM_LENGTH_FORMAT {
                    dkmLengthMethod: method,
                    bLittleEndian: little,
                    ulWidthInBits: bits,
                })
            }
            _ => self.data(12),
        };
        CK_PRF_DATA_PARAM { type_: kind, pValue: value.cast(), ulValueLen: length }
    }

    fn randoms(&mut self) -> CK_SSL3_RANDOM_DATA {
        let ((client, client_length), (server, server_length)) = (self.data(32), self.data(32));
        CK_SSL3_RANDOM_DATA {
            pClientRandom: client,
            ulClientRandomLen: client_length,
            pServerRandom: server,
            ulServerRandomLen: server_length,
        }
    }

    fn oaep(&mut self) -> CK_RSA_PKCS_OAEP_PARAMS {
        let (hash, mgf) = self.hash_and_mgf();
        let (label, length) = self.data(0);
        CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: hash,
            mgf,
            source: self.length_of(&[CKZ_DATA_SPECIFIED, 0]),
            pSourceData: label.cast(),
            ulSourceDataLen: length,
        }
    }

    /// CK_GCM_MESSAGE_PARAMS or CK_CCM_MESSAGE_PARAMS. The places for the nonce
    /// and the tag are just as long as the structure says.
    pub fn message(&mut self) -> (*mut u8, CK_ULONG) {
        if self.rng.once_in(20) {
            // Of no structure's size.
            let nonsense = self.rng.pick(&[0, 1, 31, 47, 49, 300]);
            return (self.room(nonsense), nonsense as CK_ULONG);
        }
        let length = self.rng.pick(&[12, 12, 12, 13, 7, 16, 0]);
        let nonce = self.room(length);
        let fixed = self.length_of(&[0, 32, 64]);
        let generator = self.length_of(&[0, 1, 2, 3, 4]);
        if self.rng.below(2) == 0 {
            let (bits, tag) = self.tag(&[128, 96, 32, 120, 64]);
            return self.given(CK_GCM_MESSAGE_PARAMS {
                pIv: nonce,
                ulIvLen: length as CK_ULONG,
                ulIvFixedBits: fixed,
                ivGenerator: generator,
                pTag: tag,
                ulTagBits: bits,
            });
        }
        let (bits, tag) = self.tag(&[128, 96, 32, 64]);
        let data = self.length_of(&[32, 40, 16]);
        self.given(CK_CCM_MESSAGE_PARAMS {
            ulDataLen: data,
            pNonce: nonce,
            ulNonceLen: length as CK_ULONG,
            ulNonceFixedBits: fixed,
            nonceGenerator: generator,
            pMAC: tag,
            ulMACLen: bits / 8,
        })
    }

    fn tag(&mut self, likely: &[CK_ULONG]) -> (CK_ULONG, *mut u8) {
        let bits = self.rng.pick(likely);
        let place = self.room(usize::try_from(bits / 8).unwrap());
        let absent = self.rng.once_in(30);
        (bits, if absent { null_mut() } else { place })
    }

    /// A structure with its size; or too short, too long, or absent. A wrong size is
    /// no multiple of 8: it must not be the size of another structure of the same
    /// place, whose pointers would be anywhere.
    fn given<T: Copy>(&mut self, value: T) -> (*mut u8, CK_ULONG) {
        let size = size_of::<T>();
        match self.rng.below(40) {
            0 => (null_mut(), size as CK_ULONG),
            1 => (null_mut(), 0),
            2 => (self.value(value).cast(), self.rng.below(size / 8) as CK_ULONG * 8 + 1),
            3 => {
                let more = 1 + 8 * self.rng.below(4);
                let slack = self.slack();
                (self.memory.structure(value, more, slack).cast(), (size + more) as CK_ULONG)
            }
            _ => (self.value(value).cast(), size as CK_ULONG),
        }
    }

    fn hash_and_mgf(&mut self) -> (CK_MECHANISM_TYPE, CK_ULONG) {
        let (hash, mgf) = self.rng.pick(&[
            (CKM_SHA256, CKG_MGF1_SHA256),
            (CKM_SHA384, CKG_MGF1_SHA384),
            (CKM_SHA512, CKG_MGF1_SHA512),
            (CKM_SHA_1, CKG_MGF1_SHA1),
        ]);
        match self.rng.below(20) {
            0 => (self.rng.number(), mgf),
            1 => (hash, self.rng.number()),
            2 => (CKM_SHA3_512, CKG_MGF1_SHA1),
            _ => (hash, mgf),
        }
    }

    /// One of these numbers, or any.
    pub fn length_of(&mut self, likely: &[CK_ULONG]) -> CK_ULONG {
        if self.rng.once_in(15) { self.rng.number() } else { self.rng.pick(likely) }
    }

    fn byte(&mut self) -> CK_BBOOL {
        self.rng.pick(&[CK_FALSE, CK_TRUE, CK_TRUE, 0xff])
    }
}

/// The type of the keys that a mechanism takes.
fn key_type(family: Family) -> Option<CK_KEY_TYPE> {
    Some(match family {
        Family::RsaPkcs(_) | Family::RsaPss(_) | Family::RsaOaep | Family::RsaX509 => CKK_RSA,
        Family::RsaAesKeyWrap => CKK_RSA,
        Family::Ecdsa(_) | Family::Derivation(Derived::Ecdh) => CKK_EC,
        Family::Eddsa => CKK_EC_EDWARDS,
        Family::MlDsa | Family::HashMlDsa(_) => CKK_ML_DSA,
        Family::MlKem => CKK_ML_KEM,
        Family::KeyWrap { .. } => CKK_AES,
        Family::Block { cipher, .. }
        | Family::Cmac { cipher, .. }
        | Family::Derivation(Derived::Encryption { cipher, .. }) => match cipher {
            BlockCipher::Aes => CKK_AES,
            BlockCipher::TripleDes => CKK_DES3,
            BlockCipher::Des => CKK_DES,
        },
        Family::Hmac { .. } | Family::TlsMac | Family::Derivation(_) => CKK_GENERIC_SECRET,
        _ => return None,
    })
}
