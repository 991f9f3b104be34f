//! A folder of the store with everything below it.

use crate::cli::Failure;
use crate::client::{self, Client, GetOptions};
use crate::model::tree::Tree;

/// The folder `dir` as it is now; an empty tree if it is missing.
///
/// # Errors
/// The store does not answer.
pub(in crate::cli) async fn tree(client: &Client, dir: &str) -> Result<Tree, Failure> {
    let options = GetOptions { recursive: true, ..GetOptions::linearizable() };
    match client.get(dir, &options).await {
        Ok(answer) => Ok(client::tree(&answer)),
        Err(error) if error.is_not_found() => Ok(Tree::default()),
        Err(error) => Err(Failure::new(error)),
    }
}
