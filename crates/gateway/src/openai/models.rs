//! `/v1/models`.

use potluck_protocol::server::ModelSummary;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::node::Swarm;

fn model(summary: &ModelSummary) -> Value {
    json!({ "id": summary.name, "object": "model", "created": 0, "owned_by": "potluck" })
}

pub(crate) fn list(swarm: &Swarm) -> Value {
    let data: Vec<Value> = swarm.models().iter().map(model).collect();
    json!({ "object": "list", "data": data })
}

pub(crate) fn one(swarm: &Swarm, name: &str) -> Result<Value, ApiError> {
    let models = swarm.models();
    let found = models.iter().find(|summary| summary.name == name).map(model);
    found.ok_or_else(|| {
        let known: Vec<&str> = models.iter().map(|summary| summary.name.as_str()).collect();
        let message = format!("this swarm has no model {name:?}; it has {}", known.join(", "));
        let code = Some("model_not_found");
        ApiError { code, param: Some("model".to_owned()), ..ApiError::not_found(message) }
    })
}
