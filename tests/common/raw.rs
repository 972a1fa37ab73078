//! The C interface as a host in C sees it: the function list and nothing over
//! it. `Err` holds the return value.

use std::path::Path;
use std::ptr::null_mut;

use cryptoki_sys::*;
use libloading::Library;

/// DER of the object identifiers of the curves: CKA_EC_PARAMS.
pub const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
pub const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

pub type Rv<T = ()> = Result<T, CK_RV>;

/// Calls a function of the list: `call!(module, C_Sign(a, b))` is its CK_RV.
macro_rules! call {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let function = $module.list().$name.expect(stringify!($name));
        // SAFETY: the tests hand over what the standard asks for, or null.
        unsafe { function($($argument),*) }
    }};
}

/// Calls a function of v3, from the list of v3.2.
#[allow(unused_macros, reason = "each test file uses a part of this")]
macro_rules! call3 {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {{
        let function = $module.list_3_2().$name.expect(stringify!($name));
        // SAFETY: as above.
        unsafe { function($($argument),*) }
    }};
}

#[allow(unused_imports, reason = "each test file uses a part of this")]
pub(crate) use {call, call3};

/// A module that was loaded.
pub struct Module {
    list: *const CK_FUNCTION_LIST,
    loaded: Library,
}

// SAFETY: the list is constant and lives as long as the library.
unsafe impl Send for Module {}
// SAFETY: as above; the functions may be called from any thread.
unsafe impl Sync for Module {}

/// CKR_OK or the return value.
pub fn ok(rv: CK_RV) -> Rv {
    if rv == CKR_OK { Ok(()) } else { Err(rv) }
}

/// A template that owns its values.
#[derive(Default)]
pub struct Template {
    entries: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)>,
}

impl Template {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn bytes(mut self, attribute: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Self {
        self.entries.push((attribute, value.to_vec()));
        self
    }

    pub fn number(self, attribute: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Self {
        self.bytes(attribute, &value.to_ne_bytes())
    }

    pub fn flag(self, attribute: CK_ATTRIBUTE_TYPE, value: bool) -> Self {
        self.bytes(attribute, &[CK_BBOOL::from(value)])
    }

    /// An attribute whose value is a template, which has to live as long as this one.
    pub fn templates(self, attribute: CK_ATTRIBUTE_TYPE, inner: &mut Template) -> Self {
        let array = inner.array();
        let length = size_of_val(array.as_slice());
        // SAFETY: an array of C structures is that many bytes, padding excepted, of which
        // CK_ATTRIBUTE has none.
        let bytes = unsafe { std::slice::from_raw_parts(array.as_ptr().cast(), length) };
        self.bytes(attribute, bytes)
    }

    /// The array that C functions take; valid as long as the template.
    pub fn array(&mut self) -> Vec<CK_ATTRIBUTE> {
        self.entries
            .iter_mut()
            .map(|(attribute, value)| CK_ATTRIBUTE {
                type_: *attribute,
                pValue: value.as_mut_ptr().cast(),
                ulValueLen: value.len() as CK_ULONG,
            })
            .collect()
    }
}

/// A mechanism with a structure, or bytes, as its parameter. It has to live as long as that.
pub fn mechanism_with<T: ?Sized>(number: CK_MECHANISM_TYPE, parameter: &mut T) -> CK_MECHANISM {
    CK_MECHANISM {
        mechanism: number,
        ulParameterLen: size_of_val(parameter) as CK_ULONG,
        pParameter: std::ptr::from_mut(parameter).cast(),
    }
}

/// A mechanism without a parameter.
pub fn mechanism(number: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: number, pParameter: null_mut(), ulParameterLen: 0 }
}

impl Module {
    /// Loads a module; it is not initialised yet.
    pub fn load(path: &Path) -> Self {
        // SAFETY: modules run nothing that matters when they are loaded.
        let library = unsafe { Library::new(path) }.unwrap();
        let mut list = null_mut();
        // SAFETY: the prototype is the standard's.
        let rv = unsafe {
            let function = library
                .get::<unsafe extern "C" fn(CK_FUNCTION_LIST_PTR_PTR) -> CK_RV>(
                    b"C_GetFunctionList",
                )
                .unwrap();
            function(&raw mut list)
        };
        assert_eq!(rv, CKR_OK);
        Self { list, loaded: library }
    }

