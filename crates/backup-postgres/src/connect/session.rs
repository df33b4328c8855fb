//! One connection to one database.

use std::time::Duration;

use backup_core::{
    traits::Place,
    words::{Error, ErrorKind, Result, Secret},
};
use tokio_postgres::{Client, Row, SimpleQueryMessage, types::ToSql};

use super::{Address, sql_error, tls::Tls, wire::Wire};
use crate::config::Config;

/// A connection to one database. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    subject: String,
}

impl Session {
    /// Connects. Nothing on the server ends the session for being slow or idle: a snapshot may be held for hours.
    pub(crate) async fn open(
        place: &dyn Place,
        config: &Config,
        tls: &Tls,
        password: Option<&Secret>,
        address: &Address,
        database: &str,
    ) -> Result<Self> {
        let subject = format!("database {database} on {address}");
        let work = async {
            let stream = Wire(place.connect(&address.host, address.port).await?);
            let mut options = tokio_postgres::Config::new();
            options.user(&config.user).dbname(database).application_name("ha-backup");
            if let Some(password) = password {
                options.password(password.expose());
            }
            let client = tls.connect(options, config.sslmode, address, stream, &subject).await?;
            let session = Self { client, subject: subject.clone() };
            session
                .batch(
                    "SET statement_timeout = 0; SET lock_timeout = 0; \
                     SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; \
                     SET search_path = pg_catalog; SET client_min_messages = warning",
                )
                .await?;
            Ok(session)
        };
        match tokio::time::timeout(Duration::from_secs(config.connect_timeout_seconds), work).await {
            Ok(done) => done,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "connect to", subject)
                .detail(format!("no answer within {} s", config.connect_timeout_seconds))),
        }
    }

    /// Runs statements without parameters or results.
    pub(crate) async fn batch(&self, statements: &str) -> Result<()> {
        self.client.batch_execute(statements).await.map_err(|e| sql_error("run SQL in", &self.subject, &e))
    }

    /// Runs statements in one message and returns the last row's first column.
    pub(crate) async fn text(&self, statements: &str) -> Result<String> {
        let answer = self.client.simple_query(statements).await;
        let messages = answer.map_err(|e| sql_error("run SQL in", &self.subject, &e))?;
        let value = messages.iter().rev().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.ok_or_else(|| {
            Error::new(ErrorKind::Internal, "run SQL in", &self.subject).detail("no row came back")
        })
    }

    /// Runs statements in one message and returns the first row's first column; none for no row, or null.
    pub(crate) async fn first(&self, statements: &str) -> Result<Option<String>> {
        let answer = self.client.simple_query(statements).await;
        let messages = answer.map_err(|e| sql_error("run SQL in", &self.subject, &e))?;
        Ok(messages
            .iter()
            .find_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row.get(0).map(str::to_owned)),
                _ => None,
            })
            .flatten())
    }

    /// Runs a query.
    pub(crate) async fn query(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.client.query(query, values).await.map_err(|e| sql_error("query", &self.subject, &e))
    }

    /// Runs a query that has one row.
    pub(crate) async fn one(&self, query: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        self.client.query_one(query, values).await.map_err(|e| sql_error("query", &self.subject, &e))
    }

    /// Whether the server still answers on this connection as a leader does. Asked after a failure, to tell its cause.
    pub(crate) async fn leads(&self) -> bool {
        let asked = self.one("SELECT pg_is_in_recovery()", &[]);
        match tokio::time::timeout(Duration::from_secs(5), asked).await {
            Ok(Ok(row)) => !row.get::<_, bool>(0),
            _ => false,
        }
    }
}
