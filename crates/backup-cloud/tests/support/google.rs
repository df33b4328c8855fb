//! Google's words for an S3 server: a proxy that turns what Google says in its own way into S3's, and checks it.
//!
//! Google Cloud Storage takes the same XML as S3. Its own are the condition (`x-goog-if-generation-match: 0`) and the checksum
//! (`x-goog-hash`), which it refuses when it is wrong.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use backup_testkit::servers::Port;

/// The proxy; it ends with the test's process.
pub(crate) struct Google {
    port: Port,
    checked: Arc<AtomicU64>,
}

impl Google {
    pub(crate) fn before(upstream: u16) -> Self {
        let port = Port::reserve().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", port.number())).unwrap();
        let checked = Arc::new(AtomicU64::new(0));
        let counter = checked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let counter = counter.clone();
                std::thread::spawn(move || drop(serve(client, upstream, &counter)));
            }
        });
        Self { port, checked }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// How many bodies had a right checksum.
    pub(crate) fn checked(&self) -> u64 {
        self.checked.load(Ordering::SeqCst)
    }
}

fn serve(mut client: TcpStream, upstream: u16, checked: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let (mut head, mut length, mut hash, mut put) = (String::new(), 0, None, false);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        put |= line.starts_with("PUT ");
        let lower = line.to_ascii_lowercase();
        match lower.split_once(": ").map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => length = value.parse().unwrap_or(0),
            Some(("x-goog-if-generation-match", "0")) => line = "If-None-Match: *\r\n".to_owned(),
            Some(("x-goog-hash", _)) => {
                hash = line.trim().rsplit_once("crc32c=").map(|(_, crc)| crc.to_owned())
            }
            _ => {}
        }
        if line == "\r\n" {
            head.push_str("Connection: close\r\n\r\n");
            break;
        }
        if !lower.starts_with("connection:") {
            head.push_str(&line);
        }
    }
    let mut body = Vec::new();
    reader.take(length).read_to_end(&mut body)?;
    if put && !body.is_empty() {
        assert_eq!(hash.as_deref(), Some(crc(&body).as_str()), "every body has its checksum: {head}");
        checked.fetch_add(1, Ordering::SeqCst);
    }
    let mut server = TcpStream::connect(("127.0.0.1", upstream))?;
    server.write_all(head.as_bytes())?;
    server.write_all(&body)?;
    std::io::copy(&mut server, &mut client)?;
    client.shutdown(Shutdown::Both)
}

fn crc(body: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(crc32c::crc32c(body).to_be_bytes())
}
