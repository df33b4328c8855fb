//! `status --watch`: looks again and again, until somebody ends it.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use super::{App, look, text};
use crate::{
    exit::{Exit, Failure},
    render::moment,
};

/// Another screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// What a terminal has that does not say its size.
const USUAL: (usize, usize) = (80, 24);

/// The screen is left, however this ends.
#[derive(Debug)]
struct Screen;

impl Screen {
    /// None where nobody looks at a terminal.
    fn enter() -> Option<Self> {
        let mut out = io::stdout().lock();
        out.is_terminal().then(|| {
            // A terminal that is gone is noticed with the first page.
            let _ = out.write_all(ENTER.as_bytes());
            Self
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(LEAVE.as_bytes()).and_then(|()| out.flush());
    }
}

pub(super) async fn run(app: &mut App, every: u32) -> Result<Exit, Failure> {
    app.reporter.settle();
    let screen = Screen::enter();
    loop {
        let page = match look(app).await {
            Ok(status) => text::text(&status, app.cx.now()),
            Err(_) if app.cx.cancel.is_cancelled() => return Ok(Exit::Good),
            // It may be well again the next time.
            Err(failure) => format!("the status cannot be told: {}", failure.error.chain()),
        };
        let page = format!("{}\n{}", head(app, every), page.trim_end());
        let shown = if screen.is_some() { frame(&page, size()) } else { format!("{page}\n\n") };
        let mut out = io::stdout().lock();
        if out.write_all(shown.as_bytes()).and_then(|()| out.flush()).is_err() {
            // Whoever stopped reading has seen enough.
            return Ok(Exit::Good);
        }
        drop(out);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(u64::from(every))) => {}
            () = app.cx.cancel.cancelled() => return Ok(Exit::Good),
        }
    }
}

fn head(app: &App, every: u32) -> String {
    format!("{}, every {every} s; Ctrl-C ends", moment(app.cx.now()))
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => USUAL,
    }
}

/// The page over what was there before, as much of it as there is room for.
fn frame(page: &str, (columns, lines): (usize, usize)) -> String {
    let all: Vec<&str> = page.lines().collect();
    let room = if all.len() > lines { lines.saturating_sub(1) } else { all.len() };
    let mut shown: Vec<String> = all[..room].iter().map(|line| cut(line, columns)).collect();
    if room < all.len() {
        shown.push(cut(&format!("... {} more lines", all.len() - room), columns));
    }
    // Each line is cleared to its end, and all below: nothing flickers, nothing is left.
    format!("\x1b[H{}\x1b[K\x1b[J", shown.join("\x1b[K\r\n"))
}

/// What fits into the columns; a name may have what a terminal would obey.
fn cut(line: &str, columns: usize) -> String {
    let clean = line.chars().map(|c| if c.is_control() { '?' } else { c });
    if line.chars().count() <= columns {
        return clean.collect();
    }
    let mut short: String = clean.take(columns.saturating_sub(1)).collect();
    short.push('>');
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_frame_never_has_more_than_there_is_room_for(
            page in prop::collection::vec("[a-z\\x1b ]{0,100}", 0..60),
            columns in 1usize..120,
            lines in 1usize..50,
        ) {
            let frame = frame(&page.join("\n"), (columns, lines));
            let shown: Vec<&str> = frame.split("\r\n").collect();
            prop_assert!(shown.len() <= lines);
            for line in shown {
                let line = line.replace("\x1b[H", "").replace("\x1b[K", "").replace("\x1b[J", "");
                prop_assert!(line.chars().count() <= columns, "{line:?}");
                prop_assert!(!line.contains('\x1b'));
            }
        }
    }
}
