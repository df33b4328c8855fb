//! Encrypted repositories: who can read what, what is found when bytes are wrong, and what a run can read that its host
//! cannot.
#![cfg(feature = "encryption")]

use std::{io::Read, sync::Arc};

use backup_core::{
    engine::{BackupRequest, Engine, JobSettings, Level, RestoreRequest},
    pipeline::{Compression, IdentitySource, NewIdentity, Recipient, StoreSource},
    repository::{Manifest, SessionState, Status},
    stores::MemoryStore,
    traits::{Context, SecretSource, Severity, Store},
    words::{Error, ErrorKind, Key},
};
use backup_testkit::{
    servers::Toolbox,
    suites::{Act, ScriptedComponent},
};
use bytes::Bytes;
use chrono::Utc;
use futures::TryStreamExt;

/// Random hexadecimal digits: they compress to half their size.
fn text(size: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes = (0..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b"0123456789abcdef"[(state >> 40) as usize % 16]
    });
    bytes.collect::<Vec<u8>>().into()
}

struct Rig {
    store: MemoryStore,
    engine: Engine,
    cx: Context,
}

struct Options {
    store: MemoryStore,
    compression: Compression,
    recipients: Vec<Recipient>,
    identities: Vec<IdentitySource>,
    verify: Option<Level>,
}

impl Options {
    fn new(recipients: &[&NewIdentity]) -> Self {
        Self {
            store: MemoryStore::new(),
            compression: Compression::GZIP,
            recipients: recipients.iter().map(|identity| identity.recipient.clone()).collect(),
            identities: Vec::new(),
            verify: None,
        }
    }
}

fn identity() -> NewIdentity {
    NewIdentity::generate(Utc::now())
}

fn file(identity: &NewIdentity) -> IdentitySource {
    let key = SecretSource::Plain(identity.file(None).unwrap());
    IdentitySource { name: "key.txt".into(), key, passphrase: None }
}

impl Rig {
    async fn new(options: Options, acts: &[(&str, Act)]) -> Self {
        let mut job = JobSettings::new("full");
        job.verify = options.verify;
        let mut builder = Engine::builder("crm")
            .store("memory", Arc::new(options.store.clone()))
            .compression(options.compression)
            .recipients(options.recipients)
            .identities(options.identities)
            .job(job)
            .workers(2);
        for (name, act) in acts {
            builder = builder.component(*name, Arc::new(ScriptedComponent::new(act.clone())));
        }
        let rig = Self { store: options.store, engine: builder.build().unwrap(), cx: Context::new() };
        rig.engine.init(&rig.cx).await.unwrap();
        rig
    }

    /// The same store, as another host with these identities sees it.
    async fn elsewhere(&self, identities: &[&NewIdentity], acts: &[(&str, Act)]) -> Self {
        let mut options = Options::new(&[]);
        options.store = self.store.clone();
        options.identities = identities.iter().map(|identity| file(identity)).collect();
        Self::new(options, acts).await
    }

    async fn backup(&self) {
        let outcome = self.engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap();
        assert_eq!(outcome.report.status, Status::Success, "{:?}", outcome.report.errors);
        assert_eq!(outcome.problems, Vec::<String>::new());
    }

    async fn manifest(&self) -> Manifest {
        self.engine.session(&self.cx, "latest").await.unwrap().committed().unwrap().clone()
    }

    async fn stored(&self, key: &str) -> Vec<u8> {
        let (_, stream) = self.store.get(&Key::new(key).unwrap(), None).await.unwrap();
        stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    async fn plain(&self, component: &str) -> backup_core::words::Result<Vec<u8>> {
        let to = tempfile::tempdir().unwrap();
        let files = self.engine.extract(&self.cx, "latest", Some(component), to.path()).await?;
        Ok(std::fs::read(&files[0].path).unwrap())
    }

    fn keys(&self, part: &str) -> Vec<String> {
        self.store.keys().into_iter().filter(|key| key.contains(part)).collect()
    }
}

/// What a library that knows nothing of us makes of it.
fn decrypt(stored: &[u8], identity: &NewIdentity) -> Vec<u8> {
    let file = identity.file(None).unwrap();
    let key: age::x25519::Identity = file.expose().lines().last().unwrap().parse().unwrap();
    age::decrypt(&key, stored).unwrap()
}

fn gunzip(packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut plain).unwrap();
    plain
}

