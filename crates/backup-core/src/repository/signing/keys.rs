//! Keys of minisign.

use std::{fmt, io::Cursor, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use minisign::{PublicKey, SecretKey, SecretKeyBox, SignatureBox};

use super::SigningSource;
use crate::words::{Error, ErrorKind, Result, Secret};

/// A public key (`RW...`) whose signatures are trusted.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey(PublicKey);

impl FromStr for TrustedKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |detail: &str| {
            // What was written may be a secret key: it is not repeated.
            Error::new(ErrorKind::Config, "read", "the public key for signatures")
                .detail(detail)
                .hint("it is the second line of minisign.pub: RW and 54 letters and digits")
        };
        let key =
            PublicKey::from_base64(text.trim()).map_err(|_| bad("this is no public key of minisign"))?;
        if key.to_bytes().starts_with(b"Ed") { Ok(Self(key)) } else { Err(bad("this is no Ed25519 key")) }
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_base64())
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TrustedKey {
    /// Whether this key has signed `manifest`; if not, why, unless the signature is that of another key.
    pub(super) fn verify(&self, manifest: &Bytes, signature: &Bytes) -> Result<(), Option<String>> {
        let damaged = || Some("the signature is damaged".to_owned());
        let signature = read_signature(signature).ok_or_else(damaged)?;
        if signature.keynum() != self.0.keynum() {
            return Err(None);
        }
        minisign::verify(&self.0, &signature, Cursor::new(manifest), true, false, false)
            .map_err(|_| Some("it is not the one that was signed, or the signature is damaged".to_owned()))
    }
}

/// The signature's file, when it is one.
fn read_signature(bytes: &Bytes) -> Option<SignatureBox> {
    /// 64 bytes in base64.
    const GLOBAL: usize = 88;
    let text = std::str::from_utf8(bytes).ok()?;
    // The library takes a shorter one and fails on it later.
    if text.lines().nth(3)?.trim().len() != GLOBAL {
        return None;
    }
    SignatureBox::from_string(text).ok()
}

/// A secret key that signs. `Debug` shows its public key only.
#[derive(Clone)]
pub struct Signer(SecretKey);

impl Signer {
    /// Reads the key.
    ///
    /// # Errors
    /// When it cannot be read, or its passphrase is missing or wrong.
    pub async fn load(source: &SigningSource) -> Result<Self> {
        let file = source.key.resolve(&format!("key for signatures {}", source.name)).await?;
        let passphrase = match &source.passphrase {
            Some(passphrase) => {
                Some(passphrase.resolve(&format!("passphrase of the key {}", source.name)).await?)
            }
            None => None,
        };
        let name = source.name.clone();
        // A passphrase takes scrypt, and a second or more.
        tokio::task::spawn_blocking(move || open(&name, file, passphrase))
            .await
            .map_err(|e| Error::new(ErrorKind::Internal, "read the key", source.name.clone()).because(e))?
    }

    /// The public key that belongs to it.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when the library fails.
    pub fn public(&self) -> Result<TrustedKey> {
        PublicKey::from_secret_key(&self.0).map(TrustedKey).map_err(|e| failed(&e))
    }

    /// The signature's file for `body`; the trusted comment says that it is `what`.
    pub(crate) fn sign(&self, what: &str, body: &Bytes) -> Result<Bytes> {
        let public = PublicKey::from_secret_key(&self.0).map_err(|e| failed(&e))?;
        minisign::sign(Some(&public), &self.0, Cursor::new(body), Some(what), Some("signature of ha-backup"))
            .map(|signature| signature.into_string().into())
            .map_err(|e| failed(&e))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.public() {
            Ok(public) => f.debug_tuple("Signer").field(&public).finish(),
            Err(_) => f.write_str("Signer(…)"),
        }
    }
}

fn failed(e: &minisign::PError) -> Error {
    Error::new(ErrorKind::Internal, "sign", "a file of the session").detail(e.to_string())
}

