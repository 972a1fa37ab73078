//! Which attributes objects of a class can have (tables 11 to 45).

use cryptoki_sys::*;
use keyward_wire::{Error, ErrorCode, Result};

use crate::attribute::{self, Attributes, value_invalid};

/// Whether objects of a class can have the attribute.
pub(super) fn only_known(template: &Attributes, class: u64) -> Result<()> {
    for (attribute, _) in template.iter() {
        let common = matches!(
            attribute,
            CKA_CLASS
                | CKA_TOKEN
                | CKA_PRIVATE
                | CKA_LABEL
                | CKA_UNIQUE_ID
                | CKA_MODIFIABLE
                | CKA_COPYABLE
                | CKA_DESTROYABLE
        );
        let key_common = matches!(
            attribute,
            CKA_KEY_TYPE
                | CKA_ID
                | CKA_START_DATE
                | CKA_END_DATE
                | CKA_DERIVE
                | CKA_LOCAL
                | CKA_KEY_GEN_MECHANISM
                | CKA_ALLOWED_MECHANISMS
        );
        let asymmetric = matches!(
            attribute,
            CKA_SUBJECT
                | CKA_PUBLIC_KEY_INFO
                | CKA_MODULUS
                | CKA_PUBLIC_EXPONENT
                | CKA_EC_PARAMS
                | CKA_PARAMETER_SET
                | CKA_PRIME
                | CKA_SUBPRIME
                | CKA_BASE
        );
        let own = match class {
            CKO_DATA => matches!(attribute, CKA_APPLICATION | CKA_OBJECT_ID | CKA_VALUE),
            CKO_CERTIFICATE => matches!(
                attribute,
                CKA_CERTIFICATE_TYPE
                    | CKA_TRUSTED
                    | CKA_CERTIFICATE_CATEGORY
                    | CKA_CHECK_VALUE
                    | CKA_START_DATE
                    | CKA_END_DATE
                    | CKA_PUBLIC_KEY_INFO
                    | CKA_SUBJECT
                    | CKA_ID
                    | CKA_ISSUER
                    | CKA_SERIAL_NUMBER
                    | CKA_VALUE
                    | CKA_URL
                    | CKA_HASH_OF_SUBJECT_PUBLIC_KEY
                    | CKA_HASH_OF_ISSUER_PUBLIC_KEY
                    | CKA_NAME_HASH_ALGORITHM
                    | CKA_JAVA_MIDP_SECURITY_DOMAIN
            ),
            CKO_PUBLIC_KEY => {
                key_common
                    || asymmetric
                    || matches!(
                        attribute,
                        CKA_ENCRYPT
                            | CKA_VERIFY
                            | CKA_VERIFY_RECOVER
                            | CKA_WRAP
                            | CKA_TRUSTED
                            | CKA_WRAP_TEMPLATE
                            | CKA_MODULUS_BITS
                            | CKA_EC_POINT
                            | CKA_VALUE
                            | CKA_ENCAPSULATE
                            | CKA_ENCAPSULATE_TEMPLATE
                    )
            }
            CKO_PRIVATE_KEY => {
                key_common
                    || asymmetric
                    || attribute::is_secret(attribute)
                    || matches!(
                        attribute,
                        CKA_SENSITIVE
                            | CKA_DECRYPT
                            | CKA_SIGN
                            | CKA_SIGN_RECOVER
                            | CKA_UNWRAP
                            | CKA_EXTRACTABLE
                            | CKA_ALWAYS_SENSITIVE
                            | CKA_NEVER_EXTRACTABLE
                            | CKA_WRAP_WITH_TRUSTED
                            | CKA_UNWRAP_TEMPLATE
                            | CKA_DERIVE_TEMPLATE
                            | CKA_DECAPSULATE
                            | CKA_DECAPSULATE_TEMPLATE
                            | CKA_VALUE_BITS
                            | CKA_ALWAYS_AUTHENTICATE
                    )
            }
            CKO_DOMAIN_PARAMETERS => matches!(
                attribute,
                CKA_KEY_TYPE
                    | CKA_LOCAL
                    | CKA_PRIME
                    | CKA_SUBPRIME
                    | CKA_BASE
                    | CKA_PRIME_BITS
                    | CKA_SUBPRIME_BITS
            ),
            CKO_SECRET_KEY => {
                key_common
                    || matches!(
                        attribute,
                        CKA_SENSITIVE
                            | CKA_ENCRYPT
                            | CKA_DECRYPT
                            | CKA_SIGN
                            | CKA_VERIFY
                            | CKA_WRAP
                            | CKA_UNWRAP
                            | CKA_EXTRACTABLE
                            | CKA_ALWAYS_SENSITIVE
                            | CKA_NEVER_EXTRACTABLE
                            | CKA_CHECK_VALUE
                            | CKA_WRAP_WITH_TRUSTED
                            | CKA_TRUSTED
                            | CKA_WRAP_TEMPLATE
                            | CKA_UNWRAP_TEMPLATE
                            | CKA_DERIVE_TEMPLATE
                            | CKA_VALUE
                            | CKA_VALUE_LEN
                    )
            }
            _ => return Err(value_invalid(CKA_CLASS)),
        };
        if !(common || own || attribute >= CKA_VENDOR_DEFINED) {
            return Err(Error::new(
                ErrorCode::AttributeTypeInvalid,
                format!("objects of this class have no {}", attribute::name(attribute)),
            ));
        }
    }
    Ok(())
}
