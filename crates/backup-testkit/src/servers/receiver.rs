//! A server for HTTP that keeps what it gets and answers as a test wants it: for whatever is told to somebody else's server.

use super::error::{Error, Result};
use super::ports::Port;
use super::wait::poll;
use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
/// A client that is answered nothing gives up before.
const HANGS: Duration = Duration::from_secs(300);

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Its method.
    pub method: String,
    /// Its path, with the query.
    pub path: String,
    /// Its headers, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: String,
}

impl Received {
    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is answered so: status, more header lines, body.
    Answer(u16, Vec<String>, String),
    /// It is never answered.
    Hang,
    /// The connection ends.
    Close,
}

impl Reply {
    /// An answer without more headers.
    pub fn answer(status: u16, body: impl Into<String>) -> Self {
        Self::Answer(status, Vec::new(), body.into())
    }
}

#[derive(Debug)]
struct Shared {
    received: Mutex<Vec<Received>>,
    next: Mutex<VecDeque<Reply>>,
    usual: Mutex<Reply>,
    stop: AtomicBool,
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    port: Port,
    shared: Arc<Shared>,
}

impl Receiver {
    /// Starts a server that answers everything with `usual`.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(usual: Reply) -> Result<Self> {
        let port = Port::reserve()?;
        let listener = TcpListener::bind(("127.0.0.1", port.number()))?;
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            next: Mutex::default(),
            usual: Mutex::new(usual),
            stop: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                if serving.stop.load(Ordering::SeqCst) {
                    break;
                }
                let serving = serving.clone();
                // A client that goes away has seen enough.
                std::thread::spawn(move || drop(serving.serve(client)));
            }
        });
        Ok(Self { port, shared })
    }

    /// The address of `path`, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port.number())
    }

    /// The next requests are answered so, one each; those after them as usual.
    pub fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.shared.next).extend(replies);
    }

    /// From now on everything is answered so.
    pub fn usually(&self, reply: Reply) {
        *lock(&self.shared.usual) = reply;
    }

    /// What has arrived so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// What has arrived, and forgets it.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut *lock(&self.shared.received))
    }

    /// What has arrived, once so many requests have.
    ///
    /// # Errors
    /// When that takes longer than half a minute.
    pub fn wait(&self, count: usize) -> Result<Vec<Received>> {
        poll(format!("{count} requests"), LIMIT, || {
            let received = self.received();
            if received.len() < count { Err(format!("there are {}", received.len())) } else { Ok(received) }
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The listener waits for a client: this is the last one.
        let _ = TcpStream::connect(("127.0.0.1", self.port.number()));
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) -> Result<()> {
        client.set_read_timeout(Some(LIMIT))?;
        client.set_write_timeout(Some(LIMIT))?;
        let request = read_request(&mut BufReader::new(client.try_clone()?))?;
        lock(&self.received).push(request);
        let next = lock(&self.next).pop_front();
        match next.unwrap_or_else(|| lock(&self.usual).clone()) {
            Reply::Close => Ok(()),
            Reply::Hang => {
                // Until the client goes.
                client.set_read_timeout(Some(HANGS))?;
                let _ = client.read(&mut [0]);
                Ok(())
            }
            Reply::Answer(status, headers, body) => {
                let more: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
                let head = format!(
                    "HTTP/1.1 {status} Status\r\n{more}Content-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                client.write_all(head.as_bytes())?;
                Ok(client.write_all(body.as_bytes())?)
            }
        }
    }
}

/// A test that panicked while it held the lock has failed already.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn read_request(reader: &mut impl BufRead) -> Result<Received> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        return Err(Error::new(format!("this is no request: {line:?}")));
    };
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    Ok(Received { method, path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::http;
    use super::*;

    #[test]
    fn requests_are_kept_and_answered_in_the_order_that_was_wanted() {
        let receiver = Receiver::start(Reply::answer(200, "usual")).expect("it starts");
        receiver.next([Reply::answer(500, "first")]);
        let port = receiver.port.number();
        let first =
            http::request(port, "POST", "/a?b=c", &["X-Y: z".to_owned()], "body").expect("it answers");
        assert_eq!((first.status, first.body.as_str()), (500, "first"));
        assert_eq!(http::get(port, "/d").expect("it answers").body, "usual");
        let received = receiver.wait(2).expect("both came");
        assert_eq!((received[0].method.as_str(), received[0].path.as_str()), ("POST", "/a?b=c"));
        assert_eq!((received[0].headers["x-y"].as_str(), received[0].body.as_str()), ("z", "body"));
        assert_eq!(received[1].path, "/d");
    }
}
