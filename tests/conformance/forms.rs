//! Parameters: their types, their order, where they may stand, and what is wrong with them.

use super::Pair;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

#[test]
fn booleans_and_numbers_are_read_as_go_reads_them() {
    let Some(mut pair) = Pair::start() else { return };
    let booleans = "1 t T TRUE true True 0 f F FALSE false False tRUE yes 2 + %20true true%20 -1 %00";
    for value in booleans.split(' ').chain([""]) {
        for name in [
            "recursive",
            "sorted",
            "dir",
            "quorum",
            "stream",
            "noValueOnSuccess",
            "prevExist",
            "refresh",
            "wait",
        ] {
            // Neither must turn into a watch or a write.
            pair.ask(&format!("HEAD ~/none?{name}={value}"));
            pair.ask(&format!("DELETE ~/none?{name}={value}&prevIndex=1"));
        }
    }
    let numbers =
        "0 1 007 18446744073709551615 18446744073709551616 -1 +1 %2B1 1.5 0x10 1_0 1e3 5s %201 1%20 a %C2%B2";
    for value in numbers.split(' ').chain([""]) {
        for name in ["prevIndex", "waitIndex", "ttl"] {
            pair.ask(&format!("GET ~/none?{name}={value}"));
            pair.ask(&format!("DELETE ~/none?{name}={value}"));
        }
    }
    pair.run(&[
        "GET ~/?recursive",
        "GET ~/?sorted&recursive=true",
        "GET ~/?wait",
        "GET ~/?prevIndex",
        "GET ~/?waitIndex",
        "GET ~/?ttl",
        "GET ~/?prevValue",
        "GET ~/?value",
        "PUT ~/a value",
        "PUT ~/a?ttl value=1",
    ])
    .finish();
}

#[test]
fn the_first_failure_in_etcds_order_answers_on_every_method() {
    let Some(mut pair) = Pair::start() else { return };
    let wrong = [
        "x=%zz",
        "prevIndex=x",
        "waitIndex=x",
        "recursive=x",
        "sorted=x",
        "wait=x",
        "dir=x",
        "quorum=x",
        "stream=x",
        "prevValue=",
        "noValueOnSuccess=x",
        "ttl=x",
        "prevExist=x",
        "refresh=x",
        "refresh=true&value=x",
        "refresh=true",
        "refresh=true&ttl=",
    ];
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE"] {
        for (place, one) in wrong.iter().enumerate() {
            pair.ask(&format!("{method} ~/none?{one}"));
            for other in &wrong[place + 1..] {
                pair.ask(&format!("{method} ~/none?{other}&{one}"));
            }
        }
        if method != "GET" {
            pair.ask(&format!("{method} ~/none?wait=true"));
            pair.ask(&format!("{method} ~/none?wait=true&prevValue="));
            pair.ask(&format!("{method} ~/none?wait=true&stream=x"));
        }
    }
    pair.finish();
}

#[test]
fn the_body_comes_before_the_query_and_the_first_occurrence_wins() {
    let Some(mut pair) = Pair::start() else { return };
    pair.run(&[
        "PUT ~/a?value=query value=body",
        "PUT ~/a?value=1&value=2",
        "PUT ~/a value=1&value=2",
        "PUT ~/a?value=query ttl=100",
        "PUT ~/a?ttl=x ttl=100&value=1",
        "PUT ~/a?ttl=100&ttl=x value=1",
        "PUT ~/a?prevExist=x prevExist=true&value=1",
        "PUT ~/a?prevExist=true prevExist=false&value=1",
        "PUT ~/a value=a+b%20c%2Bd",
        "PUT ~/a?value=a+b%20c%2Bd",
        "PUT ~/a value=a=b==c",
        "PUT ~/a &&value=1&&",
        "PUT ~/a value=1&=x&y=",
        "PUT ~/a v%61lue=escaped",
        "PUT ~/a Value=1&VALUE=2&TTL=5&foo=bar&consistent=true&pretty",
        "PUT ~/a value=%",
        "PUT ~/a value=%2",
        "PUT ~/a value=%2x",
        "PUT ~/a value=%zz&a=%yy",
        "PUT ~/a?b=%yy value=%zz",
        "PUT ~/a?b=%yy value=1",
        "PUT ~/a value=1;ttl=5",
        "PUT ~/a?x=1;y=2 value=1",
        "PUT ~/a?%zz=1 value=1",
        "PUT ~/a value=1;x=%zz",
        "PUT ~/a x=%zz&y=1;2",
        "PUT ~/a %zz;x",
        "GET ~/a?x=1;y=2",
        "GET ~/a?%",
        "GET ~/a?",
        "GET ~/a??",
        "GET ~/a?recursive=true?",
        "GET ~/a?x=%ff%00&y=%E4",
        "PUT ~/a value=%00%01%ff",
        "DELETE ~/a?prevValue=%00%01%ff",
    ])
    .finish();
}

#[test]
fn only_a_form_body_of_put_and_post_is_read() {
    let Some(mut pair) = Pair::start() else { return };
    let types = [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
        "Application/X-WWW-Form-Urlencoded",
        " application/x-www-form-urlencoded ",
        "application/x-www-form-urlencoded;",
        "application/x-www-form-urlencoded; charset",
        "application/x-www-form-urlencoded; =x",
        "application/x-www-form-urlencoded; a=b; a=c",
        "application/x-www-form-urlencoded; a=\"b",
        "application/x-www-form-urlencoded, text/plain",
        "application/json",
        "text/plain",
        "text",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "",
        ";",
        "/",
        "a b/c",
        "a/",
        "/b",
        "a/b/c",
        "a/b c",
        "application/octet-stream",
    ];
    for kind in types {
        for method in ["PUT", "POST", "GET", "DELETE"] {
            let target = if method == "DELETE" { "/v2/keys/none" } else { "/v2/keys/types" };
            let target = if method == "POST" { "/v2/keys/posts" } else { target };
            pair.exchange(method, target, &[("Content-Type", kind)], Some(b"value=1&ttl=%zz"));
            pair.exchange(method, target, &[("Content-Type", kind)], Some(b"value=1"));
        }
    }
    pair.exchange("PUT", "/v2/keys/types?value=q", &[], Some(b"value=1"));
    pair.exchange("PUT", "/v2/keys/types", &[FORM], None);
    pair.exchange("PUT", "/v2/keys/types", &[FORM], Some(b""));
    pair.exchange("PUT", "/v2/keys/types", &[FORM, ("Content-Type", "text/plain")], Some(b"value=1"));
    pair.exchange("PUT", "/v2/keys/types", &[("content-type", FORM.1)], Some(b"value=1"));
    pair.finish();
}

#[test]
fn a_form_may_be_ten_mebibytes_and_not_one_byte_more() {
    let Some(mut pair) = Pair::start() else { return };
    let mut form = b"value=".to_vec();
    form.resize(10 << 20, b'x');
    pair.exchange("PUT", "/v2/keys/large?noValueOnSuccess=true", &[FORM], Some(&form));
    pair.ask("GET ~/large");
    form.push(b'x');
    pair.exchange("PUT", "/v2/keys/large", &[FORM], Some(&form));
    pair.run(&["GET ~/large?quorum=true", "DELETE ~/large"]);
    pair.finish();
}
