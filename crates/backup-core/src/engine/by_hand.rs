//! What a person types to open encrypted files.

use crate::{
    repository::{Manifest, UnifiedRecord},
    words::{Codec, Volume},
};

/// Commands for a shell in the store's folder, with an identity in `key.txt`: for the archive, or without one for each
/// artifact. None when nothing is encrypted.
pub(super) fn opening(manifest: &Manifest, unified: Option<&UnifiedRecord>) -> Vec<String> {
    let artifacts = manifest.components.iter().flat_map(|component| &component.artifacts);
    let codec = artifacts.clone().next().map_or(Codec::None, |artifact| artifact.codec);
    if let Some(unified) = unified.filter(|unified| !unified.recipients.is_empty()) {
        let unpack = match codec {
            Codec::None => "tar x",
            Codec::Gzip => "tar xz",
            Codec::Zstd => "zstd -d | tar x",
        };
        return vec![format!("{} | {unpack}", decrypt(&unified.volumes))];
    }
    let encrypted = artifacts.filter(|artifact| artifact.is_encrypted());
    let commands = encrypted.map(|artifact| {
        let unpack = match artifact.codec {
            Codec::None => "",
            Codec::Gzip => " | gunzip",
            Codec::Zstd => " | zstd -d",
        };
        format!("{}{unpack} > {}", decrypt(&artifact.volumes), artifact.name)
    });
    commands.collect()
}

fn decrypt(volumes: &[Volume]) -> String {
    match volumes {
        [only] => format!("age -d -i key.txt {}", only.key),
        [first, ..] => format!("cat {0} {0}.* | age -d -i key.txt", first.key),
        [] => String::new(),
    }
}
