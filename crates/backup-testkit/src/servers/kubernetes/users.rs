//! Who may log in: tokens that the API server reads when it starts, and client certificates at any time.

use super::super::error::{Context, Error, Result};
use super::super::process::run;
use super::super::toolbox::Toolbox;
use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files behind every login, and where the kubeconfigs are.
#[derive(Debug)]
pub(super) struct Users {
    folder: PathBuf,
    openssl: PathBuf,
    api_url: String,
    api_ca: PathBuf,
}

impl Users {
    /// Makes the keys; `api_ca` need not be there yet.
    pub(super) fn create(toolbox: &Toolbox, folder: &Path, api_url: &str, api_ca: &Path) -> Result<Self> {
        fs::create_dir(folder)?;
        let (api_url, api_ca) = (api_url.to_owned(), api_ca.to_owned());
        let users = Self { folder: folder.to_owned(), openssl: toolbox.openssl()?, api_url, api_ca };
        let mut key = users.openssl();
        // In the old form: the API server takes the public key out of that one only.
        key.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]);
        run(key.arg(users.account_key()), "openssl ecparam")?;
        users.certificate(
            "client-ca",
            "/CN=ha-backup test users",
            &["-addext", "keyUsage=critical,keyCertSign"],
        )?;
        write_secret(&users.token_file(), "")?;
        Ok(users)
    }

    /// Signs and proves the tokens of service accounts.
    pub(super) fn account_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    pub(super) fn client_ca(&self) -> PathBuf {
        self.folder.join("client-ca.crt")
    }

    pub(super) fn token_file(&self) -> PathBuf {
        self.folder.join("tokens.csv")
    }

    /// A kubeconfig for a user with a token; only before the API server starts.
    pub(super) fn with_token(&self, name: &str, user: &str, group: &str) -> Result<PathBuf> {
        let token = random_token()?;
        let mut all = fs::read_to_string(self.token_file())?;
        all.push_str(&format!("{token},{user},{user},\"{group}\"\n"));
        write_secret(&self.token_file(), &all)?;
        self.kubeconfig(name, &json!({"token": token}), None)
    }

    /// A kubeconfig for a user with a certificate.
    pub(super) fn with_certificate(&self, user: &str, groups: &[&str]) -> Result<PathBuf> {
        let name = format!("user-{}", file_name(user)?);
        let subject: String = groups.iter().map(|g| format!("/O={g}")).collect();
        let purpose =
            ["-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE"];
        let signed = ["-CA", "client-ca.crt", "-CAkey", "client-ca.key"];
        self.certificate(&name, &format!("{subject}/CN={user}"), &[&signed[..], &purpose].concat())?;
        let file = |end: &str| self.folder.join(format!("{name}.{end}"));
        let login = json!({"client-certificate": file("crt"), "client-key": file("key")});
        self.kubeconfig(&name, &login, None)
    }

    /// A kubeconfig for a token that somebody else has made.
    pub(super) fn with_given_token(&self, name: &str, token: &str, namespace: &str) -> Result<PathBuf> {
        self.kubeconfig(&file_name(name)?, &json!({"token": token}), Some(namespace))
    }

    fn kubeconfig(&self, name: &str, login: &Value, namespace: Option<&str>) -> Result<PathBuf> {
        let server = json!({"server": self.api_url, "certificate-authority": self.api_ca});
        let mut context = json!({"cluster": "test", "user": name});
        if let Some(namespace) = namespace {
            context["namespace"] = json!(namespace);
        }
        // JSON is YAML.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": name, "user": login}],
            "contexts": [{"name": "test", "context": context}],
        });
        let path = self.folder.join(format!("{name}.conf"));
        write_secret(&path, &config.to_string())?;
        Ok(path)
    }

    fn certificate(&self, name: &str, subject: &str, more: &[&str]) -> Result<()> {
        let mut request = self.openssl();
        request.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        request.args(["-days", "30", "-subj", subject]).args(more);
        request.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.crt")]);
        run(&mut request, &format!("openssl req ({name})")).map(drop)
    }

    fn openssl(&self) -> Command {
        let mut command = Command::new(&self.openssl);
        command.current_dir(&self.folder);
        command
    }
}

fn write_secret(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(path).context(path.display())?;
    file.write_all(text.as_bytes()).context(path.display())
}

fn random_token() -> Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// A user's name becomes a file's, and a part of a certificate's subject.
fn file_name(user: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
    match user.chars().all(is_plain) {
        true => Ok(user.replace(':', "-")),
        false => Err(Error::new(format!("{user}: a test user has a plain name"))),
    }
}