#[tokio::test]
async fn each_of_several_recipients_reads_all_and_the_manifest_names_them() {
    let (first, second) = (identity(), identity());
    let acts = [("db", Act::Plain(text(3 << 20)))];
    for compression in [Compression::GZIP, Compression::ZSTD] {
        let rig = Rig::new(Options { compression, ..Options::new(&[&first, &second]) }, &acts).await;
        rig.backup().await;
        let manifest = rig.manifest().await;
        assert_eq!(manifest.requires, ["age"]);
        assert_eq!(manifest.recipients(), [first.recipient.to_string(), second.recipient.to_string()]);
        for reader in [&first, &second] {
            let host = rig.elsewhere(&[reader], &acts).await;
            assert_eq!(host.plain("db").await.unwrap(), text(3 << 20));
            let report = host.engine.verify(&host.cx, "latest", Level::Content).await.unwrap();
            assert!(report.passed && report.level == Level::Content, "{report:?}");
        }
    }
}

#[tokio::test]
async fn all_volumes_joined_are_one_age_file_around_one_gzip_file() {
    let reader = identity();
    let mut options = Options::new(&[&reader]);
    options.store = MemoryStore::with_limit(100_000);
    let rig = Rig::new(options, &[("db", Act::Plain(text(3 << 20)))]).await;
    rig.backup().await;
    let keys = rig.keys("/db/");
    assert!(
        keys.len() > 3 && keys[0].ends_with(".bin.gz.age") && keys[1].ends_with(".bin.gz.age.001"),
        "{keys:?}"
    );
    let mut joined = Vec::new();
    for key in &keys {
        joined.extend(rig.stored(key).await);
    }
    assert_eq!(gunzip(&decrypt(&joined, &reader)), text(3 << 20));

    // The same by hand.
    let folder = tempfile::tempdir().unwrap();
    for key in &keys {
        let name = key.rsplit('/').next().unwrap();
        std::fs::write(folder.path().join(name), rig.stored(key).await).unwrap();
    }
    std::fs::write(folder.path().join("key.txt"), reader.file(None).unwrap().expose()).unwrap();
    let command = &rig.engine.report(rig.manifest().await.session).await.unwrap().by_hand[0];
    let command = command.replace(keys[0].rsplit_once('/').unwrap().0, ".");
    assert!(command.starts_with("cat ./"), "{command}");
    let path =
        format!("{}:{}", Toolbox::open().unwrap().age().unwrap().display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    let status = shell.args(["-c", &command]).current_dir(folder.path()).env("PATH", path).status().unwrap();
    assert!(status.success(), "{command}");
    let mut files = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let plain = files.find(|path| path.extension().is_some_and(|e| e == "bin")).unwrap();
    assert!(std::fs::read(plain).unwrap() == text(3 << 20)[..]);
}

#[tokio::test]
async fn the_unified_archive_is_encrypted_and_holds_the_plain_files() {
    let reader = identity();
    let (one, two) = (text(2 << 20), text(700));
    let acts = [("one", Act::Plain(one.clone())), ("two", Act::Plain(two.clone()))];
    let rig = Rig::new(Options::new(&[&reader]), &acts).await;
    rig.backup().await;
    let key = rig.keys("/unified/").remove(0);
    assert!(key.ends_with(".tar.gz.age"), "{key}");
    let plain = gunzip(&decrypt(&rig.stored(&key).await, &reader));
    let mut archive = tar::Archive::new(&plain[..]);
    let mut bodies = Vec::new();
    let mut restore = String::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        match path.as_str() {
            "RESTORE.txt" => restore = String::from_utf8(body).unwrap(),
            "contents.json" => {}
            _ => bodies.push(body),
        }
    }
    assert!(bodies == [one.to_vec(), two.to_vec()]);
    assert!(
        restore.contains("age -d -i key.txt") && restore.contains(&reader.recipient.to_string()),
        "{restore}"
    );
    let session = rig.manifest().await.session;
    let summary = String::from_utf8(rig.stored(&format!("sessions/{session}/summary.txt")).await).unwrap();
    assert!(summary.contains(&format!("  $ age -d -i key.txt {key} | tar xz\n")), "{summary}");
}

#[tokio::test]
async fn a_host_without_an_identity_reads_nothing_and_says_who_could() {
    let reader = identity();
    let acts = [("db", Act::Plain(text(100)))];
    let rig = Rig::new(Options::new(&[&reader]), &acts).await;
    rig.backup().await;
    let stranger = rig.elsewhere(&[&identity()], &acts).await;
    for host in [&rig, &stranger] {
        let names_who = |error: Error| {
            assert_eq!(error.kind(), ErrorKind::WrongKey);
            assert!(error.chain().contains(&reader.recipient.to_string()), "{}", error.chain());
        };
        names_who(host.plain("db").await.unwrap_err());
        names_who(host.engine.plan_restore(&host.cx, &RestoreRequest::new("latest")).await.unwrap_err());
    }
    names_wrong_key(stranger.engine.verify(&stranger.cx, "latest", Level::Content).await.unwrap_err());
    for level in [Level::Size, Level::Checksum] {
        assert!(stranger.engine.verify(&stranger.cx, "latest", level).await.unwrap().passed);
    }
}

