//! From a program's output to the artifact.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use tokio::io::AsyncReadExt;

use super::{
    run::{Operation, Programs, Running},
    told::Told,
};
use crate::{
    traits::{ArtifactSpec, Capture, CaptureAsk, Captured, Context, EndEvidence, Sink, Writer},
    words::{Error, ErrorKind, Point, Result, Span},
};

/// How much is read at once.
const PIECE: usize = 256 << 10;
/// Where an end marker is looked for.
const END: usize = 4 << 10;

/// A program that has been started: many pin their state as they begin. Its output waits until it is read.
#[derive(Debug)]
pub(super) struct CommandCapture {
    programs: Programs,
    running: Running,
    opened: DateTime<Utc>,
}

impl CommandCapture {
    pub(super) async fn open(cx: &Context, programs: &Programs, ask: &CaptureAsk) -> Result<Self> {
        let opened = cx.now();
        let more =
            [("HA_BACKUP_SESSION", ask.session.to_string()), ("HA_BACKUP_ATTEMPT", ask.attempt.to_string())];
        let running = programs.start(cx, Operation::Backup, &programs.config.backup, false, &more).await?;
        Ok(Self { programs: programs.clone(), running, opened })
    }
}

#[async_trait]
impl Capture for CommandCapture {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let Self { programs, mut running, opened } = *self;
        let config = &programs.config;
        let mut writer = sink.create(ArtifactSpec::new(&config.extension, &config.media_type)).await?;
        let program = running.program.clone();
        let work = programs.within(&program, stream(&mut running, &mut *writer));
        let read = cx.or_cancelled("run the program", work).await;
        let proved = read.and_then(|read| {
            let told = running.told()?;
            Ok((read.evidence(&programs, &program, &told)?, told))
        });
        let (evidence, told) = match proved {
            Ok(proved) => proved,
            Err(e) => {
                writer.abort().await;
                return Err(e);
            }
        };
        let receipt = writer.finish(evidence).await?;
        let mut point = Point::pinned(Span { from: opened, to: cx.now() });
        point.position = told.position;
        let mut captured = Captured::new(point, vec![receipt]);
        captured.facts = told.facts;
        captured.coverage = told.coverage;
        captured.warnings = told.warnings;
        Ok(captured)
    }
}

/// What came of a program.
struct Read {
    bytes: u64,
    end: Vec<u8>,
}

async fn stream(running: &mut Running, writer: &mut dyn Writer) -> Result<Read> {
    let mut read = Read { bytes: 0, end: Vec::new() };
    let failed = |e| Error::io("read the output of", running.program.clone(), e);
    if let Some(mut stdout) = running.process.stdout() {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            // Programs write little at a time: pieces are filled before they go on.
            while piece.len() < PIECE && stdout.read_buf(&mut piece).await.map_err(failed)? > 0 {}
            if piece.is_empty() {
                break;
            }
            let short = piece.len() < PIECE;
            read.add(piece.freeze(), writer).await?;
            if short {
                break;
            }
        }
    }
    running.ended().await?;
    Ok(read)
}

impl Read {
    async fn add(&mut self, piece: Bytes, writer: &mut dyn Writer) -> Result<()> {
        self.bytes += piece.len() as u64;
        self.end.extend_from_slice(&piece[piece.len().saturating_sub(END)..]);
        let over = self.end.len().saturating_sub(END);
        self.end.drain(..over);
        writer.write(piece).await
    }

    /// Why the end is believed to be the end.
    fn evidence(&self, programs: &Programs, program: &str, told: &Told) -> Result<EndEvidence> {
        let wrong = |detail: String, hint: &str| {
            Error::new(ErrorKind::Failed, "believe the output of", program).detail(detail).hint(hint)
        };
        if self.bytes == 0 && !programs.config.may_be_empty {
            let hint = "if that may be right, set `may_be_empty = true`";
            return Err(wrong("it exited with 0 and wrote nothing".to_owned(), hint));
        }
        let mut evidence = EndEvidence::new(format!("{program} exited with 0"));
        if let Some(marker) = &programs.config.end_marker {
            if !self.end.windows(marker.len()).any(|text| text == marker.as_bytes()) {
                let detail =
                    format!("it exited with 0, and {marker:?} is not in the last {END} bytes that it wrote");
                return Err(wrong(
                    detail,
                    "the output was cut short, or `end_marker` is not what the program writes",
                ));
            }
            evidence = evidence.and(format!("{marker:?} stands at the end"));
        }
        if told.bytes.is_some() || told.sha256.is_some() {
            evidence = evidence.and("it said itself what it had written");
        }
        evidence = evidence.bytes(told.bytes.unwrap_or(self.bytes));
        Ok(match &told.sha256 {
            Some(sha256) => evidence.sha256(sha256),
            None => evidence,
        })
    }
}
