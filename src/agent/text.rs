//! Reading unit texts from the store.

use crate::client::{Client, GetOptions};
use crate::model::{self, unitfile};

/// The text with this hash, or what is wrong with it.
pub(super) async fn fetch(client: &Client, hash: &str) -> Result<String, String> {
    let key = model::file(hash);
    let answer = match client.get(&key, &GetOptions::linearizable()).await {
        Ok(answer) => answer,
        Err(error) if error.is_not_found() => {
            return Err(format!("the unit's text {key} is not in the store"));
        }
        Err(error) => return Err(format!("the unit's text cannot be read: {error}")),
    };
    let text = answer.node.value.unwrap_or_default();
    if unitfile::hash(&text) != hash {
        return Err(format!("the text under {key} is not the one with that hash"));
    }
    Ok(text)
}
