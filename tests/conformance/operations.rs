//! Every operation on every kind of node, and what is refused.

use super::Pair;

fn check(requests: &[&str]) {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(requests).finish();
}

#[test]
fn set_writes_a_file_whatever_was_there() {
    check(&[
        "PUT ~/a value=1",
        "PUT ~/a value=2",
        "PUT ~/a",
        "PUT ~/a value=",
        "PUT ~/a?value=query",
        "PUT ~/deep/er/x value=1",
        "GET ~/deep",
        "GET ~/deep/er",
        "GET ~/deep/er/x",
        "PUT ~/deep value=x",
        "PUT ~/deep dir=true",
        "PUT ~/a/below value=x",
        "PUT ~/a/below/deeper value=x",
        "PUT ~/a dir=true&value=ignored",
        "GET ~/a",
        "PUT ~/a/below value=now",
        "GET ~/a",
        "PUT ~/new dir=true&value=ignored",
        "PUT ~/new dir=true",
        "PUT ~/new value=x",
        "PUT ~/file dir=false&value=x",
        "POST ~/file value=x",
        "PUT ~/a/ value=slash",
        "GET ~/new/",
    ]);
}

#[test]
fn create_update_and_their_refusals() {
    check(&[
        "PUT ~/a?prevExist=false value=1",
        "PUT ~/a?prevExist=false value=2",
        "PUT ~/d/e?prevExist=false dir=true&value=ignored",
        "PUT ~/d/e?prevExist=false dir=true",
        "PUT ~/d?prevExist=false value=x",
        "PUT ~/a/b?prevExist=false value=x",
        "PUT ~/c?prevExist=false&prevValue=no&prevIndex=7 value=x",
        "PUT ~/c?prevExist=false&prevValue=x value=y",
        "PUT ~/c?prevExist=true value=y",
        "PUT ~/c?prevExist=true",
        "PUT ~/c?prevExist=true&dir=true value=z",
        "PUT ~/none?prevExist=true value=y",
        "PUT ~/none/below?prevExist=true value=y",
        "PUT ~/c/below?prevExist=true value=y",
        "PUT ~/d?prevExist=true value=y",
        "PUT ~/d?prevExist=true",
        "GET ~/d",
        "PUT ~/d?prevExist=true ttl=1000",
        "GET ~/d",
        "PUT ~/d?prevExist=true&dir=true",
        "GET ~/d",
        "DELETE ~/d?recursive=true",
    ]);
}

#[test]
fn compare_and_swap_by_value_index_and_both() {
    check(&[
        "PUT ~/a value=1",
        "PUT ~/a?prevValue=1 value=2",
        "PUT ~/a?prevValue=1 value=3",
        "PUT ~/a?prevIndex={i} value=3",
        "PUT ~/a?prevIndex={i-1} value=4",
        "PUT ~/a?prevIndex={i+1} value=4",
        "PUT ~/a?prevValue=3&prevIndex={i} value=5",
        "PUT ~/a?prevValue=5&prevIndex={i-1} value=6",
        "PUT ~/a?prevValue=4&prevIndex={i} value=6",
        "PUT ~/a?prevValue=4&prevIndex=1 value=6",
        "PUT ~/a?prevExist=true&prevValue=5 value=6",
        "PUT ~/a?prevExist=true&prevIndex={i} value=7",
        "PUT ~/a?prevExist=true&prevIndex=1 value=8",
        "PUT ~/a?prevIndex=0 value=8",
        "PUT ~/a?prevExist=true&prevIndex=0 value=9",
        "PUT ~/a?prevValue=9",
        "PUT ~/a?prevValue=9&prevIndex=0",
        "PUT ~/none?prevValue=9 value=x",
        "PUT ~/none/x?prevIndex=9 value=x",
        "PUT ~/a/x?prevIndex=9 value=x",
        "PUT ~/d dir=true",
        "PUT ~/d?prevValue=9 value=x",
        "PUT ~/d?prevIndex={i} value=x",
        "PUT ~/d?prevIndex={i}&dir=true",
        "PUT ~/a?prevValue=%3Ca%26%FF%00 value=x",
        "PUT ~/b value=%FE%3E%E2%80%A8",
        "PUT ~/b?prevValue=x value=y",
        "PUT ~/b?prevValue=%FE%3E%E2%80%A8 value=y",
        "PUT ~/b?prevIndex={i}&dir=true value=y",
        "GET ~/b",
    ]);
}

#[test]
fn create_in_order_names_keys_by_their_index() {
    check(&[
        "POST ~/q value=1",
        "POST ~/q value=2",
        "POST ~/q",
        "POST ~/q dir=true&value=ignored",
        "POST ~/q?prevExist=true&prevValue=x&prevIndex=4 value=ignored",
        "POST ~/q?noValueOnSuccess=true value=5",
        "POST ~/q?ttl=1000 value=6",
        "POST ~/q/ value=7",
        "POST ~/ value=8",
        "POST ~ value=9",
        "PUT ~/file value=x",
        "POST ~/file value=x",
        "POST ~/file/below value=x",
        "POST ~/q/_hidden/deep value=x",
        "GET ~/q?sorted=true",
        "GET ~/q?sorted=true&recursive=true",
        "GET ~/?sorted=true&recursive=true",
        "DELETE ~/q?recursive=true",
    ]);
}