    /// The module under test, initialised.
    pub fn initialized() -> Self {
        let module = Self::load(&super::module());
        assert_eq!(module.initialize(), CKR_OK);
        module
    }

    pub fn list(&self) -> &CK_FUNCTION_LIST {
        // SAFETY: C_GetFunctionList gave it.
        unsafe { &*self.list }
    }

    /// The address of an exported function.
    pub fn address(&self, name: &str) -> *const () {
        // SAFETY: the symbol is only looked up.
        let found = unsafe { self.loaded.get::<*const ()>(name.as_bytes()) };
        *found.unwrap_or_else(|_| panic!("{name} is not exported"))
    }

    pub fn list_3_2(&self) -> &CK_FUNCTION_LIST_3_2 {
        type Function = unsafe extern "C" fn(
            CK_UTF8CHAR_PTR,
            CK_VERSION_PTR,
            CK_INTERFACE_PTR_PTR,
            CK_FLAGS,
        ) -> CK_RV;
        let mut version = CK_VERSION { major: 3, minor: 2 };
        let mut interface = null_mut();
        // SAFETY: the prototype is the standard's, and so is the list's type.
        unsafe {
            let function = self.loaded.get::<Function>(b"C_GetInterface").unwrap();
            let name = c"PKCS 11".as_ptr().cast_mut().cast();
            assert_eq!(function(name, &raw mut version, &raw mut interface, 0), CKR_OK);
            &*(*interface).pFunctionList.cast()
        }
    }

    /// C_Initialize as hosts with threads call it.
    pub fn initialize(&self) -> CK_RV {
        let mut arguments = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: null_mut(),
        };
        call!(self, C_Initialize((&raw mut arguments).cast()))
    }

    pub fn finalize(&self) -> CK_RV {
        call!(self, C_Finalize(null_mut()))
    }

