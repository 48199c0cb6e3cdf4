//! The protocol of directories (RFC 7644) at `/scim/v2`: each request with a directory's own token, which opens nothing
//! else here.

use super::body::Whole;
use super::{Peer, Shared, authorization, header};
use crate::app::{App, Directory, fault};
use axum::extract::{Path, Query};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header as names};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tether_oauth::parse_json;
use tether_scim::{
    AGENT, Filter, Kind, NewAgent, NewUser, Page, Patch, Problem, ScimType, Shown, USER, discovery, list,
};

/// What a handler has to do for a directory.
type Answered = Result<Answer, Problem>;

/// An answer before it is JSON.
enum Answer {
    Ok(Value),
    Created(Shown),
    Nothing,
}

pub(super) fn router() -> Router {
    Router::new()
        .route("/ServiceProviderConfig", get(service_provider))
        .route("/ResourceTypes", get(resource_types))
        .route("/ResourceTypes/{id}", get(resource_type))
        .route("/Schemas", get(schemas))
        .route("/Schemas/{id}", get(schema))
        .route("/Users", get(users).post(create_user))
        .route("/Users/{id}", get(user).put(replace_user).patch(patch_user).delete(delete_user))
        .route("/Agents", get(agents).post(create_agent))
        .route("/Agents/{id}", get(agent).patch(patch_agent).delete(delete_agent))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
}

/// What every request brings.
struct Caller(Arc<App>, Peer, HeaderMap);

/// Lets a directory in, then does what it asks for, where that may wait for the disk.
async fn as_directory(
    Caller(app, peer, headers): Caller,
    work: impl FnOnce(&App, &Directory) -> Answered + Send + 'static,
) -> Response {
    let done = tokio::task::spawn_blocking(move || {
        let directory = app.directory(authorization(&headers, "Bearer"), &peer.0.to_string())?;
        work(&app, &directory)
    });
    match done.await {
        Ok(Ok(answer)) => answered(answer),
        Ok(Err(problem)) => refused(&problem),
        Err(error) => refused(&Problem::new(500, &fault("act.died", error).code, "central cannot do this now")),
    }
}

/// Handlers that read a body.
macro_rules! writes {
    ($($name:ident($($id:ident)?): $parse:expr => |$app:ident, $directory:ident, $value:ident| $work:expr;)+) => {
        $(async fn $name(
            Extension(app): Shared,
            Extension(peer): Extension<Peer>,
            headers: HeaderMap,
            $(Path($id): Path<String>,)?
            Whole(body): Whole,
        ) -> Response {
            let read = read(&headers, &body);
            as_directory(Caller(app, peer, headers), move |$app, $directory| {
                let parse: fn(&Value) -> Result<_, Problem> = $parse;
                let $value = parse(&read?)?;
                $work
            })
            .await
        })+
    };
}

writes! {
    create_user(): NewUser::parse => |app, directory, new| app.scim_create_user(directory, &new).map(Answer::Created);
    replace_user(id): NewUser::parse => |app, directory, new| shown(app.scim_replace_user(directory, &id, &new));
    patch_user(id): of_user => |app, directory, patch| shown(app.scim_patch_user(directory, &id, &patch));
    create_agent(): NewAgent::parse => |app, directory, new| app.scim_create_agent(directory, &new).map(Answer::Created);
    patch_agent(id): of_agent => |app, directory, patch| shown(app.scim_patch_agent(directory, &id, &patch));
}

/// Handlers that read no body.
macro_rules! asks {
    ($($name:ident($($id:ident)?): |$app:ident, $directory:ident| $work:expr;)+) => {
        $(async fn $name(
            Extension(app): Shared,
            Extension(peer): Extension<Peer>,
            headers: HeaderMap,
            $(Path($id): Path<String>,)?
        ) -> Response {
            as_directory(Caller(app, peer, headers), move |$app, $directory| $work).await
        })+
    };
}