fn names_wrong_key(error: Error) {
    assert_eq!(error.kind(), ErrorKind::WrongKey, "{}", error.chain());
}

#[tokio::test]
async fn a_plan_made_with_the_key_is_not_applied_without_it() {
    let reader = identity();
    let acts = [("db", Act::Plain(text(100)))];
    let rig = Rig::new(Options::new(&[&reader]), &acts).await;
    rig.backup().await;
    let host = rig.elsewhere(&[&reader], &acts).await;
    let mut request = RestoreRequest::new("latest");
    request.options.insert("db".into(), serde_json::json!({"wait": true}));
    let plan = host.engine.plan_restore(&host.cx, &request).await.unwrap();
    names_wrong_key(rig.engine.restore(&rig.cx, &plan).await.unwrap_err());
    assert_eq!(rig.keys("/restore-"), Vec::<String>::new(), "no journal is begun");
    host.engine.restore(&host.cx, &plan).await.unwrap();
    let unfinished = rig.engine.unfinished_restore(&rig.cx, "latest").await.unwrap().unwrap();
    names_wrong_key(rig.engine.resume_restore(&rig.cx, &unfinished).await.unwrap_err());
    assert!(host.engine.resume_restore(&host.cx, &unfinished).await.unwrap().is_done());
}

#[tokio::test]
async fn content_without_an_identity_is_checked_by_checksums_and_said() {
    let rig = Rig::new(Options::new(&[&identity()]), &[("db", Act::Plain(text(100)))]).await;
    rig.backup().await;
    let report = rig.engine.verify(&rig.cx, "latest", Level::Content).await.unwrap();
    assert!(report.passed && report.level == Level::Checksum, "{report:?}");
    let said = report.findings.iter().find(|(name, _)| name == "encryption").unwrap();
    assert_eq!(said.1.severity, Severity::Warning);
    let entry = rig.engine.session(&rig.cx, "latest").await.unwrap();
    assert_eq!(entry.evidence.iter().map(|e| e.level.as_str()).collect::<Vec<_>>(), ["checksum"]);
}

#[tokio::test]
async fn a_run_verifies_content_that_its_host_cannot_read_later() {
    let mut options = Options::new(&[&identity()]);
    options.verify = Some(Level::Content);
    let rig = Rig::new(options, &[("db", Act::Plain(text(1 << 20)))]).await;
    rig.backup().await;
    let entry = rig.engine.session(&rig.cx, "latest").await.unwrap();
    let evidence: Vec<_> = entry.evidence.iter().map(|e| (e.level.as_str(), e.passed)).collect();
    assert_eq!(evidence, [("content", true)]);
    names_wrong_key(rig.plain("db").await.unwrap_err());
}

#[tokio::test]
async fn no_key_of_a_run_is_written_anywhere() {
    let reader = identity();
    let acts = [("one", Act::Plain(text(100))), ("two", Act::Plain(text(100)))];
    let rig = Rig::new(Options::new(&[&reader]), &acts).await;
    rig.backup().await;
    for key in rig.store.keys() {
        let stored = rig.stored(&key).await;
        let found = stored.windows(15).any(|window| window == b"AGE-SECRET-KEY-");
        assert!(!found, "{key}");
        let text = String::from_utf8_lossy(&stored).into_owned();
        let public = text.matches("age1").count();
        assert_eq!(public, text.matches(&reader.recipient.to_string()).count(), "{key}: {text}");
    }
    // Each file is for the reader and for the run that is gone.
    for key in rig.keys(".age") {
        let stored = rig.stored(&key).await;
        let header = String::from_utf8_lossy(&stored).into_owned();
        assert_eq!(header.matches("-> X25519 ").count(), 2, "{key}");
    }
}

#[tokio::test]
async fn a_flipped_byte_in_an_encrypted_artifact_is_found_and_named() {
    let reader = identity();
    let acts = [("db", Act::Plain(text(1 << 20))), ("other", Act::Plain(text(100)))];
    let rig = Rig::new(Options::new(&[&reader]), &acts).await;
    rig.backup().await;
    let host = rig.elsewhere(&[&reader], &acts).await;
    let key = rig.keys("/db/").remove(0);
    let right = rig.stored(&key).await;
    for at in [0, 30, 100, 250, right.len() / 2, right.len() - 1] {
        let mut wrong = right.clone();
        wrong[at] ^= 0x20;
        rig.store.put(&Key::new(&*key).unwrap(), wrong.into()).await.unwrap();
        for level in [Level::Checksum, Level::Content] {
            let report = host.engine.verify(&host.cx, "latest", level).await.unwrap();
            let wrong = report.findings.iter().filter(|(_, f)| f.severity == Severity::Error);
            let names: Vec<&str> = wrong.map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["db"], "byte {at}: {report:?}");
        }
        let error = host.plain("db").await.unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Truncated),
            "byte {at}: {}",
            error.chain()
        );
        assert!(error.chain().contains("db_backup_"), "byte {at}: {}", error.chain());
    }
}

