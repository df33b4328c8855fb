//! Progress of long work: bars on a terminal, lines elsewhere, JSON lines for scripts.
//!
//! Events are handed to a thread of their own, so that a slow terminal never holds up a backup.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use backup_core::{
    traits::{Event, Observer},
    words::{ComponentStatus, human_bytes},
};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{Output, eprintln_quietly, print};

/// Progress events waiting for the thread; beyond these, further ones are dropped: the next will say more.
const WAITING: usize = 64;

/// Shows events until it is finished.
#[derive(Debug)]
pub(crate) struct Reporter {
    observer: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Queue {
    sender: mpsc::Sender<Message>,
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Message {
    Event(Event),
    /// All before it is to be shown and the bars cleared; then this is answered.
    Settle(mpsc::Sender<()>),
    End,
}

impl Observer for Queue {
    fn event(&self, event: Event) {
        let droppable = matches!(event, Event::Progress { .. });
        if droppable && self.waiting.load(Ordering::Relaxed) >= WAITING {
            return;
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The thread ends only after `finish`: what comes later has nobody to see it.
        let _ = self.sender.send(Message::Event(event));
    }
}

impl Reporter {
    /// Begins to show events on `bars` (hidden where there is no terminal).
    pub(crate) fn start(output: Output, bars: MultiProgress) -> Self {
        let (sender, receiver) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        let mut view = View::new(output, bars);
        let thread = std::thread::spawn(move || {
            while let Ok(message) = receiver.recv() {
                match message {
                    Message::Event(event) => {
                        left.fetch_sub(1, Ordering::Relaxed);
                        view.show(&event);
                    }
                    Message::Settle(done) => {
                        view.clear();
                        let _ = done.send(());
                    }
                    Message::End => break,
                }
            }
            view.clear();
        });
        Self { observer: Arc::new(Queue { sender, waiting }), thread: Some(thread) }
    }

    /// Takes the events.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        self.observer.clone()
    }

    /// Waits until all events so far are shown and the bars are gone, so that results may be printed.
    pub(crate) fn settle(&self) {
        let (sender, receiver) = mpsc::channel();
        if self.observer.sender.send(Message::Settle(sender)).is_ok() {
            let _ = receiver.recv();
        }
    }
}

impl Drop for Reporter {
    /// Shows what is still waiting and clears the bars.
    fn drop(&mut self) {
        let _ = self.observer.sender.send(Message::End);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The bars' place: standard error when it is a terminal and somebody wants to look.
pub(crate) fn bars(output: Output) -> MultiProgress {
    let target =
        if output.json || output.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    MultiProgress::with_draw_target(target)
}

#[derive(Debug)]
struct View {
    output: Output,
    bars: MultiProgress,
    artifacts: BTreeMap<(String, String), ProgressBar>,
    phase: Option<ProgressBar>,
}

impl View {
    fn new(output: Output, bars: MultiProgress) -> Self {
        Self { output, bars, artifacts: BTreeMap::new(), phase: None }
    }

    fn show(&mut self, event: &Event) {
        if self.output.json {
            if let Ok(line) = serde_json::to_string(event) {
                let _ = print(&line);
            }
            return;
        }
        self.draw(event);
        if let Some(line) = line(event)
            && !self.output.quiet
        {
            self.say(&line);
        }
    }

    fn say(&self, line: &str) {
        self.bars.suspend(|| eprintln_quietly(line));
    }

    /// Moves the bars; nothing is drawn where there is no terminal.
    fn draw(&mut self, event: &Event) {
        match event {
            Event::Progress { component, artifact, bytes, stored_bytes, expected } => {
                let bar = self
                    .artifacts
                    .entry((component.clone(), artifact.clone()))
                    .or_insert_with(|| self.bars.add(bar(component)));
                if let Some(expected) = expected.filter(|expected| expected >= bytes) {
                    bar.set_length(expected);
                    bar.set_style(style(KNOWN));
                }
                bar.set_position(*bytes);
                bar.set_message(format!("{} stored", human_bytes(*stored_bytes)));
            }
            Event::ComponentEnded { component, .. } | Event::Reopened { component, .. } => {
                self.clear_bars(component);
            }
            Event::Copied { store, .. } => {
                self.still();
                self.clear_bars(store);
            }
            Event::Phase { name } => self.spin(name.clone()),
            Event::StepBegun { component, action, .. } => self.spin(format!("{component}: {action}")),
            Event::StepEnded { .. } => self.still(),
            _ => {}
        }
    }

    /// Of a component, or of the store that is copied to.
    fn clear_bars(&mut self, of: &str) {
        self.artifacts.retain(|(name, _), bar| {
            let keep = name != of;
            if !keep {
                bar.finish_and_clear();
            }
            keep
        });
    }

    fn spin(&mut self, message: String) {
        self.still();
        let spinner = self.bars.add(ProgressBar::new_spinner().with_style(style(SPINNER)));
        spinner.set_message(message);
        spinner.enable_steady_tick(std::time::Duration::from_millis(120));
        self.phase = Some(spinner);
    }

    fn still(&mut self) {
        if let Some(phase) = self.phase.take() {
            phase.finish_and_clear();
        }
    }

    fn clear(&mut self) {
        self.still();
        for (_, bar) in std::mem::take(&mut self.artifacts) {
            bar.finish_and_clear();
        }
    }
}

const KNOWN: &str = "  {prefix:<12} {bar:24} {binary_bytes:>11} of {binary_total_bytes:<11} {binary_bytes_per_sec:>13}  {msg}";
const OPEN: &str = "  {prefix:<12} {spinner} {binary_bytes:>11} {binary_bytes_per_sec:>13}  {msg}";
const SPINNER: &str = "  {spinner} {msg}";

fn bar(component: &str) -> ProgressBar {
    ProgressBar::no_length().with_style(style(OPEN)).with_prefix(component.to_owned())
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the template is a constant").progress_chars("=> ")
}

/// What is said once and for all of an event.
fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::SessionBegun { session } => format!("session {session}"),
        Event::Reopened { component, reason } => format!("{component}: begins again: {reason}"),
        Event::ComponentEnded { component, status, error } => {
            let how = match status {
                ComponentStatus::Success => "done",
                ComponentStatus::Partial => "done, but something is missing",
                ComponentStatus::Failed => "failed",
            };
            match error {
                Some(error) => format!("{component}: {how}: {error}"),
                None => format!("{component}: {how}"),
            }
        }
        Event::Copied { session, store, bytes } => {
            format!("{store}: {session} copied, {}", human_bytes(*bytes))
        }
        Event::StepEnded { component, summary, .. } => format!("{component}: {summary}"),
        Event::Warning { component: Some(component), message } => format!("warning: {component}: {message}"),
        Event::Warning { component: None, message } => format!("warning: {message}"),
        _ => return None,
    })
}