/// The key of a file that minisign up to 0.11 wrote with `-W`: it leaves the checksum out. A damaged key is found all the same,
/// for each signature is verified when it is made.
fn without_checksum(file: &Secret) -> Option<SecretKey> {
    /// A hash at the file's end.
    const CHECKSUM: usize = 32;
    let encoded = file.expose().lines().nth(1)?;
    let bytes = BASE64_STANDARD.decode(encoded.trim()).ok()?;
    let checksum = bytes.len().checked_sub(CHECKSUM)?;
    let plain = bytes.get(2..4)? == [0, 0];
    let missing = bytes[checksum..].iter().all(|byte| *byte == 0);
    (plain && missing).then(|| SecretKey::from_bytes(&bytes).ok()).flatten()
}

fn open(name: &str, file: Secret, passphrase: Option<Secret>) -> Result<Signer> {
    let bad = |kind, detail: &str| Error::new(kind, "read the key for signatures", name).detail(detail);
    let written = SecretKeyBox::from(file.expose().to_owned());
    if let Some(key) = without_checksum(&file).or_else(|| written.clone().into_unencrypted_secret_key().ok())
    {
        return Ok(Signer(key));
    }
    let Some(passphrase) = passphrase else {
        return Err(bad(ErrorKind::Config, "it is no secret key of minisign, or a passphrase protects it").hint(
            "`minisign -G -W` makes a key without one; else say where it is: passphrase = { file = \"...\" }",
        ));
    };
    // The library asks at the terminal when it gets none.
    written.into_secret_key(Some(passphrase.expose().to_owned())).map(Signer).map_err(|e| match e.kind() {
        minisign::ErrorKind::Verify => bad(ErrorKind::WrongKey, "its passphrase is another one"),
        _ => bad(ErrorKind::Config, "it is no secret key of minisign"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::SecretSource;

    fn source(file: &str, passphrase: Option<&str>) -> SigningSource {
        SigningSource {
            name: "minisign.key".to_owned(),
            key: SecretSource::Plain(Secret::new(file)),
            passphrase: passphrase.map(|text| SecretSource::Plain(Secret::new(text))),
        }
    }

    #[tokio::test]
    async fn a_key_with_a_passphrase_signs_when_it_is_the_right_one() {
        let pair = minisign::KeyPair::generate_encrypted_keypair(Some("right".to_owned())).unwrap();
        let file = pair.sk.to_box(None).unwrap().into_string();
        let signer = Signer::load(&source(&file, Some("right"))).await.unwrap();
        let public = signer.public().unwrap();
        assert_eq!(public.to_string(), pair.pk.to_base64());
        let body = Bytes::from_static(b"{}");
        let signature = signer.sign("manifest.json", &body).unwrap();
        assert_eq!(public.verify(&body, &signature), Ok(()));
        assert!(public.verify(&Bytes::from_static(b"{} "), &signature).is_err());

        let wrong = Signer::load(&source(&file, Some("wrong"))).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::WrongKey);
        let missing = Signer::load(&source(&file, None)).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn neither_a_key_nor_what_is_none_is_shown() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let file = pair.sk.to_box(None).unwrap().into_string();
        let signer = Signer::load(&source(&file, None)).await.unwrap();
        assert_eq!(format!("{signer:?}"), format!("Signer({})", pair.pk.to_base64()));
        let error = Signer::load(&source("hunter2\nhunter2", Some("hunter2"))).await.unwrap_err();
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        let error = "RWhunter2".parse::<TrustedKey>().unwrap_err();
        assert!(!error.chain().contains("hunter2"), "{}", error.chain());
    }

    #[test]
    fn no_file_that_is_no_signature_is_taken_or_panics() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        let (key, body) = (TrustedKey(pair.pk), Bytes::from_static(b"{}"));
        let right = Signer(pair.sk).sign("manifest.json", &body).unwrap();
        for cut in 0..right.len() - 1 {
            assert!(key.verify(&body, &right.slice(..cut)).is_err(), "cut at {cut}");
        }
        for at in 0..right.len() - 1 {
            let mut wrong = right.to_vec();
            wrong[at] ^= 1;
            let text = String::from_utf8_lossy(&right[..at]).into_owned();
            // Only the untrusted comment's words are not signed.
            let unsigned = text.lines().count() <= 1 && text.len() >= "untrusted comment: ".len();
            assert!(unsigned || key.verify(&body, &wrong.into()).is_err(), "byte {at}");
        }
    }
}
