//! Who sees and changes what.

use std::path::Path;

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::Attribute;
use cryptoki::session::UserType;

use crate::common::alone::{TOKEN, alone, configure};
use crate::common::raw::P256;
use crate::common::{PIN, Service};
use crate::host::{
    data_object, generate_ec, initialized, login, pin, private_keys, refused, slot, user,
};

#[test]
fn an_identity_sees_its_own_tokens_only() {
    alone(|| {
        let service = Service::start();
        for token in ["ours", "theirs"] {
            service.token(token);
        }
        service
            .admin(&["key", "generate", "--token", "theirs", "--type", "ec:p256", "--label", "k"]);
        let ours = service.identity("us", &["ours"], &[]);
        let theirs = service.identity("them", &["theirs"], &[]);
        // Ours, but with a slot for the token of the others.
        let text = std::fs::read_to_string(&ours).unwrap();
        let greedy = ours.with_file_name("greedy.toml");
        std::fs::write(&greedy, format!("{text}\n[[slot]]\ntoken = \"theirs\"\n")).unwrap();
        let without_slots = ours.with_file_name("without.toml");
        std::fs::write(&without_slots, text.split("[[slot]]").next().unwrap()).unwrap();
        let labels = |config: &Path| {
            configure(config);
            let module = initialized();
            let slots = module.get_slots_with_token().unwrap();
            let labels: Vec<String> = slots
                .iter()
                .map(|slot| module.get_token_info(*slot).unwrap().label().to_owned())
                .collect();
            (module, labels)
        };
        for (config, expected) in [(&ours, "ours"), (&theirs, "theirs"), (&without_slots, "ours")] {
            let (module, labels) = labels(config);
            assert_eq!(labels, [expected]);
            let session = user(&module);
            assert_eq!(private_keys(&session).len(), usize::from(expected == "theirs"));
            drop(session);
            module.finalize().unwrap();
        }
        let (module, _) = labels(&greedy);
        let slots = module.get_all_slots().unwrap();
        let session = module.open_ro_session(slots[1]).unwrap();
        let rv = refused(session.login(UserType::User, Some(&pin(PIN))));
        assert_eq!(rv, RvError::TokenNotPresent);
        assert_eq!(refused(session.find_objects(&[])), RvError::TokenNotPresent);
    });
}

#[test]
fn a_token_that_may_not_be_changed_is_not() {
    alone(|| {
        let service = Service::start();
        service.token(TOKEN);
        service.admin(&["key", "generate", "--token", TOKEN, "--type", "ec:p256", "--label", "k"]);
        let read_only = format!("{TOKEN}:ro");
        let config = service.identity("reader", &[&read_only], &[]);
        configure(&config);
        let module = initialized();
        let only = slot(&module);
        assert!(module.get_token_info(only).unwrap().write_protected());
        assert_eq!(refused(module.open_rw_session(only)), RvError::TokenWriteProtected);
        let session = module.open_ro_session(only).unwrap();
        login(&session);
        let key = private_keys(&session)[0];
        session.sign(&Mechanism::Ecdsa, key, &[1; 32]).unwrap();
        let label = [Attribute::Label(b"mine".to_vec())];
        assert_eq!(refused(session.update_attributes(key, &label)), RvError::TokenWriteProtected);
        assert_eq!(refused(session.destroy_object(key)), RvError::TokenWriteProtected);
        let created = session.create_object(&data_object(b"mine", vec![1]));
        assert_eq!(refused(created), RvError::TokenWriteProtected);
        // Session objects are nobody else's business.
        generate_ec(&session, P256, false, b"session");
        drop(session);
        module.finalize().unwrap();
        // A config that says otherwise does not help.
        let text = std::fs::read_to_string(&config).unwrap();
        let changed = text.replace("writable = false", "writable = true");
        assert_ne!(changed, text);
        std::fs::write(&config, changed).unwrap();
        let module = initialized();
        let session = user(&module);
        let created = session.create_object(&data_object(b"mine", vec![1]));
        assert_eq!(refused(created), RvError::TokenWriteProtected);
        let key = private_keys(&session)[0];
        assert_eq!(refused(session.destroy_object(key)), RvError::TokenWriteProtected);
    });
}
