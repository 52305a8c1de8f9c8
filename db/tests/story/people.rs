//! Accounts, sign-in, settings, audit, opening.

use hotline_db::{ChainCheck, DbError, DeskPhone, Kind, NewAudit, NewUser, PhoneKey, Store};
use serde_json::json;

use crate::stage::{Stage, story};

pub(crate) fn operator(login: &str) -> NewUser {
    NewUser {
        login: login.into(),
        name: "王芳".into(),
        password_hash: "$argon2id$…".into(),
        roles: vec!["operator".into(), "qa".into()],
        sip_user: Some(login.into()),
        ha1_md5: Some("d41d8cd9".into()),
        ha1_sha256: None,
    }
}

story!(a_browser_phones_password_lasts_a_shift_and_no_longer_than_its_account, |s: Stage| async move {
    let store = &s.store;
    let user = store.user_add(operator("8001")).await.unwrap();
    let key = |secret: &str, expires_at| PhoneKey { account: user.id, ha1_md5: secret.into(), expires_at };
    let secrets = async |now| {
        let keys = store.phone_keys(now).await.unwrap();
        keys.iter().map(|key| key.ha1_md5.expose().to_owned()).collect::<Vec<_>>()
    };
    store.phone_key_put(key("one", 1_000), 0).await.unwrap();
    store.phone_key_put(key("two", 1_000), 0).await.unwrap();
    assert_eq!((secrets(999).await, secrets(1_000).await), (vec!["two".to_owned()], Vec::new()));
    store.phone_key_end(user.id).await.unwrap();
    assert_eq!(secrets(0).await, Vec::<String>::new());
    for end in [true, false] {
        store.phone_key_put(key("again", 5_000), 1_000).await.unwrap();
        match end {
            true => store.user_set_password(user.id, "$new".into(), None, None).await.unwrap(),
            false => store.user_set_active(user.id, false).await.unwrap(),
        }
        assert_eq!(secrets(1_000).await, Vec::<String>::new());
    }
});

story!(an_operators_phone_is_what_was_set_last_for_as_long_as_the_account_counts, |s: Stage| async move {
    let store = &s.store;
    let user = store.user_add(operator("8001")).await.unwrap();
    assert_eq!(store.desk_phone(user.id).await.unwrap(), None);
    let phone = |number: Option<&str>, auto_answer, updated_at| DeskPhone {
        account: user.id,
        number_sealed: number.map(|n| n.as_bytes().to_vec()),
        number_mask: number.map(str::to_owned),
        auto_answer,
        home: auto_answer,
        nailed_up: auto_answer,
        updated_at,
    };
    for next in [phone(Some("139****0000"), false, 1), phone(None, true, 2)] {
        store.desk_phone_put(next.clone()).await.unwrap();
        assert_eq!(store.desk_phones().await.unwrap(), [next]);
    }
    let long = phone(Some(&"1".repeat(3_000)), true, 3);
    assert!(matches!(store.desk_phone_put(long).await, Err(DbError::Invalid { .. })));
    store.user_set_active(user.id, false).await.unwrap();
    assert_eq!(store.desk_phones().await.unwrap(), []);
});

story!(an_operator_signs_in_until_the_password_changes, |s: Stage| async move {
    let store = &s.store;
    let user = store.user_add(operator("8001")).await.unwrap();
    assert!(user.has_role("qa") && !user.has_role("manager"));
    assert_eq!(store.user_by_sip_user("8001").await.unwrap().unwrap().id, user.id);
    let again = store.user_add(operator("8001")).await;
    assert!(matches!(again, Err(DbError::Conflict(_))), "{again:?}");

    store.session_put("t1", user.id, 1_000).await.unwrap();
    assert_eq!(store.session_user("t1", 999).await.unwrap().unwrap().login, "8001");
    assert!(store.session_user("t1", 1_000).await.unwrap().is_none(), "it has run out");
    store.user_set_password(user.id, "$new".into(), None, None).await.unwrap();
    assert!(store.session_user("t1", 1).await.unwrap().is_none(), "the old sign-in is over");
    let user = store.user_by_login("8001").await.unwrap().unwrap();
    assert_eq!(user.password_hash.expose(), "$new");
    assert!(user.ha1_md5.is_none());

    store.session_put("t2", user.id, 1_000).await.unwrap();
    store.user_set_active(user.id, false).await.unwrap();
    assert!(store.session_user("t2", 1).await.unwrap().is_none());
    assert_eq!(store.users().await.unwrap().len(), 1);
});