#[test]
fn deleting_files_and_directories() {
    check(&[
        "PUT ~/a value=1",
        "DELETE ~/a",
        "DELETE ~/a",
        "PUT ~/a value=1",
        "DELETE ~/a?dir=true",
        "PUT ~/a value=1",
        "DELETE ~/a?recursive=true",
        "PUT ~/a value=1",
        "DELETE ~/a/below",
        "DELETE ~/none/below",
        "PUT ~/d/x value=1",
        "DELETE ~/d",
        "DELETE ~/d?dir=true",
        "DELETE ~/d?dir=true&recursive=false",
        "DELETE ~/d?recursive=true&dir=false",
        "PUT ~/e dir=true",
        "DELETE ~/e",
        "DELETE ~/e?dir=true",
        "PUT ~/h/_x value=1",
        "GET ~/h",
        "DELETE ~/h?dir=true",
        "DELETE ~/h?recursive=true&noValueOnSuccess=true",
        "GET ~/h",
        "DELETE ~/a?value=x&ttl=5",
        "PUT ~/t?ttl=1000 value=1",
        "DELETE ~/t",
        "PUT ~/td?ttl=1000&dir=true",
        "DELETE ~/td/?dir=true",
    ]);
}

#[test]
fn compare_and_delete_by_value_index_and_both() {
    check(&[
        "PUT ~/a value=1",
        "DELETE ~/a?prevValue=2",
        "DELETE ~/a?prevIndex={i-1}",
        "DELETE ~/a?prevValue=2&prevIndex={i-1}",
        "DELETE ~/a?prevValue=1&prevIndex={i-1}",
        "DELETE ~/a?prevValue=2&prevIndex={i}",
        "DELETE ~/a?prevValue=1&prevIndex={i}",
        "PUT ~/a value=1",
        "DELETE ~/a?prevIndex={i}&dir=true&recursive=true",
        "PUT ~/a value=1",
        "DELETE ~/a?prevValue=1&noValueOnSuccess=true",
        "DELETE ~/a?prevValue=1",
        "DELETE ~/none/x?prevIndex=4",
        "PUT ~/a value=1",
        "DELETE ~/a/x?prevIndex=4",
        "DELETE ~/a?prevIndex=0",
        "PUT ~/d dir=true",
        "DELETE ~/d?prevIndex={i}",
        "DELETE ~/d?prevIndex=1",
        "DELETE ~/d?prevValue=x&dir=true",
        "DELETE ~/d?prevIndex={i}&recursive=true",
        "PUT ~/t?ttl=1000 value=1",
        "DELETE ~/t?prevValue=1",
    ]);
}

#[test]
fn the_root_can_be_read_and_not_written() {
    check(&[
        "GET ~",
        "GET ~/",
        "GET ~?recursive=true",
        "HEAD ~",
        "PUT ~ value=x",
        "PUT ~/ value=x",
        "PUT ~/ dir=true",
        "PUT ~/?prevExist=false value=x",
        "PUT ~/?prevExist=true value=x",
        "PUT ~/?prevExist=true",
        "PUT ~/?prevValue=x value=x",
        "PUT ~/?prevIndex=1 value=x",
        "PUT ~/?refresh=true&ttl=5",
        "PUT ~/?refresh=true&ttl=5&prevExist=true",
        "DELETE ~",
        "DELETE ~/?dir=true",
        "DELETE ~/?recursive=true",
        "DELETE ~/?prevValue=x",
        "DELETE ~/?prevIndex=1",
        "PUT ~/a value=1",
        "PUT ~/b/c value=1",
        "PUT ~/b/_d value=1",
        "PUT ~/_e/f value=1",
        "GET ~?sorted=true",
        "GET ~/?sorted=true&recursive=true",
        "GET ~/?sorted=true&recursive=true&quorum=true",
    ]);
}

