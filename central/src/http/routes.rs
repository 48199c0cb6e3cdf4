//! Every route, once. A route that is not in this table is not served, and one that `openapi.json` does not describe
//! fails a test.

use super::{admin, audit, feed, hosts, limit, oauth, openapi, recordings, scim, ssf};
use crate::app::{Attempt, SIGNALS_PATH};
use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

/// One route.
pub struct Route {
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// None if a router of its own is nested there.
    handler: Option<MethodRouter>,
}

impl Route {
    fn new<H: Handler<T, ()>, T: 'static>(method: &'static str, path: &'static str, handler: H) -> Self {
        let filter = match method {
            "GET" => MethodFilter::GET,
            "PUT" => MethodFilter::PUT,
            _ => MethodFilter::POST,
        };
        Self { method, path, handler: Some(on(filter, handler)) }
    }

    fn get<H: Handler<T, ()>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new("GET", path, handler)
    }

    fn post<H: Handler<T, ()>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new("POST", path, handler)
    }

    fn put<H: Handler<T, ()>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new("PUT", path, handler)
    }

    /// Asked for too often from one address it is refused before anything is read.
    fn limited(self, attempt: Attempt) -> Self {
        let by_address = axum::middleware::from_fn_with_state(attempt, limit::by_address);
        Self { handler: self.handler.map(|handler| handler.layer(by_address)), ..self }
    }
}

/// All of them.
pub fn routes() -> Vec<Route> {
    vec![
        Route::get("/healthz", oauth::health),
        Route::get("/openapi.json", openapi::document),
        Route::get("/.well-known/oauth-authorization-server", oauth::metadata),
        Route::get("/jwks", oauth::jwks),
        Route::post("/oauth/token", oauth::token).limited(Attempt::Exchange),
        Route::post("/oauth/revoke", oauth::revoke).limited(Attempt::Exchange),
        Route::post("/v1/certificate", hosts::certificate).limited(Attempt::Exchange),
        Route::post("/v1/host/enrol", hosts::enrol).limited(Attempt::Enrol),
        Route::post("/v1/host/report", hosts::report),
        Route::get("/v1/host/feed", feed::feed),
        Route::post("/v1/host/audit", audit::lines),
        Route::put("/v1/host/recording/{session}/{name}", recordings::piece),
        Route::get("/v1/sessions/{id}/trail", audit::trail),
        Route::get("/v1/sessions/{id}/recordings", recordings::list),
        Route::get("/v1/sessions/{id}/recordings/{name}", recordings::bytes),
        Route::get("/v1/audit", audit::search),
        Route::get("/log/checkpoint", audit::checkpoint),
        Route::get("/log/tile/{path}", audit::tile),
        Route::get("/v1/admin/agents", admin::agents),
        Route::post("/v1/admin/agents", admin::register),
        Route::post("/v1/admin/agents/activate", admin::activate),
        Route::get("/v1/admin/hosts", admin::hosts),
        Route::post("/v1/admin/hosts", admin::admit_host),
        Route::post("/v1/admin/hosts/mark", admin::accept_mark),
        Route::get("/v1/admin/sessions", admin::sessions),
        Route::post("/v1/admin/bundles", admin::publish),
        Route::post("/v1/admin/confirmations", admin::confirm),
        Route::post("/v1/admin/keys", admin::keys),
        Route::post("/v1/admin/access", admin::explain),
        Route::post("/v1/admin/reach", admin::reach),
        Route::post("/v1/admin/revoke", admin::revoke),
        Route::post(SIGNALS_PATH, ssf::push),
    ]
    .into_iter()
    .chain(SCIM.into_iter().map(|(method, path)| Route { method, path, handler: None }))
    .collect()
}

/// What directories ask: its router is nested, since it answers whatever it does not know in its own way.
const SCIM: [(&str, &str); 16] = [
    ("GET", "/scim/v2/ServiceProviderConfig"),
    ("GET", "/scim/v2/ResourceTypes"),
    ("GET", "/scim/v2/ResourceTypes/{id}"),
    ("GET", "/scim/v2/Schemas"),
    ("GET", "/scim/v2/Schemas/{id}"),
    ("GET", "/scim/v2/Users"),
    ("POST", "/scim/v2/Users"),
    ("GET", "/scim/v2/Users/{id}"),
    ("PUT", "/scim/v2/Users/{id}"),
    ("PATCH", "/scim/v2/Users/{id}"),
    ("DELETE", "/scim/v2/Users/{id}"),
    ("GET", "/scim/v2/Agents"),
    ("POST", "/scim/v2/Agents"),
    ("GET", "/scim/v2/Agents/{id}"),
    ("PATCH", "/scim/v2/Agents/{id}"),
    ("DELETE", "/scim/v2/Agents/{id}"),
];

pub(super) fn router() -> Router {
    routes().into_iter().fold(Router::new().nest("/scim/v2", scim::router()), |router, route| match route.handler {
        // The one parameter of several parts, which a document cannot name.
        Some(handler) => router.route(&route.path.replace("{path}", "{*path}"), handler),
        None => router,
    })
}
