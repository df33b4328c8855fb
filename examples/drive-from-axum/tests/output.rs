//! A backup that is begun over HTTP is followed to its end over HTTP.

use std::sync::Arc;

use backup_core::{
    components::files::{Files, FilesConfig},
    engine::{Engine, JobSettings},
    stores::MemoryStore,
    traits::Context,
};
use example_drive_from_axum::service;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

async fn ask(port: u16, request: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let head =
        format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn answer(port: u16, request: &str) -> String {
    let mut text = String::new();
    ask(port, request).await.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_begun_followed_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello"), "hello").unwrap();
    let engine = Engine::builder("served")
        .store("memory", Arc::new(MemoryStore::new()))
        .component("web", Arc::new(Files::new(FilesConfig::new(folder.path())).unwrap()))
        .job(JobSettings::new("on-demand"))
        .build()
        .unwrap();
    engine.init(&Context::new()).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, service(engine)).await });

    let mut events = ask(port, "GET /events").await;
    let mut line = String::new();
    // The head of the answer: from here on we are listening.
    while line != "\r\n" {
        line.clear();
        events.read_line(&mut line).await.unwrap();
    }
    let begun = answer(port, "POST /backups").await;
    assert!(begun.starts_with("HTTP/1.1 202") && begun.contains("on-demand"), "{begun}");
    let mut seen = String::new();
    while !seen.contains("component_ended") {
        let read = events.read_line(&mut seen).await.unwrap();
        assert!(read > 0, "the stream ended: {seen}");
    }
    assert!(seen.contains("session_begun") && seen.contains("\"web\""), "{seen}");
    let sessions = answer(port, "GET /sessions").await;
    assert!(sessions.contains("\"id\":\"backup_"), "{sessions}");
}
