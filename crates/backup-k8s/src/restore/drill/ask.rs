//! What the API server says of one object.

use backup_core::{
    traits::Context,
    words::{Error, Result},
};
use http::Method;
use serde_json::Value;

use super::super::{group::Group, send};
use crate::cluster::{Cluster, FIELD_MANAGER, ResourceKind, refusal, to_json};

/// An answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// It passes; what the API server made of it, when it told.
    Accepted(Option<Value>),
    /// It does not, and why.
    Refused(String),
    /// What it is could not be found out, and why.
    Unknown(String),
}

/// Whether the API server keeps what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// It only says what it would do.
    Not,
    /// It creates the object.
    Created,
}

/// Sends an object to be created. Unknown fields are errors.
pub(super) async fn create(
    cx: &Context,
    cluster: &Cluster,
    kind: &ResourceKind,
    object: &Value,
    keep: Keep,
) -> Result<Answer> {
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
    let dry = if keep == Keep::Not { "&dryRun=All" } else { "" };
    let path =
        format!("{}?fieldManager={FIELD_MANAGER}&fieldValidation=Strict{dry}", kind.collection(namespace));
    let body = to_json(object)?;
    let ask = || cluster.ask::<Value>(Method::POST, &path, None, Some(("application/json", body.clone())));
    match cx.or_cancelled("drill", cluster.patiently(ask)).await {
        Ok(made) => Ok(Answer::Accepted(Some(made))),
        Err(error) => understand(kind, error),
    }
}

/// Tells what speaks against an object from what speaks of this cluster, or of our rights.
fn understand(kind: &ResourceKind, error: Error) -> Result<Answer> {
    let Some(refusal) = refusal(&error) else { return Err(error) };
    let says = |text: &str| refusal.message.contains(text);
    let said = send::said(&error);
    Ok(match refusal.code {
        // Whether the name is taken is looked at last, after validation and admission.
        409 if refusal.reason == "AlreadyExists" => Answer::Accepted(None),
        403 if says("cannot create resource") => {
            let (group, plural) = (&kind.group, &kind.plural);
            Answer::Unknown(format!(
                "a right is missing: {{apiGroups: [\"{group}\"], resources: [\"{plural}\"], verbs: [\"create\"]}}"
            ))
        }
        403 if says("attempting to grant RBAC permissions") => Answer::Unknown(
            "a right is missing: {apiGroups: [\"rbac.authorization.k8s.io\"], resources: [\"roles\", \"clusterroles\"], verbs: [\"escalate\", \"bind\"]}"
                .to_owned(),
        ),
        403 if says("exceeded quota") => {
            Answer::Unknown("the namespace's quota is used up by what is there".to_owned())
        }
        400 if says("does not support dry run") => {
            Answer::Unknown("a webhook of the cluster answers no dry run".to_owned())
        }
        404 if says("could not find the requested resource") => unserved(kind),
        404 | 405 => Answer::Unknown(said),
        400 | 403 | 409 | 413 | 415 | 422 => Answer::Refused(said),
        401 => return Err(error),
        _ => Answer::Unknown(format!("the cluster cannot tell: {said}")),
    })
}

/// The answer for objects of a kind that the cluster does not serve: a custom one may be defined yet, and what Kubernetes no longer
/// has cannot be restored there.
pub(super) fn unserved(kind: &ResourceKind) -> Answer {
    let what = format!("the cluster does not serve {} in {}", kind.resource(), kind.version);
    if Group::of(kind) == Group::Custom { Answer::Unknown(what) } else { Answer::Refused(what) }
}

#[cfg(test)]
mod tests {
    use backup_core::words::ErrorKind;

    use super::*;
    use crate::cluster::Refusal;

    fn understood(kind: &ResourceKind, code: u16, reason: &str, message: &str) -> Answer {
        let refusal =
            Refusal { code, reason: reason.to_owned(), message: message.to_owned(), retry_after: None };
        understand(kind, Error::new(ErrorKind::Failed, "ask", "it").because(refusal)).unwrap()
    }

    #[test]
    fn what_speaks_of_the_object_is_told_from_what_speaks_of_the_cluster() {
        let secret = ResourceKind::new("", "v1", "Secret", "secrets", true);
        let widget = ResourceKind::new("example.com", "v1", "Widget", "widgets", true);
        let refused = [
            (422, "Invalid", "Secret \"x\" is invalid: data: Too long"),
            (403, "Forbidden", "admission webhook \"a.b\" denied the request: no"),
            (403, "Forbidden", "pods \"x\" is forbidden: violates PodSecurity \"restricted:latest\""),
            (400, "BadRequest", "strict decoding error: unknown field \"spec.x\""),
            (404, "NotFound", "the server could not find the requested resource"),
        ];
        for (code, reason, message) in refused {
            let answer = understood(&secret, code, reason, message);
            assert!(matches!(answer, Answer::Refused(_)), "{message}: {answer:?}");
        }
        let unknown = [
            (
                403,
                "Forbidden",
                "secrets is forbidden: User \"u\" cannot create resource \"secrets\" in API group \"\"",
            ),
            (403, "Forbidden", "user \"u\" is attempting to grant RBAC permissions not currently held"),
            (403, "Forbidden", "pods \"x\" is forbidden: exceeded quota: q"),
            (500, "InternalError", "failed calling webhook \"a.b\": connection refused"),
            (404, "NotFound", "namespaces \"x\" not found"),
        ];
        for (code, reason, message) in unknown {
            let answer = understood(&secret, code, reason, message);
            assert!(matches!(answer, Answer::Unknown(_)), "{message}: {answer:?}");
        }
        let answer = understood(&widget, 404, "NotFound", "the server could not find the requested resource");
        assert!(matches!(answer, Answer::Unknown(_)), "its definition is not there: {answer:?}");
        let answer = understood(&secret, 409, "AlreadyExists", "secrets \"x\" already exists");
        assert!(matches!(answer, Answer::Accepted(None)), "{answer:?}");
    }

    #[test]
    fn an_api_server_that_is_lost_is_an_error() {
        let secret = ResourceKind::new("", "v1", "Secret", "secrets", true);
        let lost = Error::new(ErrorKind::Unreachable, "ask", "it");
        assert_eq!(understand(&secret, lost).unwrap_err().kind(), ErrorKind::Unreachable);
    }
}
