//! `import`: snapshots of etcd 0.4.

use super::tool::{Link, run_kv, text};
use crate::common::store::Cluster;

const STORE: &str = r#"{"Root":{"Path":"/","CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z","ACL":"","Value":"","Children":{"app":{"Path":"/app","CreatedIndex":2,"ModifiedIndex":2,"ExpireTime":"0001-01-01T00:00:00Z","ACL":"","Value":"","Children":{"a":{"Path":"/app/a","CreatedIndex":2,"ModifiedIndex":2,"ExpireTime":"0001-01-01T00:00:00Z","ACL":"","Value":"1","Children":null},"short":{"Path":"/app/short","CreatedIndex":3,"ModifiedIndex":3,"ExpireTime":"2001-01-01T00:00:00Z","ACL":"","Value":"2","Children":null}}},"_etcd":{"Path":"/_etcd","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","ACL":"","Value":"","Children":{"x":{"Path":"/_etcd/x","CreatedIndex":1,"ModifiedIndex":1,"ExpireTime":"0001-01-01T00:00:00Z","ACL":"","Value":"hidden","Children":null}}}}},"WatcherHub":{},"CurrentIndex":7,"Stats":{},"CurrentVersion":2}"#;

#[test]
fn the_keys_of_a_snapshot_are_written_with_a_while_to_live() {
    let (link, cluster) = (Link::new(), Cluster::start(1, &[]));
    let node = &cluster.nodes[0];
    let file = link.folder().join("backup.snap");
    std::fs::write(&file, STORE).expect("the snapshot");
    let path = file.display().to_string();
    let output = link.run(&node.url(), &["import", "--snap", &path]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        text(&output.stdout),
        format!("starting to import snapshot {path} with 10 clients\nfinished importing 2 keys\n")
    );
    let log = text(&output.stderr);
    for line in
        ["entering dir: /app\n", "copying key: /app/a\n", "extending key /app/short's ttl to 300 seconds\n"]
    {
        assert!(log.contains(line), "{line:?} is missing in {log}");
    }
    assert_eq!(link.prints(&node.url(), &["get", "/app/a"]), "1\n");
    let ttl = node.request("GET", "/v2/keys/app/short", None).json()["node"]["ttl"].as_i64();
    assert!(ttl.is_some_and(|ttl| (200..=300).contains(&ttl)), "{ttl:?}");
    assert_eq!(node.request("GET", "/v2/keys/_etcd/x", None).status, 404);

    let output = run_kv(&node.url(), &["import", "--snap", &path, "--hidden", "/_etcd", "-c", "1"]);
    assert!(text(&output.stdout).ends_with("with 1 clients\nfinished importing 3 keys\n"), "{output:?}");
    assert_eq!(link.prints(&node.url(), &["get", "/_etcd/x"]), "hidden\n");
}

#[test]
fn what_is_no_snapshot_is_refused() {
    let (link, cluster) = (Link::new(), Cluster::start(1, &[]));
    let url = cluster.nodes[0].url();
    let output = link.run(&url, &["import"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), "no snapshot file provided (use --snap)\n".into())
    );
    let output = link.run(&url, &["import", "--snap", "/no/such/file"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(1), "cannot read snapshot file /no/such/file\n".into())
    );
    let file = link.folder().join("bad");
    std::fs::write(&file, format!("00000000\n{STORE}")).expect("a file");
    let path = file.display().to_string();
    let output = link.run(&url, &["import", "--snap", &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("checksum"), "{output:?}");
    std::fs::write(&file, STORE).expect("a file");
    let output = link.run(&url, &["import", "--snap", &path, "--hidden", "/none"]);
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(4), "Error:  100: Key not found (/none) [7]\n".into())
    );
}
