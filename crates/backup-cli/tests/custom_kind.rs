//! A binary with a kind of its own is the builder with one more factory.

use std::{process::ExitCode, sync::Arc};

use async_trait::async_trait;
use backup_cli::Builder;
use backup_core::{
    traits::{
        ArtifactSpec, Capture, CaptureAsk, Captured, Component, ComponentFactory, Context, Deps, EndEvidence,
        Node, Sink,
    },
    words::{Kind, Point, Result, Span},
};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
struct Greeting(String);

#[async_trait]
impl Component for Greeting {
    fn kind(&self) -> Kind {
        Kind { name: "greeting".to_owned(), format: 1 }
    }

    async fn open(&self, _: &Context, _: &CaptureAsk) -> Result<Box<dyn Capture>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Capture for Greeting {
    async fn run(self: Box<Self>, cx: &Context, sink: &dyn Sink) -> Result<Captured> {
        let mut writer = sink.create(ArtifactSpec::new("txt", "text/plain")).await?;
        writer.write(self.0.into()).await?;
        let receipt = writer.finish(EndEvidence::new("it was said whole")).await?;
        let now = cx.now();
        Ok(Captured::new(Point::pinned(Span { from: now, to: now }), vec![receipt]))
    }
}

#[derive(Debug)]
struct GreetingFactory;

#[async_trait]
impl ComponentFactory for GreetingFactory {
    fn kind(&self) -> &'static str {
        "greeting"
    }

    fn schema(&self) -> Value {
        json!({ "type": "object", "properties": { "text": { "type": "string" } } })
    }

    fn restore_schema(&self) -> Value {
        json!({ "type": "object", "properties": {} })
    }

    fn example(&self) -> &'static str {
        "[[component]]\nkind = \"greeting\"\ntext = \"hello\"\n"
    }

    async fn build(&self, _: &str, config: &Node, _: &Deps) -> Result<Arc<dyn Component>> {
        let text = config.get("text").ok_or_else(|| config.error("text", "it is missing"))?;
        Ok(Arc::new(Greeting(text.value().as_str().unwrap_or_default().to_owned())))
    }
}

#[test]
fn a_registered_kind_is_configured_backed_up_and_extracted_like_the_built_in_ones() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("c.toml");
    let text = format!(
        "name = \"crm\"\n[[store]]\nkind = \"local\"\npath = {:?}\n[[component]]\nkind = \"greeting\"\ntext = \"hello\"\n",
        folder.path().join("store")
    );
    std::fs::write(&config, &text).unwrap();
    let (config, plain) = (config.display().to_string(), folder.path().join("plain"));
    let run = |args: &[&str]| {
        let all = ["ha-backup", "-q", "--config", &config].into_iter().chain(args.iter().copied());
        Builder::new().component(Arc::new(GreetingFactory)).run(all)
    };
    assert_eq!(run(&["init"]), ExitCode::SUCCESS);
    assert_eq!(run(&["backup"]), ExitCode::SUCCESS);
    assert_eq!(run(&["extract", "latest", "--to", &plain.display().to_string()]), ExitCode::SUCCESS);
    let file = std::fs::read_dir(plain.join("greeting")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(file).unwrap(), "hello");

    std::fs::write(&config, text.replace("text =", "txet =")).unwrap();
    assert_eq!(run(&["check"]), ExitCode::from(2));
}
