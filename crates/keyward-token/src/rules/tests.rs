use super::*;

mod kinds;

fn template(pairs: &[(u64, Value)]) -> Attributes {
    Attributes::from_pairs(pairs.iter().cloned()).unwrap()
}

fn bytes(value: &[u8]) -> Value {
    Value::Bytes(value.to_vec())
}

const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];

fn pair(private: &[(u64, Value)]) -> (Object, Object) {
    generate_key_pair(
        CKM_EC_KEY_PAIR_GEN,
        template(&[(CKA_EC_PARAMS, bytes(P256))]),
        template(private),
    )
    .unwrap()
}

/// By the user, as everything here that does not say otherwise.
fn create(template: Attributes) -> Result<Object> {
    super::create(template, Author::User)
}

fn change(object: &Object, template: &Attributes) -> Result<Object> {
    super::change(object, template, Author::User)
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.unwrap_err().code
}

#[test]
fn a_generated_private_key_is_private_sensitive_and_not_extractable_by_default() {
    let (public, private) = pair(&[]);
    for (attribute, expected) in [
        (CKA_PRIVATE, true),
        (CKA_SENSITIVE, true),
        (CKA_EXTRACTABLE, false),
        (CKA_ALWAYS_SENSITIVE, true),
        (CKA_NEVER_EXTRACTABLE, true),
        (CKA_LOCAL, true),
        (CKA_TOKEN, false),
        (CKA_SIGN, true),
        (CKA_ALWAYS_AUTHENTICATE, false),
    ] {
        assert_eq!(private.attributes().boolean(attribute), Some(expected), "{attribute:#x}");
    }
    assert!(!public.is_private());
    assert_eq!(code(private.read(CKA_VALUE)), ErrorCode::AttributeSensitive);
    assert!(private.visible().value(CKA_VALUE).is_none());
    assert_eq!(
        public.attributes().bytes(CKA_PUBLIC_KEY_INFO),
        private.attributes().bytes(CKA_PUBLIC_KEY_INFO)
    );
}

#[test]
fn a_key_that_the_template_leaves_readable_is_readable() {
    let (_, private) = pair(&[(CKA_SENSITIVE, false.into()), (CKA_EXTRACTABLE, true.into())]);
    assert!(private.read(CKA_VALUE).is_ok());
    assert!(!private.attributes().is_true(CKA_ALWAYS_SENSITIVE));
}

#[test]
fn an_imported_key_is_opaque_by_default_and_not_local() {
    let (_, made) = pair(&[(CKA_SENSITIVE, false.into()), (CKA_EXTRACTABLE, true.into())]);
    let imported = create(template(&[
        (CKA_CLASS, CKO_PRIVATE_KEY.into()),
        (CKA_KEY_TYPE, CKK_EC.into()),
        (CKA_TOKEN, true.into()),
        (CKA_ID, bytes(b"alias")),
        (CKA_EC_PARAMS, bytes(P256)),
        (CKA_VALUE, made.read(CKA_VALUE).unwrap().clone()),
    ]))
    .unwrap();
    assert!(imported.is_sensitive());
    assert!(imported.attributes().is_true(CKA_SIGN));
    assert!(!imported.attributes().is_true(CKA_LOCAL));
    assert!(!imported.attributes().is_true(CKA_ALWAYS_SENSITIVE));
    assert_eq!(imported.attributes().number(CKA_KEY_GEN_MECHANISM), Some(UNAVAILABLE));
}

#[test]
fn templates_that_cannot_be_are_refused_with_the_standards_code() {
    for (pairs, expected) in [
        (vec![], ErrorCode::TemplateIncomplete),
        (vec![(CKA_CLASS, 0x77_u64.into())], ErrorCode::AttributeValueInvalid),
        (
            vec![(CKA_CLASS, CKO_CERTIFICATE.into()), (CKA_CERTIFICATE_TYPE, CKC_X_509.into())],
            ErrorCode::TemplateIncomplete,
        ),
        (
            vec![
                (CKA_CLASS, CKO_CERTIFICATE.into()),
                (CKA_CERTIFICATE_TYPE, CKC_X_509.into()),
                (CKA_VALUE, bytes(b"no certificate")),
            ],
            ErrorCode::AttributeValueInvalid,
        ),
        (
            vec![(CKA_CLASS, CKO_DATA.into()), (CKA_MODULUS, bytes(&[1]))],
            ErrorCode::AttributeTypeInvalid,
        ),
        (
            vec![(CKA_CLASS, CKO_DATA.into()), (CKA_UNIQUE_ID, bytes(b"mine"))],
            ErrorCode::AttributeReadOnly,
        ),
        (
            vec![
                (CKA_CLASS, CKO_PRIVATE_KEY.into()),
                (CKA_KEY_TYPE, CKK_EC.into()),
                (CKA_EC_PARAMS, bytes(P256)),
            ],
            ErrorCode::TemplateIncomplete,
        ),
        (
            vec![
                (CKA_CLASS, CKO_PRIVATE_KEY.into()),
                (CKA_KEY_TYPE, CKK_EC.into()),
                (CKA_EC_PARAMS, bytes(P256)),
                (CKA_VALUE, bytes(&[0; 32])),
            ],
            ErrorCode::AttributeValueInvalid,
        ),
        (
            vec![
                (CKA_CLASS, CKO_PUBLIC_KEY.into()),
                (CKA_KEY_TYPE, CKK_EC.into()),
                (CKA_EC_PARAMS, bytes(&[0x06, 0x03, 1, 2, 3])),
                (CKA_EC_POINT, bytes(&[4; 65])),
            ],
            ErrorCode::CurveNotSupported,
        ),
    ] {
        assert_eq!(code(create(template(&pairs))), expected, "{pairs:?}");
    }
}

