//! What has to be there before the next objects can be.

use std::time::{Duration, Instant};

use backup_core::words::{Error, ErrorKind, Result};
use serde_json::Value;

use super::{group::Group, survey::Ground};
use crate::cluster::{ResourceKind, with_query};

const PAUSE: Duration = Duration::from_millis(200);
/// How long a new namespace's account is waited for. Only bare pods need it at once.
const ACCOUNT: Duration = Duration::from_secs(15);

/// Waits for what follows from the objects of a group.
pub(super) async fn after(ground: &Ground<'_>, group: Group) -> Result<()> {
    match group {
        Group::Namespaces => accounts(ground).await,
        Group::Definitions => definitions(ground).await,
        _ => Ok(()),
    }
}

/// The account that a controller makes in each namespace.
async fn accounts(ground: &Ground<'_>) -> Result<()> {
    let begun = Instant::now();
    for namespace in &ground.fresh {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        while begun.elapsed() < ACCOUNT {
            let get = || ground.cluster.get::<Value>(&path);
            match ground.patience().keep("wait for the account", get).await {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::NotFound => pause(ground).await?,
                // Who may not look can't wait.
                Err(error) if error.kind() == ErrorKind::Denied => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// New definitions are established, and their kinds served.
async fn definitions(ground: &Ground<'_>) -> Result<()> {
    let begun = Instant::now();
    for name in &ground.coming {
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        loop {
            let get = || ground.cluster.get::<Value>(&path);
            let definition = ground.patience().keep("wait for the definition", get).await?;
            let why = match condition(&definition, "Established") {
                Some(("True", _)) => match served(ground, &definition).await? {
                    true => break,
                    false => "it is not served".to_owned(),
                },
                _ => match condition(&definition, "NamesAccepted") {
                    Some(("False", message)) => message.to_owned(),
                    _ => "it is not established".to_owned(),
                },
            };
            if begun.elapsed() > ground.wish.options.wait() {
                return Err(Error::new(ErrorKind::TimedOut, "wait for the definition", name.clone())
                    .detail(format!("after {} s: {why}", begun.elapsed().as_secs()))
                    .hint("the same command waits again"));
            }
            pause(ground).await?;
        }
    }
    Ok(())
}

/// The status and the message of a condition.
fn condition<'a>(object: &'a Value, wanted: &str) -> Option<(&'a str, &'a str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"].as_str() == Some(wanted))?;
    Some((found.get("status")?.as_str()?, found.get("message").and_then(Value::as_str).unwrap_or_default()))
}

/// Whether the API server answers for every version that the definition serves.
async fn served(ground: &Ground<'_>, definition: &Value) -> Result<bool> {
    let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let versions = definition.pointer("/spec/versions").and_then(Value::as_array);
    for version in versions.into_iter().flatten().filter(|version| version["served"] == true) {
        let name = version["name"].as_str().unwrap_or_default();
        let plural = text("/spec/names/plural");
        let kind = ResourceKind::new(text("/spec/group"), name, text("/spec/names/kind"), plural, false);
        let path = with_query(&kind.collection(None), "limit=1");
        let get = || ground.cluster.get::<Value>(&path);
        match ground.patience().keep("wait for the kind", get).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            // That it refuses shows that it serves.
            Err(error) if error.kind() == ErrorKind::Denied => {}
            answered => drop(answered?),
        }
    }
    Ok(true)
}

async fn pause(ground: &Ground<'_>) -> Result<()> {
    let sleep = async {
        tokio::time::sleep(PAUSE).await;
        Ok(())
    };
    ground.cx.or_cancelled("wait", sleep).await
}
