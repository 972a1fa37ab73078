//! A mechanism's parameter, free of any C representation.

use std::fmt;

use zeroize::Zeroizing;

/// A mechanism's parameter, read from its C structure. That its numbers make sense is checked when
/// a scheme is made of it.
#[derive(Clone, PartialEq, Eq)]
pub enum Parameter {
    /// NULL.
    None,
    /// CK_RSA_PKCS_PSS_PARAMS.
    Pss {
        /// CKM_SHA256 and the like.
        hash: u64,
        /// CKG_MGF1_SHA256 and the like.
        mgf: u64,
        /// Bytes.
        salt_length: u64,
    },
    /// CK_RSA_PKCS_OAEP_PARAMS.
    Oaep {
        /// CKM_SHA256 and the like.
        hash: u64,
        /// CKG_MGF1_SHA256 and the like.
        mgf: u64,
        /// The encoding parameter, mostly empty.
        label: Vec<u8>,
    },
    /// CK_RSA_AES_KEY_WRAP_PARAMS.
    RsaAesKeyWrap {
        /// The size of the ephemeral key.
        aes_bits: u64,
        /// As in [`Parameter::Oaep`].
        hash: u64,
        /// As there.
        mgf: u64,
        /// As there.
        label: Vec<u8>,
    },
    /// Bytes that stand where a structure would: an initialisation vector, the other side's public
    /// value for CKM_DH_PKCS_DERIVE.
    Bytes(Vec<u8>),
    /// CK_AES_CTR_PARAMS.
    Counter {
        /// How many of the last bits count.
        bits: u64,
        /// The first block.
        block: [u8; 16],
    },
    /// CK_GCM_PARAMS, with or without ulIvBits.
    Gcm {
        /// The initialisation vector.
        iv: Vec<u8>,
        /// What is authenticated and not encrypted.
        associated: Vec<u8>,
        /// Of the tag.
        tag_bits: u64,
    },
    /// CK_CCM_PARAMS.
    Ccm {
        /// The length of the text in bytes, without the tag.
        data_length: u64,
        /// The nonce.
        nonce: Vec<u8>,
        /// What is authenticated and not encrypted.
        associated: Vec<u8>,
        /// The length of the tag in bytes.
        mac_length: u64,
    },
    /// CK_MAC_GENERAL_PARAMS, and CK_EXTRACT_PARAMS: a number.
    Number(u64),
    /// CK_EDDSA_PARAMS.
    Eddsa {
        /// phFlag.
        prehashed: bool,
        /// The context.
        context: Vec<u8>,
    },
    /// CK_SIGN_ADDITIONAL_CONTEXT and CK_HASH_SIGN_ADDITIONAL_CONTEXT.
    SignContext {
        /// CKH_HEDGE_PREFERRED and the like.
        hedge: u64,
        /// The context.
        context: Vec<u8>,
        /// CKM_SHA256 and the like, in the second.
        hash: Option<u64>,
    },
    /// CK_ECDH1_DERIVE_PARAMS.
    Ecdh {
        /// CKD_NULL and the like.
        kdf: u64,
        /// What goes into the KDF besides the secret.
        shared: Vec<u8>,
        /// The other side's public key, with or without its OCTET STRING.
        public: Vec<u8>,
    },
    /// CK_HKDF_PARAMS.
    Hkdf {
        /// Do the first step.
        extract: bool,
        /// Do the second step.
        expand: bool,
        /// CKM_SHA256 and the like.
        hash: u64,
        /// For the first step.
        salt: Salt,
        /// For the second step.
        info: Vec<u8>,
    },
    /// CK_SP800_108_KDF_PARAMS.
    CounterMode {
        /// CKM_SHA256_HMAC, CKM_AES_CMAC and the like.
        prf: u64,
        /// What goes into the PRF, in this order.
        fields: Vec<DataField>,
    },
    /// CK_SP800_108_FEEDBACK_KDF_PARAMS.
    FeedbackMode {
        /// As in [`Parameter::CounterMode`].
        prf: u64,
        /// As there.
        fields: Vec<DataField>,
        /// What stands for the block before the first.
        iv: Vec<u8>,
    },
    /// CK_PKCS5_PBKD2_PARAMS2.
    Password {
        /// CKP_PKCS5_PBKD2_HMAC_SHA256 and the like.
        prf: u64,
        /// The salt.
        salt: Vec<u8>,
        /// How often the hash is applied.
        iterations: u64,
        /// The password.
        password: Zeroizing<Vec<u8>>,
    },
    /// CK_KEY_DERIVATION_STRING_DATA.
    StringData(Zeroizing<Vec<u8>>),
    /// CK_KEY_DERIVATION_STRING_DATA or CK_AES_CBC_ENCRYPT_DATA_PARAMS: what the key encrypts.
    Encryption {
        /// With CBC.
        iv: Option<Vec<u8>>,
        /// The data.
        data: Zeroizing<Vec<u8>>,
    },
    /// CK_OBJECT_HANDLE: another key, which the caller finds.
    Key(u64),
    /// CK_TLS12_MASTER_KEY_DERIVE_PARAMS.
    TlsMaster {
        /// CKM_SHA256 and the like.
        hash: u64,
        /// 32 bytes.
        client_random: Vec<u8>,
        /// 32 bytes.
        server_random: Vec<u8>,
    },
    /// CK_TLS12_EXTENDED_MASTER_KEY_DERIVE_PARAMS.
    TlsExtendedMaster {
        /// CKM_SHA256 and the like.
        hash: u64,
        /// The digest of the handshake.
        session_hash: Vec<u8>,
    },
    /// CK_TLS_KDF_PARAMS.
    TlsKdf {
        /// CKM_SHA256 and the like.
        hash: u64,
        /// The label.
        label: Vec<u8>,
        /// 32 bytes.
        client_random: Vec<u8>,
        /// 32 bytes.
        server_random: Vec<u8>,
        /// `None` if there is no context, which differs from an empty one (RFC 5705 section 4).
        context: Option<Vec<u8>>,
    },
    /// CK_TLS12_KEY_MAT_PARAMS, and CK_SSL3_KEY_MAT_PARAMS.
    TlsKeys {
        /// CKM_SHA256 and the like; CKM_TLS_PRF for TLS 1.0.
        hash: u64,
        /// Of each of the keys that authenticate.
        mac_bits: u64,
        /// Of each of the keys that encrypt.
        key_bits: u64,
        /// Of each of the initialisation vectors.
        iv_bits: u64,
        /// 32 bytes.
        client_random: Vec<u8>,
        /// 32 bytes.
        server_random: Vec<u8>,
    },
    /// CK_TLS_PRF_PARAMS.
    TlsPrf {
        /// The seed.
        seed: Vec<u8>,
        /// The label.
        label: Vec<u8>,
        /// How much it is to give, in bytes.
        length: u64,
    },
    /// CK_TLS_MAC_PARAMS.
    TlsMac {
        /// CKM_SHA256 and the like, or CKM_TLS_PRF.
        hash: u64,
        /// Bytes.
        length: u64,
        /// 1: the server's; 2: the client's.
        server_or_client: u64,
    },
    /// CK_VERSION: that of the client, in its first message.
    Version([u8; 2]),
}

