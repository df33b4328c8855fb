//! Damage to a local store: each kind is found, and nothing damaged is taken for good.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use backup_core::{
    engine::{BackupRequest, Engine, Level},
    repository::SessionState,
    stores::LocalStore,
    traits::Context,
    words::SessionId,
};
use backup_testkit::suites::{Act, ScriptedComponent};
use bytes::Bytes;

struct Rig {
    folder: tempfile::TempDir,
    engine: Engine,
    cx: Context,
    session: SessionId,
}

impl Rig {
    /// A local store with one session of one component of `size` compressible bytes.
    async fn new(size: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text: Vec<u8> = (0..size).map(|i| b"0123456789abcdef"[(i / 7) % 16]).collect();
        let engine = Engine::builder("crm")
            .store("local", Arc::new(LocalStore::new(folder.path().join("store"))))
            .component("db", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from(text)))))
            .build()
            .unwrap();
        let cx = Context::new();
        engine.init(&cx).await.unwrap();
        let session = engine.backup(&cx, &BackupRequest::new("full")).await.unwrap().report.session_id;
        Self { folder, engine, cx, session }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    fn artifact(&self) -> PathBuf {
        let entry = |path: &Path| fs::read_dir(path).unwrap().next().unwrap().unwrap().path();
        let types = ["daily", "weekly", "monthly", "yearly"].map(|name| self.store().join(name));
        let folder = types.into_iter().find(|path| path.exists()).unwrap();
        entry(&folder.join("db"))
    }

    async fn passes(&self, level: Level) -> bool {
        self.engine.verify(&self.cx, "latest", level).await.unwrap().passed
    }

    async fn extract(&self) -> backup_core::words::Result<()> {
        let to = self.folder.path().join("out");
        self.engine.extract(&self.cx, "latest", None, &to).await.map(drop)
    }
}

#[tokio::test]
async fn a_whole_session_passes_every_level_and_leaves_evidence() {
    let rig = Rig::new(3 << 20).await;
    for level in [Level::Size, Level::Checksum, Level::Content] {
        assert!(rig.passes(level).await);
    }
    rig.extract().await.unwrap();
    let entry = rig.engine.session(&rig.cx, "latest").await.unwrap();
    assert!(entry.evidence.iter().all(|evidence| evidence.passed));
    assert_eq!(entry.evidence.len(), 3);
}

#[tokio::test]
async fn a_flipped_byte_passes_size_and_fails_the_rest() {
    let rig = Rig::new(3 << 20).await;
    let path = rig.artifact();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert!(rig.passes(Level::Size).await);
    assert!(!rig.passes(Level::Checksum).await);
    assert!(!rig.passes(Level::Content).await);
    assert!(rig.extract().await.is_err());
    let left: Vec<_> = fs::read_dir(rig.folder.path().join("out/db")).unwrap().collect();
    assert!(left.is_empty(), "a damaged file must not get its name: {left:?}");
}

#[tokio::test]
async fn a_file_cut_at_a_member_boundary_is_found_though_gunzip_reads_it() {
    let rig = Rig::new(3 << 20).await;
    let path = rig.artifact();
    let bytes = fs::read(&path).unwrap();
    // RFC 1952: a member begins with 1f 8b 08; the last begin of one is where the last member stands.
    let cut = bytes.windows(4).rposition(|window| window == [0x1f, 0x8b, 8, 0]).unwrap();
    assert!(cut > 0);
    fs::write(&path, &bytes[..cut]).unwrap();
    let gunzip = std::process::Command::new("gzip").arg("-t").arg(&path).status().unwrap();
    assert!(gunzip.success(), "the cut must be one that gzip does not see");
    for level in [Level::Size, Level::Checksum, Level::Content] {
        assert!(!rig.passes(level).await, "{level:?}");
    }
    assert!(rig.extract().await.is_err());
}

#[tokio::test]
async fn a_missing_file_is_found_at_every_level() {
    let rig = Rig::new(1000).await;
    fs::remove_file(rig.artifact()).unwrap();
    for level in [Level::Size, Level::Checksum, Level::Content] {
        assert!(!rig.passes(level).await, "{level:?}");
    }
}

#[tokio::test]
async fn a_session_whose_manifest_is_cut_is_not_good_and_is_left_alone() {
    let rig = Rig::new(1000).await;
    let path = rig.store().join(format!("sessions/{}/manifest.json", rig.session));
    let manifest = fs::read(&path).unwrap();
    fs::write(&path, &manifest[..manifest.len() / 2]).unwrap();
    let sessions = rig.engine.sessions(&rig.cx).await.unwrap();
    assert_eq!(sessions[0].state, SessionState::Unreadable);
    assert!(rig.engine.session(&rig.cx, "latest").await.is_err());
    let report = rig.engine.cleanup(&rig.cx, false).await.unwrap();
    assert!(report.decisions.iter().all(|decision| decision.kept), "{report:?}");
    assert!(rig.artifact().exists());
}

#[tokio::test]
async fn files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new(1000).await;
    let mut folders = vec![rig.store()];
    while let Some(folder) = folders.pop() {
        assert_eq!(
            fs::metadata(&folder).unwrap().permissions().mode() & 0o777,
            0o700,
            "{}",
            folder.display()
        );
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
                assert_eq!(mode, 0o600, "{}", entry.path().display());
            }
        }
    }
}
