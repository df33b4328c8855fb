//! Turns events of `tracing` into lines.

use std::io::Write;

use chrono::Utc;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record as SpanRecord},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{
    AUDIT,
    file::Logs,
    line::{Record, Style},
};

/// Where lines go.
#[derive(Debug)]
enum Sink {
    Stderr(Style),
    Files(Logs),
}

/// A layer that writes lines of our own.
#[derive(Debug)]
pub(super) struct Lines(Sink);

impl Lines {
    pub(super) fn on_stderr(style: Style) -> Self {
        Self(Sink::Stderr(style))
    }

    pub(super) fn in_files(logs: Logs) -> Self {
        Self(Sink::Files(logs))
    }
}

/// Fields of a span; two of these layers keep the same ones.
#[derive(Debug, Default)]
struct Fields(Map<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().replace(fields);
    }

    fn on_record(&self, id: &Id, values: &SpanRecord<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if let Sink::Files(logs) = &self.0
            && !logs.are_open()
        {
            return;
        }
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.0.extend(of_span.0.clone());
            }
        }
        event.record(&mut fields);
        let metadata = event.metadata();
        let audit = metadata.target() == AUDIT;
        let record = Record { time: Utc::now(), level: *metadata.level(), audit, fields: fields.0 };
        match &self.0 {
            // Nobody listening there is no reason to stop.
            Sink::Stderr(style) => drop(std::io::stderr().lock().write_all(record.line(*style).as_bytes())),
            Sink::Files(logs) => logs.write(&record),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}
