//! What central says of itself: what it can, and what its resources look like (RFC 7644, 4).

use crate::attributes::{AGENT, Kind, USER};
use crate::list::PAGE_MAX;
use serde_json::{Value, json};

/// `/ServiceProviderConfig`.
pub fn service_provider(base: &str) -> Value {
    let no = json!({"supported": false});
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": {"supported": true},
        "bulk": {"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": true, "maxResults": PAGE_MAX},
        "changePassword": no, "sort": no, "etag": no,
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "primary": true,
            "description": "A token that `tether-central scim token` has printed",
        }],
        "meta": {"resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig")},
    })
}

/// `/ResourceTypes`.
pub fn resource_types(base: &str) -> Vec<Value> {
    let about = |kind: &Kind, description: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": kind.name, "name": kind.name, "endpoint": kind.path, "schema": kind.schema,
            "description": description, "schemaExtensions": [],
            "meta": {"resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", kind.name)},
        })
    };
    vec![
        about(&USER, "A human, for whom agents may act"),
        about(&AGENT, "An agent that acts for humans; deactivated, all its sessions end"),
    ]
}

/// `/Schemas`.
pub fn schemas(base: &str) -> Vec<Value> {
    let about = |kind: &Kind, description: &str, attributes: Value| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": kind.schema, "name": kind.name, "description": description, "attributes": attributes,
            "meta": {"resourceType": "Schema", "location": format!("{base}/Schemas/{}", kind.schema)},
        })
    };
    let active = "False: nothing is issued, and live sessions end. True again revives nothing that was issued before";
    vec![
        about(
            &USER,
            "A human",
            json!([
                text(
                    "userName",
                    true,
                    "readWrite",
                    "server",
                    "The name that the provider's sign-ins have (human_claim)"
                ),
                flag("active", active),
            ]),
        ),
        about(
            &AGENT,
            "An agent",
            json!([
                text("agentName", true, "immutable", "server", "Its name"),
                text("team", true, "immutable", "none", "The team that owns it"),
                text("owner", true, "immutable", "none", "The person who answers for it"),
                flag("active", active),
                {
                    "name": "key", "type": "complex", "multiValued": false, "required": true, "mutability": "immutable",
                    "returned": "default", "uniqueness": "none", "description": "Its public key, a JWK (RFC 7517)",
                },
            ]),
        ),
    ]
}

fn text(name: &str, required: bool, mutability: &str, uniqueness: &str, description: &str) -> Value {
    json!({
        "name": name, "type": "string", "multiValued": false, "required": required, "caseExact": false,
        "mutability": mutability, "returned": "default", "uniqueness": uniqueness, "description": description,
    })
}

fn flag(name: &str, description: &str) -> Value {
    json!({
        "name": name, "type": "boolean", "multiValued": false, "required": false, "mutability": "readWrite",
        "returned": "default", "description": description,
    })
}
