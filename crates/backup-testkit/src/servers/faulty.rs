//! A proxy for HTTP behind which requests fail: before they are done, after, or in the middle of the answer.

use super::error::Result;
use super::ports::Port;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(120);
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is done and answered.
    Good,
    /// The connection ends before the server sees it.
    Dropped,
    /// The proxy answers 503 in the server's place.
    Busy,
    /// The server does it, and the answer is lost.
    Lost,
    /// The answer ends in its middle.
    Half,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    per_mille: AtomicU32,
    random: AtomicU64,
    served: AtomicU64,
    failed: AtomicU64,
    stop: AtomicBool,
}

/// Stands between a client and a server on loopback; each request has a connection of its own behind it. Signatures stay
/// good: the request reaches the server with the host that the client meant.
#[derive(Debug)]
pub struct FaultyProxy {
    port: Port,
    shared: Arc<Shared>,
}

impl FaultyProxy {
    /// Begins to pass requests on to `upstream`. `seed` decides which ones fail, once [`FaultyProxy::fail`] was called.
    ///
    /// # Errors
    /// When there is no free port.
    pub fn start(upstream: u16, seed: u64) -> Result<Self> {
        let port = Port::reserve()?;
        let listener = TcpListener::bind(("127.0.0.1", port.number()))?;
        let shared = Arc::new(Shared {
            upstream,
            per_mille: AtomicU32::new(0),
            random: AtomicU64::new(seed.max(1)),
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(std::io::Result::ok) {
                if serving.stop.load(Ordering::SeqCst) {
                    break;
                }
                let serving = serving.clone();
                // A client that goes away is what this is for.
                std::thread::spawn(move || drop(serving.serve(client)));
            }
        });
        Ok(Self { port, shared })
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// From now on so many of a thousand requests fail.
    pub fn fail(&self, per_mille: u32) {
        self.shared.per_mille.store(per_mille, Ordering::SeqCst);
    }

    /// Requests that went well, and those that did not.
    pub fn counts(&self) -> (u64, u64) {
        (self.shared.served.load(Ordering::SeqCst), self.shared.failed.load(Ordering::SeqCst))
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // The listener waits for a client: this is the last one.
        let _ = TcpStream::connect(("127.0.0.1", self.port.number()));
    }
}

impl Shared {
    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        client.set_read_timeout(Some(TIMEOUT))?;
        client.set_write_timeout(Some(TIMEOUT))?;
        let mut reader = BufReader::new(client.try_clone()?);
        let Some((head, length)) = read_head(&mut reader)? else { return Ok(()) };
        let fate = self.fate();
        let counter = if fate == Fate::Good { &self.served } else { &self.failed };
        counter.fetch_add(1, Ordering::SeqCst);
        match fate {
            Fate::Dropped => client.shutdown(Shutdown::Both),
            Fate::Busy => {
                std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
                (&client).write_all(BUSY.as_bytes())
            }
            _ => {
                let mut server = TcpStream::connect(("127.0.0.1", self.upstream))?;
                server.set_read_timeout(Some(TIMEOUT))?;
                server.write_all(head.as_bytes())?;
                std::io::copy(&mut reader.take(length), &mut server)?;
                pass_back(server, &client, fate)
            }
        }
    }

    /// xorshift64: the same seed gives the same fates, whoever asks.
    fn fate(&self) -> Fate {
        let step = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        let before = self.random.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |x| Some(step(x)));
        let random = step(before.unwrap_or(1));
        if (random >> 20) % 1000 >= u64::from(self.per_mille.load(Ordering::SeqCst)) {
            return Fate::Good;
        }
        [Fate::Dropped, Fate::Busy, Fate::Lost, Fate::Half][(random >> 50) as usize % 4]
    }
}

/// The request's head, changed so that the connection ends after it, and the length of its body.
fn read_head(reader: &mut impl BufRead) -> std::io::Result<Option<(String, u64)>> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line == "\r\n" {
            head.push_str("Connection: close\r\n\r\n");
            return Ok(Some((head, length)));
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
}

fn pass_back(mut server: TcpStream, mut client: &TcpStream, fate: Fate) -> std::io::Result<()> {
    match fate {
        Fate::Lost => {
            // It must be done before it is lost.
            std::io::copy(&mut server, &mut std::io::sink())?;
        }
        Fate::Half => {
            let mut answer = Vec::new();
            server.take(1 << 20).read_to_end(&mut answer)?;
            client.write_all(&answer[..answer.len() / 2])?;
        }
        _ => drop(std::io::copy(&mut server, &mut client)?),
    }
    client.shutdown(Shutdown::Both)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_its_lines_but_for_the_connection() {
        let raw = "PUT /b/k HTTP/1.1\r\nHost: h:1\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc";
        let mut reader = raw.as_bytes();
        let (head, length) = read_head(&mut reader).expect("it reads").expect("it is whole");
        assert_eq!(head, "PUT /b/k HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
        assert_eq!((length, reader), (3, &b"abc"[..]));
    }

    #[test]
    fn about_as_many_fail_as_were_asked_for() {
        let proxy = FaultyProxy::start(1, 7).expect("it starts");
        assert!((0..1000).all(|_| proxy.shared.fate() == Fate::Good));
        proxy.fail(500);
        let failed = (0..10_000).filter(|_| proxy.shared.fate() != Fate::Good).count();
        assert!((4500..5500).contains(&failed), "{failed}");
    }
}
