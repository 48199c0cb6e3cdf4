//! What admins ask for.

use super::answer::{answer, blocking};
use super::body::{self, ADMINS_PATIENCE, BUNDLE_BODY_MAX};
use super::hosts::read;
use super::{Peer, Shared, authorization};
use crate::app::{Admin, App};
use crate::clock;
use crate::store::Which;
use axum::Extension;
use axum::extract::{Query, Request};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use tether_centrallink::wire::{AccessQuestion, HostMark, NewAgent, NewHost, ReachQuestion, SignedText, Target};
use tether_identity::{HostId, Human, Name};
use tether_oauth::{Refusal, Standard};
use tokio::sync::SemaphorePermit;

/// The most sessions of one answer.
const SESSIONS_MAX: usize = 1000;

/// Lets an admin in, and only then reads what they send.
async fn reads(
    app: Arc<App>,
    action: &'static str,
    peer: Peer,
    request: Request,
    work: impl FnOnce(&App, &Admin, &[u8]) -> Result<Response, Refusal> + Send + 'static,
) -> Response {
    let (asked, (head, body)) = (Arc::clone(&app), request.into_parts());
    let known =
        blocking(move || asked.admin(authorization(&head.headers, "Bearer"), action, &peer.0.to_string())).await;
    let admin = match known {
        Ok(admin) => admin,
        Err(refusal) => return answer::<()>(&app, Err(refusal)),
    };
    let body = match body::read(body, BUNDLE_BODY_MAX, ADMINS_PATIENCE).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    let _place = place(&app, action).await;
    let asked = Arc::clone(&app);
    let done = blocking(move || work(&asked, &admin, &body)).await;
    done.unwrap_or_else(|refusal| answer::<()>(&app, Err(refusal)))
}

/// Lets an admin in, then does what they ask for.
pub(super) async fn as_admin<T: serde::Serialize + Send + 'static>(
    app: Arc<App>,
    action: &'static str,
    (headers, peer): (HeaderMap, Peer),
    work: impl FnOnce(&App, &Admin) -> Result<T, Refusal> + Send + 'static,
) -> Response {
    let asked = Arc::clone(&app);
    let known = blocking(move || asked.admin(authorization(&headers, "Bearer"), action, &peer.0.to_string())).await;
    let done = match known {
        Ok(admin) => {
            let _place = place(&app, action).await;
            let asked = Arc::clone(&app);
            blocking(move || work(&asked, &admin)).await
        }
        Err(refusal) => Err(refusal),
    };
    answer(&app, done)
}

/// Who only looks waits for their turn: what they ask may take long. Who acts does not.
async fn place<'a>(app: &'a App, action: &str) -> Option<SemaphorePermit<'a>> {
    // It is never closed.
    if action == "audit" { app.auditing.acquire().await.ok() } else { None }
}

/// Handlers that read a body, act, and answer with what came of it.
macro_rules! acts {
    ($($name:ident, $action:literal: $body:ty => |$app:ident, $admin:ident, $value:ident| $work:expr;)+) => {
        $(pub(super) async fn $name(
            Extension(app): Shared,
            Extension(peer): Extension<Peer>,
            request: Request,
        ) -> Response {
            reads(app, $action, peer, request, move |$app, $admin, body| {
                let $value: $body = read(body)?;
                Ok(answer($app, $work))
            })
            .await
        })+
    };
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: Name,
}

acts! {
    register, "administer": NewAgent => |app, admin, new| app.register(admin, &new);
    activate, "administer": Named => |app, admin, agent| app.activate(admin, &agent.name);
    admit_host, "administer": NewHost => |app, admin, new| app.admit_host(admin, &new);
    accept_mark, "administer": HostMark => |app, admin, mark| app.accept_mark(admin, &mark);
    publish, "administer": SignedText => |app, admin, signed| app.publish(admin, &signed.text);
    confirm, "administer": SignedText => |app, admin, signed| app.confirm(admin, &signed.text);
    keys, "administer": SignedText => |app, admin, signed| app.take_keys(admin, &signed.text);
    revoke, "administer": Target => |app, admin, target| app.revoke(admin, &target);
    explain, "audit": AccessQuestion => |app, _admin, question| app.explain(&question);
    reach, "audit": ReachQuestion => |app, _admin, question| app.reach(&question);
}

pub(super) async fn agents(Extension(app): Shared, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    as_admin(app, "audit", (headers, peer), |app, _| app.agents()).await
}

pub(super) async fn hosts(Extension(app): Shared, Extension(peer): Extension<Peer>, headers: HeaderMap) -> Response {
    as_admin(app, "audit", (headers, peer), |app, _| app.hosts()).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    agent: Option<Name>,
    human: Option<Human>,
    host: Option<HostId>,
    /// Those that are over too.
    #[serde(default)]
    all: bool,
}

pub(super) async fn sessions(
    Extension(app): Shared,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    listed: Result<Query<Listed>, axum::extract::rejection::QueryRejection>,
) -> Response {
    as_admin(app, "audit", (headers, peer), move |app, _| {
        let Query(Listed { agent, human, host, all }) =
            listed.map_err(|error| Refusal::new(Standard::InvalidRequest, "request.query", error))?;
        let which = Which { agent, human, host, live_at: (!all).then(clock::now) };
        let sessions: Vec<_> = app.sessions(&which, SESSIONS_MAX)?.into_iter().map(without_certificate).collect();
        Ok(json!({"sessions": sessions}))
    })
    .await
}

/// A certificate is of no use without its key, and of none to those who list sessions.
fn without_certificate(mut delegation: crate::store::Delegation) -> crate::store::Delegation {
    if let Some(issued) = &mut delegation.issued {
        issued.certificate = None;
    }
    delegation
}
