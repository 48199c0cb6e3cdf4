//! Every route, once. A route that is not in this table is not served, and one that `openapi.json` does not describe
//! fails a test.

use super::{BODY_MAX, BUNDLE_BODY_MAX, admin, feed, hosts, limit, oauth, openapi};
use crate::app::Attempt;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

/// One route.
pub struct Route {
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    handler: MethodRouter,
}

impl Route {
    fn new<H: Handler<T, ()>, T: 'static>(method: &'static str, path: &'static str, handler: H) -> Self {
        let filter = if method == "GET" { MethodFilter::GET } else { MethodFilter::POST };
        Self { method, path, handler: on(filter, handler).layer(DefaultBodyLimit::max(BODY_MAX)) }
    }

    fn get<H: Handler<T, ()>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new("GET", path, handler)
    }

    fn post<H: Handler<T, ()>, T: 'static>(path: &'static str, handler: H) -> Self {
        Self::new("POST", path, handler)
    }

    /// Asked for too often from one address it is refused before anything is read.
    fn limited(self, attempt: Attempt) -> Self {
        let handler = self.handler.layer(axum::middleware::from_fn_with_state(attempt, limit::by_address));
        Self { handler, ..self }
    }

    fn with_long_bodies(self) -> Self {
        Self { handler: self.handler.layer(DefaultBodyLimit::max(BUNDLE_BODY_MAX)), ..self }
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
        Route::get("/v1/admin/agents", admin::agents),
        Route::post("/v1/admin/agents", admin::register),
        Route::post("/v1/admin/agents/activate", admin::activate),
        Route::get("/v1/admin/hosts", admin::hosts),
        Route::post("/v1/admin/hosts", admin::admit_host),
        Route::get("/v1/admin/sessions", admin::sessions),
        Route::post("/v1/admin/bundles", admin::publish).with_long_bodies(),
        Route::post("/v1/admin/confirmations", admin::confirm),
        Route::post("/v1/admin/keys", admin::keys),
        Route::post("/v1/admin/access", admin::explain),
        Route::post("/v1/admin/reach", admin::reach),
        Route::post("/v1/admin/revoke", admin::revoke),
    ]
}

pub(super) fn router() -> Router {
    routes().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler))
}
