//! `/v2/stats/store`: what was read and written.

use serde::Serialize;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::store::Store;
use crate::store::http::answer::json;

/// The counters in etcd's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    gets_success: u64,
    gets_fail: u64,
    sets_success: u64,
    sets_fail: u64,
    delete_success: u64,
    delete_fail: u64,
    update_success: u64,
    update_fail: u64,
    create_success: u64,
    create_fail: u64,
    compare_and_swap_success: u64,
    compare_and_swap_fail: u64,
    compare_and_delete_success: u64,
    compare_and_delete_fail: u64,
    expire_count: u64,
    watchers: u64,
}

/// `GET /v2/stats/store`.
pub fn of_store(store: &Store) -> Response {
    let counters = store.counters();
    let page = Page {
        gets_success: counters.gets.success,
        gets_fail: counters.gets.fail,
        sets_success: counters.sets.success,
        sets_fail: counters.sets.fail,
        delete_success: counters.deletes.success,
        delete_fail: counters.deletes.fail,
        update_success: counters.updates.success,
        update_fail: counters.updates.fail,
        create_success: counters.creates.success,
        create_fail: counters.creates.fail,
        compare_and_swap_success: counters.swaps.success,
        compare_and_swap_fail: counters.swaps.fail,
        compare_and_delete_success: counters.conditional_deletes.success,
        compare_and_delete_fail: counters.conditional_deletes.fail,
        expire_count: counters.expired,
        watchers: store.watchers(),
    };
    // A structure of numbers can always be written.
    json(StatusCode::OK, serde_json::to_vec(&page).unwrap_or_default().into())
}