    pub fn slots(&self) -> Rv<Vec<CK_SLOT_ID>> {
        let mut slots = [0; 64];
        let mut count = slots.len() as CK_ULONG;
        ok(call!(self, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count)))?;
        Ok(slots[..count as usize].to_vec())
    }

    pub fn open(&self, slot: CK_SLOT_ID, flags: CK_FLAGS) -> Rv<CK_SESSION_HANDLE> {
        let mut session = 0;
        let flags = flags | CKF_SERIAL_SESSION;
        ok(call!(self, C_OpenSession(slot, flags, null_mut(), None, &raw mut session)))?;
        Ok(session)
    }

    /// A read-write session in slot 0 with the user logged in.
    pub fn user(&self) -> CK_SESSION_HANDLE {
        let session = self.open(0, CKF_RW_SESSION).unwrap();
        match self.login(session, super::PIN) {
            Ok(()) | Err(CKR_USER_ALREADY_LOGGED_IN) => session,
            Err(rv) => panic!("C_Login: {rv:#x}"),
        }
    }

    pub fn login(&self, session: CK_SESSION_HANDLE, pin: &str) -> Rv {
        self.login_as(session, CKU_USER, pin)
    }

    pub fn login_as(&self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &str) -> Rv {
        let length = pin.len() as CK_ULONG;
        ok(call!(self, C_Login(session, user, pin.as_ptr().cast_mut(), length)))
    }

    pub fn create(
        &self,
        session: CK_SESSION_HANDLE,
        mut template: Template,
    ) -> Rv<CK_OBJECT_HANDLE> {
        let mut array = template.array();
        let mut handle = 0;
        let count = array.len() as CK_ULONG;
        ok(call!(self, C_CreateObject(session, array.as_mut_ptr(), count, &raw mut handle)))?;
        Ok(handle)
    }

    pub fn copy(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        mut template: Template,
    ) -> Rv<CK_OBJECT_HANDLE> {
        let mut array = template.array();
        let mut handle = 0;
        let count = array.len() as CK_ULONG;
        ok(call!(self, C_CopyObject(session, object, array.as_mut_ptr(), count, &raw mut handle)))?;
        Ok(handle)
    }

    pub fn set(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        mut template: Template,
    ) -> Rv {
        let mut array = template.array();
        let count = array.len() as CK_ULONG;
        ok(call!(self, C_SetAttributeValue(session, object, array.as_mut_ptr(), count)))
    }

    /// One attribute's value.
    pub fn get(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attribute: CK_ATTRIBUTE_TYPE,
    ) -> Rv<Vec<u8>> {
        let mut entry = CK_ATTRIBUTE { type_: attribute, pValue: null_mut(), ulValueLen: 0 };
        ok(call!(self, C_GetAttributeValue(session, object, &raw mut entry, 1)))?;
        let mut value = vec![0; entry.ulValueLen as usize];
        entry.pValue = value.as_mut_ptr().cast();
        ok(call!(self, C_GetAttributeValue(session, object, &raw mut entry, 1)))?;
        value.truncate(entry.ulValueLen as usize);
        Ok(value)
    }

    pub fn find(
        &self,
        session: CK_SESSION_HANDLE,
        mut template: Template,
    ) -> Rv<Vec<CK_OBJECT_HANDLE>> {
        let mut array = template.array();
        let count = array.len() as CK_ULONG;
        ok(call!(self, C_FindObjectsInit(session, array.as_mut_ptr(), count)))?;
        let mut found = Vec::new();
        loop {
            let mut page = [0; 16];
            let mut count = 0;
            ok(call!(self, C_FindObjects(session, page.as_mut_ptr(), 16, &raw mut count)))?;
            if count == 0 {
                break;
            }
            found.extend_from_slice(&page[..count as usize]);
        }
        ok(call!(self, C_FindObjectsFinal(session)))?;
        Ok(found)
    }

    pub fn destroy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Rv {
        ok(call!(self, C_DestroyObject(session, object)))
    }

    /// The mechanisms of a token.
    pub fn mechanisms(&self, slot: CK_SLOT_ID) -> Rv<Vec<CK_MECHANISM_TYPE>> {
        let mut count = 0;
        ok(call!(self, C_GetMechanismList(slot, null_mut(), &raw mut count)))?;
        let mut list = vec![0; count as usize];
        ok(call!(self, C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut count)))?;
        list.truncate(count as usize);
        Ok(list)
    }

    /// A secret key.
    pub fn generate_key(
        &self,
        session: CK_SESSION_HANDLE,
        number: CK_MECHANISM_TYPE,
        mut template: Template,
    ) -> Rv<CK_OBJECT_HANDLE> {
        let mut mechanism = mechanism(number);
        let mut array = template.array();
        let (count, mut key) = (array.len() as CK_ULONG, 0);
        let array = array.as_mut_ptr();
        ok(call!(self, C_GenerateKey(session, &raw mut mechanism, array, count, &raw mut key)))?;
        Ok(key)
    }

    /// Whole blocks by CKM_AES_CBC.
    pub fn encrypt_cbc(
        &self,
        session: CK_SESSION_HANDLE,
        key: CK_OBJECT_HANDLE,
        iv: &[u8; 16],
        data: &[u8],
    ) -> Rv<Vec<u8>> {
        let mut iv = *iv;
        let mut mechanism = mechanism_with(CKM_AES_CBC, &mut iv);
        ok(call!(self, C_EncryptInit(session, &raw mut mechanism, key)))?;
        let mut encrypted = vec![0; data.len()];
        let mut length = encrypted.len() as CK_ULONG;
        ok(call!(
            self,
            C_Encrypt(
                session,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                encrypted.as_mut_ptr(),
                &raw mut length,
            )
        ))?;
        Ok(encrypted)
    }

    /// A key pair: public, private.
    pub fn generate(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism_number: CK_MECHANISM_TYPE,
        mut public: Template,
        mut private: Template,
    ) -> Rv<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let mut mechanism = mechanism(mechanism_number);
        let (mut public, mut private) = (public.array(), private.array());
        let (mut public_handle, mut private_handle) = (0, 0);
        ok(call!(
            self,
            C_GenerateKeyPair(
                session,
                &raw mut mechanism,
                public.as_mut_ptr(),
                public.len() as CK_ULONG,
                private.as_mut_ptr(),
                private.len() as CK_ULONG,
                &raw mut public_handle,
                &raw mut private_handle,
            )
        ))?;
        Ok((public_handle, private_handle))
    }

    /// An EC key pair of the session or, with `token`, of the token.
    pub fn generate_ec(
        &self,
        session: CK_SESSION_HANDLE,
        curve: &[u8],
        token: bool,
    ) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        let public = Template::new()
            .bytes(CKA_EC_PARAMS, curve)
            .flag(CKA_TOKEN, token)
            .flag(CKA_VERIFY, true);
        let private = Template::new()
            .flag(CKA_TOKEN, token)
            .flag(CKA_PRIVATE, true)
            .flag(CKA_SENSITIVE, true)
            .flag(CKA_SIGN, true);
        self.generate(session, CKM_EC_KEY_PAIR_GEN, public, private).unwrap()
    }

    /// An RSA-2048 key pair of the session or, with `token`, of the token.
    pub fn generate_rsa(
        &self,
        session: CK_SESSION_HANDLE,
        token: bool,
    ) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        let public = Template::new()
            .number(CKA_MODULUS_BITS, 2048)
            .bytes(CKA_PUBLIC_EXPONENT, &[1, 0, 1])
            .flag(CKA_TOKEN, token)
            .flag(CKA_ENCRYPT, true)
            .flag(CKA_VERIFY, true);
        let private = Template::new()
            .flag(CKA_TOKEN, token)
            .flag(CKA_PRIVATE, true)
            .flag(CKA_SENSITIVE, true)
            .flag(CKA_DECRYPT, true)
            .flag(CKA_SIGN, true);
        self.generate(session, CKM_RSA_PKCS_KEY_PAIR_GEN, public, private).unwrap()
    }

    /// C_WrapKey, asked for the length first and then with a buffer that is too short.
    pub fn wrap(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Rv<Vec<u8>> {
        let m = std::ptr::from_mut(mechanism);
        asked_three_times(|buffer, length| {
            call!(self, C_WrapKey(session, m, wrapping, key, buffer, length))
        })
    }

    /// C_WrapKeyAuthenticated, likewise.
    pub fn wrap_authenticated(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        (wrapping, key): (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
        associated: &[u8],
    ) -> Rv<Vec<u8>> {
        let m = std::ptr::from_mut(mechanism);
        let (aad, more) = (associated.as_ptr().cast_mut(), associated.len() as CK_ULONG);
        asked_three_times(|buffer, length| {
            call3!(
                self,
                C_WrapKeyAuthenticated(session, m, wrapping, key, aad, more, buffer, length)
            )
        })
    }

    /// C_UnwrapKey, or C_UnwrapKeyAuthenticated where something is associated.
    pub fn unwrap_with(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        unwrapping: CK_OBJECT_HANDLE,
        (wrapped, associated): (&[u8], Option<&[u8]>),
        mut template: Template,
    ) -> Rv<CK_OBJECT_HANDLE> {
        let m = std::ptr::from_mut(mechanism);
        let (from, length) = (wrapped.as_ptr().cast_mut(), wrapped.len() as CK_ULONG);
        let mut array = template.array();
        let (attributes, count) = (array.as_mut_ptr(), array.len() as CK_ULONG);
        let mut key = 0;
        let k = &raw mut key;
        ok(match associated {
            None => {
                call!(self, C_UnwrapKey(session, m, unwrapping, from, length, attributes, count, k))
            }
            Some(associated) => {
                let (aad, more) = (associated.as_ptr().cast_mut(), associated.len() as CK_ULONG);
                call3!(
                    self,
                    C_UnwrapKeyAuthenticated(
                        session, m, unwrapping, from, length, attributes, count, aad, more, k
                    )
                )
            }
        })?;
        Ok(key)
    }

    pub fn unwrap(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: Template,
    ) -> Rv<CK_OBJECT_HANDLE> {
        self.unwrap_with(session, mechanism, unwrapping, (wrapped, None), template)
    }

    pub fn derive(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        base: CK_OBJECT_HANDLE,
        mut template: Template,
    ) -> Rv<CK_OBJECT_HANDLE> {
        let mut array = template.array();
        let (count, mut key) = (array.len() as CK_ULONG, 0);
        let (m, array) = (std::ptr::from_mut(mechanism), array.as_mut_ptr());
        ok(call!(self, C_DeriveKey(session, m, base, array, count, &raw mut key)))?;
        Ok(key)
    }

    pub fn sign_init(
        &self,
        session: CK_SESSION_HANDLE,
        number: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
    ) -> Rv {
        let mut mechanism = mechanism(number);
        ok(call!(self, C_SignInit(session, &raw mut mechanism, key)))
    }

    /// Signs by a mechanism with its parameter.
    pub fn sign_by(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Rv<Vec<u8>> {
        ok(call!(self, C_SignInit(session, std::ptr::from_mut(mechanism), key)))?;
        self.sign(session, data)
    }

    pub fn sign(&self, session: CK_SESSION_HANDLE, data: &[u8]) -> Rv<Vec<u8>> {
        let mut signature = vec![0; 1024];
        let mut length = signature.len() as CK_ULONG;
        ok(call!(
            self,
            C_Sign(
                session,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                signature.as_mut_ptr(),
                &raw mut length,
            )
        ))?;
        signature.truncate(length as usize);
        Ok(signature)
    }

    pub fn sign_with(
        &self,
        session: CK_SESSION_HANDLE,
        number: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Rv<Vec<u8>> {
        self.sign_init(session, number, key)?;
        self.sign(session, data)
    }

    pub fn verify_with(
        &self,
        session: CK_SESSION_HANDLE,
        number: CK_MECHANISM_TYPE,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> Rv {
        self.verify_by(session, &mut mechanism(number), key, data, signature)
    }

    /// Verifies by a mechanism with its parameter.
    pub fn verify_by(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &mut CK_MECHANISM,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> Rv {
        ok(call!(self, C_VerifyInit(session, std::ptr::from_mut(mechanism), key)))?;
        ok(call!(
            self,
            C_Verify(
                session,
                data.as_ptr().cast_mut(),
                data.len() as CK_ULONG,
                signature.as_ptr().cast_mut(),
                signature.len() as CK_ULONG,
            )
        ))
    }
}

/// What a function gives that is asked for the length first, then with a buffer that is too
/// short, and then for all of it.
fn asked_three_times(once: impl Fn(CK_BYTE_PTR, CK_ULONG_PTR) -> CK_RV) -> Rv<Vec<u8>> {
    let mut needed = 0;
    ok(once(null_mut(), &raw mut needed))?;
    let mut given = vec![0; needed as usize];
    let mut length = needed - 1;
    assert_eq!(once(given.as_mut_ptr(), &raw mut length), CKR_BUFFER_TOO_SMALL);
    assert_eq!(length, needed);
    ok(once(given.as_mut_ptr(), &raw mut length))?;
    assert_eq!(length, needed);
    Ok(given)
}