/// The salt of HKDF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Salt {
    /// CKF_HKDF_SALT_NULL.
    None,
    /// CKF_HKDF_SALT_DATA.
    Data(Vec<u8>),
    /// CKF_HKDF_SALT_KEY: the handle of a key, which the caller finds.
    Key(u64),
}

/// CK_PRF_DATA_PARAM: a part of what goes into SP 800-108's PRF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataField {
    /// CK_SP800_108_ITERATION_VARIABLE in counter mode, CK_SP800_108_COUNTER in feedback mode.
    Counter {
        /// The least significant byte first.
        little_endian: bool,
        /// 8, 16, 24 or 32.
        bits: u64,
    },
    /// CK_SP800_108_DKM_LENGTH: how much is derived.
    Length {
        /// CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS: what is asked for; else what the PRF gives, in
        /// whole blocks.
        of_keys: bool,
        /// The least significant byte first.
        little_endian: bool,
        /// 8 to 64 in steps of 8.
        bits: u64,
    },
    /// CK_SP800_108_BYTE_ARRAY.
    Bytes(Vec<u8>),
    /// CK_SP800_108_ITERATION_VARIABLE in feedback mode: the block before.
    Before,
}

/// Names only: what is in them may be secret.
impl fmt::Debug for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Pss { .. } => "Pss",
            Self::Oaep { .. } => "Oaep",
            Self::RsaAesKeyWrap { .. } => "RsaAesKeyWrap",
            Self::Bytes(_) => "Bytes",
            Self::Counter { .. } => "Counter",
            Self::Gcm { .. } => "Gcm",
            Self::Ccm { .. } => "Ccm",
            Self::Number(_) => "Number",
            Self::Eddsa { .. } => "Eddsa",
            Self::SignContext { .. } => "SignContext",
            Self::Ecdh { .. } => "Ecdh",
            Self::Hkdf { .. } => "Hkdf",
            Self::CounterMode { .. } => "CounterMode",
            Self::FeedbackMode { .. } => "FeedbackMode",
            Self::Password { .. } => "Password",
            Self::StringData(_) => "StringData",
            Self::Encryption { .. } => "Encryption",
            Self::Key(_) => "Key",
            Self::TlsMaster { .. } => "TlsMaster",
            Self::TlsExtendedMaster { .. } => "TlsExtendedMaster",
            Self::TlsKdf { .. } => "TlsKdf",
            Self::TlsKeys { .. } => "TlsKeys",
            Self::TlsPrf { .. } => "TlsPrf",
            Self::TlsMac { .. } => "TlsMac",
            Self::Version(_) => "Version",
        })
    }
}