#[test]
fn sensitive_and_extractable_change_in_one_direction_only() {
    let (_, open) = pair(&[(CKA_SENSITIVE, false.into()), (CKA_EXTRACTABLE, true.into())]);
    let closed =
        change(&open, &template(&[(CKA_SENSITIVE, true.into()), (CKA_EXTRACTABLE, false.into())]))
            .unwrap();
    assert!(closed.is_sensitive());
    for attempt in [(CKA_SENSITIVE, false.into()), (CKA_EXTRACTABLE, true.into())] {
        assert_eq!(
            code(change(&closed, &template(std::slice::from_ref(&attempt)))),
            ErrorCode::AttributeReadOnly
        );
        assert_eq!(code(copy(&closed, &template(&[attempt]))), ErrorCode::AttributeReadOnly);
    }
}

#[test]
fn what_makes_a_key_the_key_it_is_cannot_be_changed() {
    let (public, private) = pair(&[]);
    for attribute in [CKA_EC_PARAMS, CKA_PUBLIC_KEY_INFO] {
        let attempt = template(&[(attribute, bytes(&[1]))]);
        assert_eq!(code(change(&public, &attempt)), ErrorCode::AttributeReadOnly);
        assert_eq!(code(copy(&private, &attempt)), ErrorCode::AttributeReadOnly);
    }
    let token = template(&[(CKA_TOKEN, true.into())]);
    assert_eq!(code(change(&private, &token)), ErrorCode::AttributeReadOnly);
    assert!(copy(&private, &token).unwrap().is_token_object());
}

#[test]
fn unmodifiable_uncopyable_and_undestroyable_objects_stay_as_they_are() {
    let (_, private) = pair(&[
        (CKA_MODIFIABLE, false.into()),
        (CKA_COPYABLE, false.into()),
        (CKA_DESTROYABLE, false.into()),
    ]);
    let label = template(&[(CKA_LABEL, bytes(b"new"))]);
    assert_eq!(code(change(&private, &label)), ErrorCode::ActionProhibited);
    assert_eq!(code(copy(&private, &label)), ErrorCode::ActionProhibited);
    assert_eq!(code(may_destroy(&private)), ErrorCode::ActionProhibited);
}

#[test]
fn a_search_by_a_sensitive_value_finds_nothing() {
    let (_, private) = pair(&[(CKA_ID, bytes(b"x"))]);
    let value = private.attributes().value(CKA_VALUE).unwrap().clone();
    assert!(private.matches(&template(&[(CKA_ID, bytes(b"x"))])));
    assert!(!private.matches(&template(&[(CKA_VALUE, value)])));
}

#[test]
fn only_the_token_says_where_an_object_stands_and_a_copy_is_current() {
    let (public, mut private) = pair(&[]);
    let stage = template(&[(CKA_KEYWARD_STAGE, bytes(b"superseded 7"))]);
    assert_eq!(code(change(&private, &stage)), ErrorCode::AttributeReadOnly);
    assert_eq!(code(copy(&public, &stage)), ErrorCode::AttributeReadOnly);
    let data =
        template(&[(CKA_CLASS, CKO_DATA.into()), (CKA_KEYWARD_STAGE, bytes(b"superseded 7"))]);
    assert_eq!(code(create(data)), ErrorCode::AttributeReadOnly);
    Stage::Superseded { since: 7 }.put(&mut private);
    let copied = copy(&private, &template(&[])).unwrap();
    assert_eq!(Stage::of(copied.attributes()), Stage::Current);
}

#[test]
fn only_the_officer_trusts_and_a_trusted_key_stays_what_it_was() {
    let one = |attribute, on: bool| template(&[(attribute, on.into())]);
    let (key, _) = pair(&[]);
    let key = change(&key, &one(CKA_ENCRYPT, false)).unwrap();
    assert_eq!(code(change(&key, &one(CKA_TRUSTED, true))), ErrorCode::AttributeReadOnly);
    let trusted = super::change(&key, &one(CKA_TRUSTED, true), Author::Officer).unwrap();
    for attribute in [CKA_ENCRYPT, CKA_WRAP] {
        let opened = change(&trusted, &one(attribute, true));
        assert_eq!(code(opened), ErrorCode::AttributeReadOnly);
        assert!(super::change(&trusted, &one(attribute, true), Author::Officer).is_ok());
        assert!(change(&trusted, &one(attribute, false)).is_ok());
    }
    assert_eq!(code(change(&trusted, &one(CKA_TRUSTED, false))), ErrorCode::AttributeReadOnly);
    // A copy may be given uses, and is not trusted for that.
    let copied = copy(&trusted, &one(CKA_ENCRYPT, true)).unwrap();
    assert!(!copied.attributes().is_true(CKA_TRUSTED));
    let distrusted = super::change(&trusted, &one(CKA_TRUSTED, false), Author::Officer).unwrap();
    assert!(change(&distrusted, &one(CKA_ENCRYPT, true)).is_ok());
}