asks! {
    user(id): |app, directory| shown(app.scim_user(directory, &id));
    agent(id): |app, directory| shown(app.scim_agent(directory, &id));
    delete_user(id): |app, directory| app.scim_delete_user(directory, &id).map(|()| Answer::Nothing);
    delete_agent(id): |app, directory| app.scim_delete_agent(directory, &id).map(|()| Answer::Nothing);
    service_provider(): |app, _directory| Ok(Answer::Ok(discovery::service_provider(&app.scim_base())));
    resource_types(): |app, _directory| all(&discovery::resource_types(&app.scim_base()));
    resource_type(id): |app, _directory| one(discovery::resource_types(&app.scim_base()), &id);
    schemas(): |app, _directory| all(&discovery::schemas(&app.scim_base()));
    schema(id): |app, _directory| one(discovery::schemas(&app.scim_base()), &id);
}

/// The parameters of a list; others of the standard's make no difference here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    filter: Option<String>,
    start_index: Option<String>,
    count: Option<String>,
}

impl Listed {
    fn read(&self, kind: &Kind) -> Result<(Option<Filter>, Page), Problem> {
        let filter = self.filter.as_deref().map(|text| Filter::parse(text, kind)).transpose()?;
        Ok((filter, Page::parse(self.start_index.as_deref(), self.count.as_deref())?))
    }
}

type Parameters = Result<Query<Listed>, axum::extract::rejection::QueryRejection>;

macro_rules! lists {
    ($($name:ident: $kind:expr, $list:ident;)+) => {
        $(async fn $name(
            Extension(app): Shared,
            Extension(peer): Extension<Peer>,
            headers: HeaderMap,
            parameters: Parameters,
        ) -> Response {
            as_directory(Caller(app, peer, headers), move |app, directory| {
                let wrong = |error| Problem::of(ScimType::InvalidValue, "scim.page", error);
                let (filter, page) = parameters.map_err(wrong)?.0.read(&$kind)?;
                let (total, shown) = app.$list(directory, filter.as_ref(), page)?;
                let bodies: Vec<Value> = shown.iter().map(|one| one.body().clone()).collect();
                Ok(Answer::Ok(list(total, page, &bodies)))
            })
            .await
        })+
    };
}

lists! {
    users: USER, scim_users;
    agents: AGENT, scim_agents;
}

async fn nowhere() -> Response {
    refused(&Problem::new(404, "scim.unknown", "there is no such endpoint"))
}

async fn not_so() -> Response {
    refused(&Problem::new(405, "scim.method", "the resource cannot be asked that"))
}

fn of_user(body: &Value) -> Result<Patch, Problem> {
    Patch::parse(body, &USER)
}

fn of_agent(body: &Value) -> Result<Patch, Problem> {
    Patch::parse(body, &AGENT)
}

fn shown(done: Result<Shown, Problem>) -> Answered {
    done.map(|shown| Answer::Ok(shown.body().clone()))
}

fn all(resources: &[Value]) -> Answered {
    let page = Page { start: 1, count: resources.len() };
    Ok(Answer::Ok(list(resources.len(), page, resources)))
}

fn one(resources: Vec<Value>, id: &str) -> Answered {
    let found = resources.into_iter().find(|one| one.get("id").and_then(Value::as_str) == Some(id));
    found.map(Answer::Ok).ok_or_else(|| Problem::new(404, "scim.unknown", format!("there is no {id}")))
}

/// A body: JSON by its type, with no member twice.
fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    let kind = header(headers, "content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/scim+json" && kind != "application/json" {
        return Err(Problem::new(415, "scim.content_type", "the body has to be application/scim+json"));
    }
    parse_json(body).map_err(|error| Problem::of(ScimType::InvalidSyntax, "scim.json", error))
}

fn answered(answer: Answer) -> Response {
    match answer {
        Answer::Ok(body) => scim(StatusCode::OK, &body),
        Answer::Created(shown) => {
            let mut response = scim(StatusCode::CREATED, shown.body());
            if let Ok(location) = HeaderValue::from_str(&shown.location) {
                response.headers_mut().insert(names::LOCATION, location);
            }
            response
        }
        Answer::Nothing => StatusCode::NO_CONTENT.into_response(),
    }
}

fn refused(problem: &Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = scim(status, &problem.body());
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(names::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn scim(status: StatusCode, body: &Value) -> Response {
    let headers = [(names::CONTENT_TYPE, "application/scim+json"), (names::CACHE_CONTROL, "no-store")];
    (status, headers, body.to_string()).into_response()
}
