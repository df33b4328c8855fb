//! Chats behind one address that is the secret: Slack, Discord, Microsoft Teams.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Context, Node, SecretSource},
    words::Result,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Notifier, NotifierKind, cut,
    http::{Answer, Ask, Http, HttpSettings},
};
use crate::alert::{Item, Message, Severity, Standing};

/// `slack`: an incoming webhook of Slack, or of what speaks the same (Mattermost, Rocket.Chat).
/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/>
pub(super) const SLACK: NotifierKind = NotifierKind {
    kind: "slack",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| Chat::build(name, node, SLACK_DIALECT),
};

/// `discord`: a webhook of a channel. <https://discord.com/developers/docs/resources/webhook#execute-webhook>
pub(super) const DISCORD: NotifierKind = NotifierKind {
    kind: "discord",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| Chat::build(name, node, DISCORD_DIALECT),
};

/// `teams`: a workflow "when a webhook request is received", which posts an adaptive card.
/// <https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>
pub(super) const TEAMS: NotifierKind = NotifierKind {
    kind: "teams",
    schema: || schemars::schema_for!(Section).to_value(),
    build: |name, node| Chat::build(name, node, TEAMS_DIALECT),
};

const SLACK_DIALECT: Dialect = Dialect { body: slack, good: slack_took_it };
const DISCORD_DIALECT: Dialect = Dialect { body: discord, good: discord_took_it };
const TEAMS_DIALECT: Dialect = Dialect { body: teams, good: teams_took_it };

/// What one chat reads and answers.
#[derive(Clone, Copy, Debug)]
struct Dialect {
    body: fn(&Message) -> Value,
    good: fn(&Answer) -> bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
struct Section {
    /// The webhook's address. It is a secret: { env = "X" }, { file = "P" } or { command = ["..."] }.
    url: SecretSource,
    #[serde(flatten)]
    http: HttpSettings,
}

#[derive(Debug)]
struct Chat {
    http: Http,
    url: SecretSource,
    dialect: Dialect,
}

impl Chat {
    fn build(name: &str, node: &Node, dialect: Dialect) -> Result<Arc<dyn Notifier>> {
        let section: Section = node.parse()?;
        Ok(Arc::new(Self { http: Http::new(name, node, section.http)?, url: section.url, dialect }))
    }
}

#[async_trait]
impl Notifier for Chat {
    async fn send(&self, cx: &Context, message: &Message) -> Result<()> {
        let url = self.http.url(&self.url, "url").await?;
        let ask = Ask::json(url, &(self.dialect.body)(message));
        self.http.send(cx, &ask, self.dialect.good).await
    }
}

/// Discord takes no more embeds in a message; the others' limits are higher.
const MOST: usize = 10;

/// Those that are shown, and how many are not.
fn shown(message: &Message) -> (&[Item], usize) {
    let shown = message.alerts.len().min(MOST);
    (&message.alerts[..shown], message.alerts.len() - shown)
}

/// What is said below them.
fn footer(message: &Message, left: usize) -> String {
    let mut text =
        format!("{} on {}, {}", message.name, message.host, message.at.format("%Y-%m-%d %H:%M:%S UTC"));
    if left > 0 {
        text.push_str(&format!("; {left} more are not shown"));
    }
    if let Some(held) = message.held_line() {
        text.push_str(&format!("; {held}"));
    }
    text
}

/// Slack's colours: a severity that is over is green.
fn colour(item: &Item) -> u32 {
    match (item.standing, item.problem.severity) {
        (Standing::Resolved, _) => 0x2e_b8_86,
        (_, Severity::Critical) => 0xd0_02_1b,
        (_, Severity::Warning) => 0xf5_a6_23,
        (_, Severity::Info) => 0x4a_90_e2,
    }
}

/// `text` for notifications and an attachment for each alert. `&`, `<` and `>` are Slack's control characters.
fn slack(message: &Message) -> Value {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let (items, left) = shown(message);
    let attachments: Vec<Value> = items
        .iter()
        .map(|item| {
            json!({
                "color": format!("#{:06x}", colour(item)),
                "title": escape(&cut(&format!("{}: {}", item.word(), item.problem.title), 250)),
                "text": escape(&cut(&item.details().join("\n"), 2500)),
                "fallback": escape(&cut(&item.problem.title, 250)),
                "footer": escape(&footer(message, left)),
                "ts": message.at.timestamp(),
            })
        })
        .collect();
    let title = escape(&format!("[{}] {}", message.name, cut(&message.title(), 300)));
    json!({ "text": title, "attachments": attachments })
}

/// Slack and Mattermost say `ok`, Rocket.Chat says it in JSON.
fn slack_took_it(answer: &Answer) -> bool {
    answer.body.trim() == "ok" || answer.json()["success"] == true
}

/// An embed for each alert; nobody is mentioned, whatever stands in a message.
fn discord(message: &Message) -> Value {
    let (items, left) = shown(message);
    let embeds: Vec<Value> = items
        .iter()
        .map(|item| {
            json!({
                "title": cut(&format!("{}: {}", item.word(), item.problem.title), 250),
                // 6000 characters are the limit of all embeds together.
                "description": cut(&item.details().join("\n"), 250),
                "color": colour(item),
                "timestamp": message.at.to_rfc3339(),
            })
        })
        .collect();
    let head = format!("**[{}] {}**\n{}", message.name, cut(&message.title(), 300), footer(message, left));
    json!({ "content": head, "embeds": embeds, "allowed_mentions": { "parse": [] } })
}

/// 204 without a body; with `?wait=true` in the address the message itself.
fn discord_took_it(answer: &Answer) -> bool {
    answer.status.as_u16() == 204 || answer.json()["id"].is_string()
}

/// An adaptive card. <https://adaptivecards.io/explorer/>
fn teams(message: &Message) -> Value {
    let (items, left) = shown(message);
    let block = |text: String| json!({ "type": "TextBlock", "text": text, "wrap": true });
    let mut title = block(format!("[{}] {}", message.name, cut(&message.title(), 300)));
    title["size"] = json!("Large");
    title["weight"] = json!("Bolder");
    let mut body = vec![title];
    for item in items {
        let style = match (item.standing, item.problem.severity) {
            (Standing::Resolved, _) => "good",
            (_, Severity::Critical) => "attention",
            (_, Severity::Warning) => "warning",
            (_, Severity::Info) => "accent",
        };
        let mut head = block(cut(&format!("{}: {}", item.word(), item.problem.title), 300));
        head["weight"] = json!("Bolder");
        // A message has 28 kB at most. An empty line is a new one there.
        let details = block(cut(&item.details().join("\n\n"), 1500));
        let lines = [head, details];
        body.push(json!({ "type": "Container", "style": style, "items": lines }));
    }
    let mut last = block(footer(message, left));
    last["isSubtle"] = json!(true);
    body.push(last);
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
            },
        }],
    })
}

/// Workflows say 202; what answers 200 says nothing, or `1` as connectors did.
fn teams_took_it(answer: &Answer) -> bool {
    answer.status.as_u16() == 202 || matches!(answer.body.trim(), "" | "1")
}