#[tokio::test]
async fn a_truncated_encrypted_artifact_is_found_at_every_level() {
    let reader = identity();
    let acts = [("db", Act::Plain(text(1 << 20)))];
    let rig = Rig::new(Options::new(&[&reader]), &acts).await;
    rig.backup().await;
    let host = rig.elsewhere(&[&reader], &acts).await;
    let key = rig.keys("/db/").remove(0);
    let right = rig.stored(&key).await;
    for left in [0, 10, 300, 300 + 65_552, right.len() - 1] {
        let cut = Bytes::copy_from_slice(&right[..left]);
        rig.store.put(&Key::new(&*key).unwrap(), cut).await.unwrap();
        for level in [Level::Size, Level::Checksum, Level::Content] {
            assert!(
                !host.engine.verify(&host.cx, "latest", level).await.unwrap().passed,
                "{left} at {level:?}"
            );
        }
        assert!(host.plain("db").await.is_err(), "{left}");
    }
}

#[tokio::test]
async fn parts_of_an_encrypted_artifact_are_read_alone() {
    use backup_core::{pipeline::Keyring, traits::Selection, traits::Source};
    let reader = identity();
    let parts =
        vec![("a".to_owned(), text(700_000)), ("b".to_owned(), text(5)), ("c".to_owned(), text(90_000))];
    let mut options = Options::new(&[&reader]);
    options.store = MemoryStore::with_limit(30_000);
    let rig = Rig::new(options, &[("db", Act::Yield(parts.clone()))]).await;
    rig.backup().await;
    let record = rig.manifest().await.component("db").unwrap().clone();
    let keys = Keyring::load(&[file(&reader)]).await.unwrap();
    let source = StoreSource::new(Arc::new(rig.store.clone()), record).with_keys(keys);
    for (name, expected) in &parts {
        let stream = source.read(source.artifact(None).unwrap(), Selection::Part(name)).await.unwrap();
        let found = stream.try_collect::<Vec<Bytes>>().await.unwrap().concat();
        assert!(found == expected[..], "{name} differs");
    }
}

#[tokio::test]
async fn sessions_from_before_encryption_stay_readable() {
    let acts = [("db", Act::Plain(text(100)))];
    let plain = Rig::new(Options::new(&[]), &acts).await;
    plain.backup().await;
    assert_eq!(plain.manifest().await.requires, Vec::<String>::new());
    let old = plain.manifest().await.session.to_string();
    let mut options = Options::new(&[&identity()]);
    options.store = plain.store.clone();
    let rig = Rig::new(options, &acts).await;
    rig.backup().await;
    let report = rig.engine.verify(&rig.cx, &old, Level::Content).await.unwrap();
    assert!(report.passed && report.level == Level::Content);
    let to = tempfile::tempdir().unwrap();
    rig.engine.extract(&rig.cx, &old, None, to.path()).await.unwrap();
    let states: Vec<_> =
        rig.engine.sessions(&rig.cx).await.unwrap().iter().map(|entry| entry.state).collect();
    assert_eq!(states, [SessionState::Committed; 2]);
}

#[tokio::test]
async fn a_check_says_whether_this_host_can_read_its_backups() {
    let (reader, other) = (identity(), identity());
    for (identities, severity, words) in [
        (vec![], Severity::Ok, "cannot read its backups"),
        (vec![&reader], Severity::Ok, "can read its backups"),
        (vec![&other], Severity::Warning, "does not open"),
    ] {
        let mut options = Options::new(&[&reader]);
        options.identities = identities.iter().map(|identity| file(identity)).collect();
        let rig = Rig::new(options, &[]).await;
        let report = rig.engine.check(&rig.cx).await;
        let checked = report.checked.iter().find(|checked| checked.kind == "encryption").unwrap();
        assert!(checked.findings[0].message.contains(&reader.recipient.to_string()));
        assert_eq!(checked.findings[1].severity, severity);
        assert!(checked.findings[1].message.contains(words), "{:?}", checked.findings[1]);
    }
    let plain = Rig::new(Options::new(&[]), &[]).await;
    assert!(plain.engine.check(&plain.cx).await.checked.iter().all(|checked| checked.kind != "encryption"));
}