story!(a_user_prints_and_serialises_without_secrets, |s: Stage| async move {
    let user = s.store.user_add(operator("8002")).await.unwrap();
    let shown = format!("{user:?} {}", serde_json::to_string(&user).unwrap());
    assert!(!shown.contains("argon2") && !shown.contains("d41d8cd9"), "{shown}");
    assert!(shown.contains("王芳") && shown.contains(r#""roles":["operator","qa"]"#), "{shown}");
});

story!(a_session_of_nobody_is_refused, |s: Stage| async move {
    let answer = s.store.session_put("t", hotline_db::Id::new(), 1).await;
    assert!(matches!(answer, Err(DbError::NotFound)), "{answer:?}");
});

story!(settings_are_overwritten, |s: Stage| async move {
    assert_eq!(s.store.setting_get("disaster").await.unwrap(), None);
    s.store.setting_set("disaster", "on").await.unwrap();
    s.store.setting_set("disaster", "off").await.unwrap();
    assert_eq!(s.store.setting_get("disaster").await.unwrap().as_deref(), Some("off"));
});

fn entry(n: i64) -> NewAudit {
    NewAudit {
        at: n,
        actor: "8001".into(),
        action: "reveal".into(),
        object: format!("party/{n}"),
        reason: (n % 2 == 0).then(|| "回访核对".into()),
        data: json!({"n": n, "share": 0.1 + n as f64, "z": null}),
    }
}

story!(the_audit_chain_holds_under_concurrency, |s: Stage| async move {
    let tasks: Vec<_> = (0..40)
        .map(|n| {
            let store = s.store.clone();
            tokio::spawn(async move { store.audit(entry(n)).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let check = s.store.audit_verify().await.unwrap();
    assert_eq!(check, ChainCheck { count: 40, first_broken: None });
    let newest = s.store.audits(2).await.unwrap();
    assert_eq!(newest.iter().map(|a| a.n).collect::<Vec<_>>(), [40, 39]);
});

story!(a_forged_or_cut_audit_log_is_found, |s: Stage| async move {
    for n in 0..5 {
        s.store.audit(entry(n)).await.unwrap();
    }
    let disarm = if s.store.kind() == Kind::Sqlite {
        "DROP TRIGGER audit_no_update; DROP TRIGGER audit_no_delete;"
    } else {
        "DROP TRIGGER audit_append_only ON audit;"
    };
    s.raw(disarm).await.unwrap();
    s.raw("DELETE FROM audit WHERE n = 5").await.unwrap();
    assert_eq!(s.store.audit_verify().await.unwrap().first_broken, Some(5));
    s.raw("UPDATE audit SET actor = '8009' WHERE n = 3").await.unwrap();
    let check = s.store.audit_verify().await.unwrap();
    assert_eq!(check, ChainCheck { count: 2, first_broken: Some(3) });
});

story!(a_store_answers_and_after_closing_says_closed, |s: Stage| async move {
    s.store.ping().await.unwrap();
    s.store.close().await;
    let read = s.store.users().await;
    assert!(matches!(read, Err(DbError::Closed)), "{read:?}");
    let write = s.store.setting_set("a", "b").await;
    assert!(matches!(write, Err(DbError::Closed)), "{write:?}");
});

#[tokio::test]
async fn a_bad_url_names_the_remedy() {
    for (url, remedy) in [
        ("mysql://x", "must begin with sqlite:// or postgres://"),
        ("sqlite:///nowhere/at/all/hotline.db", "the folder /nowhere/at/all does not exist"),
        ("sqlite::memory:", "must be a file"),
        ("postgres://nobody@127.0.0.1:1/none", "check that the server runs"),
    ] {
        let error = Store::open(url).await.unwrap_err().to_string();
        assert!(error.contains(remedy), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hotline.db");
    std::fs::write(&path, "this is a letter, not a database, and long enough".repeat(50)).unwrap();
    let url = format!("sqlite://{}", path.display());
    let error = Store::open(&url).await.unwrap_err().to_string();
    assert!(error.contains("hotline.db") && error.contains("check that it is"), "{error}");
}

story!(a_sealed_number_forbids_a_new_key, |s: Stage| async move {
    assert!(!s.store.parties_sealed().await.unwrap());
    crate::stage::party(&s.store, 1).await;
    assert!(s.store.parties_sealed().await.unwrap());
});