#[test]
fn listings_show_one_level_or_all_without_what_is_hidden() {
    check(&[
        "PUT ~/d/b/x value=1",
        "PUT ~/d/b/y/z value=2",
        "PUT ~/d/a value=3",
        "PUT ~/d/B value=",
        "PUT ~/d/a! value=4",
        "PUT ~/d/a0 value=5",
        "PUT ~/d/c dir=true",
        "PUT ~/d/_h value=6",
        "PUT ~/d/_s/x value=7",
        "PUT ~/d/b/_x value=8",
        "PUT ~/d/a%20b value=9",
        "PUT ~/d/b%21/x value=10",
        "PUT ~/d/%FF value=11",
        "PUT ~/d/%C3%A4 value=12",
        "PUT ~/d/t?ttl=1000 value=13",
        "PUT ~/d/td/x value=14",
        "PUT ~/d/td?ttl=1000&prevExist=true",
        "GET ~/d?sorted=true",
        "GET ~/d?sorted=true&recursive=true",
        "GET ~/d?sorted=true&recursive=true&quorum=true",
        "GET ~/d/?sorted=1&recursive=T",
        "HEAD ~/d/b?sorted=true",
        "GET ~/d/b?sorted=true",
        "GET ~/d/_h",
        "GET ~/d/_s",
        "GET ~/d/_s?recursive=true",
        "GET ~/d/c",
        "GET ~/d/c?recursive=true",
        "GET ~/d/a?recursive=true&sorted=true",
        "GET ~/d/a/x",
        "GET ~/d/none",
        "GET ~/d/none/deeper/still",
        "GET ~/none/deeper/still",
        "GET ~/d/a/x/y",
        "HEAD ~/d/none",
        "HEAD ~/d/a",
        "HEAD ~/d/a?quorum=true",
        "GET ~/d/a?waitIndex=4",
        "GET ~/d/a?stream=true",
        "GET ~/d/a?wait=false&stream=true&waitIndex=1",
        "GET ~/d/a?quorum=true&wait=true",
        "GET ~/d/none?quorum=true&wait=true",
    ]);
}

#[test]
fn hidden_directories_with_only_hidden_children_list_as_empty() {
    check(&[
        "PUT ~/o/_a/b value=1",
        "PUT ~/o/p/_b value=1",
        "GET ~/o?recursive=true",
        "GET ~/o/p?recursive=true",
        "GET ~/o/_a?recursive=true",
        "GET ~/o/_a/",
        "DELETE ~/o/p?dir=true",
        "DELETE ~/o/_a/b",
        "DELETE ~/o/_a?dir=true",
    ]);
}

#[test]
fn refresh_keeps_the_value_and_sets_the_lifetime() {
    check(&[
        "PUT ~/a?ttl=500 value=1",
        "PUT ~/a refresh=true&ttl=1000",
        "GET ~/a",
        "PUT ~/a?refresh=true&ttl=1000&prevExist=true",
        "PUT ~/a?refresh=true&ttl=1000&prevValue=1",
        "PUT ~/a?refresh=true&ttl=1000&prevIndex={i}",
        "PUT ~/a?refresh=true&ttl=1000&prevIndex=1",
        "PUT ~/a?refresh=true&ttl=1000&prevValue=2",
        "PUT ~/a?refresh=true&ttl=1000&prevExist=false",
        "PUT ~/new?refresh=true&ttl=1000&prevExist=false",
        "GET ~/new",
        "PUT ~/none?refresh=true&ttl=1000",
        "PUT ~/none/deep?refresh=true&ttl=1000",
        "PUT ~/none?refresh=true&ttl=1000&prevExist=true",
        "PUT ~/none?refresh=true&ttl=1000&prevValue=1",
        "PUT ~/a/below?refresh=true&ttl=1000",
        "PUT ~/d dir=true",
        "PUT ~/d?refresh=true&ttl=1000",
        "PUT ~/d?refresh=true&ttl=1000&prevExist=true",
        "PUT ~/d?refresh=true&ttl=1000&dir=true&prevExist=true",
        "GET ~/d",
        "PUT ~/a?refresh=true&ttl=1000&noValueOnSuccess=true",
        "PUT ~/a?refresh=false value=2",
        "GET ~/a",
        "PUT ~/a?refresh=true&ttl=1000&dir=true",
        "GET ~/a",
        "PUT ~/b value=permanent",
        "PUT ~/b?refresh=true&ttl=1000",
        "GET ~/b",
        "POST ~/q?refresh=true&ttl=1000",
        "GET ~/q",
        "GET ~/b?refresh=true&ttl=5",
        "DELETE ~/b?refresh=true&ttl=5",
    ]);
}

#[test]
fn no_value_on_success_leaves_the_nodes_out() {
    check(&[
        "PUT ~/a?noValueOnSuccess=true value=1",
        "PUT ~/a?noValueOnSuccess=true value=2",
        "PUT ~/a?noValueOnSuccess=true&prevExist=true value=3",
        "PUT ~/a?noValueOnSuccess=true&prevValue=3 value=4",
        "PUT ~/a?noValueOnSuccess=true&prevValue=3 value=5",
        "PUT ~/a?noValueOnSuccess=true&prevExist=false value=5",
        "PUT ~/b?noValueOnSuccess=true&prevExist=false value=5",
        "PUT ~/d?noValueOnSuccess=1&dir=true",
        "PUT ~/e?noValueOnSuccess=0 value=5",
        "GET ~/a?noValueOnSuccess=true",
        "GET ~/none?noValueOnSuccess=true",
        "DELETE ~/a?noValueOnSuccess=true",
        "PUT ~/x noValueOnSuccess=true&value=1",
    ]);
}
