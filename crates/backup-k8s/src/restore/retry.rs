//! Trying again, with a bound: what passes is waited for, what stays is an error.

use std::time::{Duration, Instant};

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result, Retry},
};

use crate::cluster::{self, Cluster, refusal};

/// For how long something of the cluster's own may stand in the way: a webhook that starts, somebody who writes at the same time.
const PASSING: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a request is tried.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) cx: &'a Context,
    pub(super) cluster: &'a Cluster,
}

impl Patience<'_> {
    /// Does `work` until it is answered, be it by a refusal. An API server that is away, or asks to slow down, is waited for.
    pub(super) async fn keep<T, F>(self, operation: &str, mut work: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut away = cluster::Patience::new();
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match self.cx.or_cancelled(operation, work()).await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            if !passes(&error) {
                self.cx.or_cancelled(operation, away.wait(self.cluster, error)).await?;
                continue;
            }
            if begun.elapsed() > PASSING {
                return Err(error);
            }
            tracing::debug!(error = %error.chain(), "tried again");
            // Those who stand in each other's way don't come back at the same instant.
            let jitter = f64::from(self.cx.now().timestamp_subsec_nanos() % 256) / 512.0;
            let sleep = async {
                tokio::time::sleep(pause.mul_f64(0.75 + jitter)).await;
                Ok(())
            };
            self.cx.or_cancelled(operation, sleep).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether what stands in the way will pass by itself, though the API server answered.
fn passes(error: &Error) -> bool {
    let Some(refusal) = refusal(error) else {
        // A list whose version was gone begins again.
        return error.kind() == ErrorKind::Conflict && error.retry_class() == Retry::Now;
    };
    let said = |text: &str| refusal.message.contains(text);
    match refusal.code {
        500 => {
            let starting =
                ["failed calling webhook", "conversion webhook", "etcdserver:", "context deadline exceeded"];
            starting.into_iter().any(said)
        }
        409 => said("the object has been modified"),
        403 => said("not yet ready to handle request"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Refusal;

    fn refused(code: u16, message: &str) -> Error {
        let refusal = Refusal { code, reason: String::new(), message: message.to_owned(), retry_after: None };
        Error::new(ErrorKind::Failed, "ask", "it").because(refusal)
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        assert!(passes(&refused(
            500,
            "Internal error occurred: failed calling webhook \"a.b\": connection refused"
        )));
        assert!(passes(&refused(
            409,
            "Operation cannot be fulfilled: the object has been modified; please apply"
        )));
        assert!(!passes(&refused(409, "Apply failed with 1 conflict: conflict with \"kubectl\": .data.a")));
        assert!(!passes(&refused(422, "spec.selector: field is immutable")));
        assert!(
            !passes(&Error::new(ErrorKind::Unreachable, "ask", "it")),
            "the API server is waited for elsewhere"
        );
        assert!(passes(&Error::new(ErrorKind::Conflict, "list", "it").retry(Retry::Now)));
    }
}
