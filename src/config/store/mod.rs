//! `[store]`: one node of the replicated store.

mod bootstrap;
mod fragment;
mod join;
mod legacy;
mod settings;
pub mod urls;

pub use bootstrap::{Bootstrap, Registry, Srv, Surplus};
pub use fragment::StoreFragment;
pub use settings::StoreSettings;
