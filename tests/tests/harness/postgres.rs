//! The throw-away cluster starts, keeps what was committed over a crash, and goes away.

use hotline_tests::peer::Postgres;

#[tokio::test]
async fn a_cluster_keeps_committed_rows_over_kill_9() {
    let mut postgres = Postgres::start().await.unwrap();
    let url = postgres.create_database("story").unwrap();
    assert!(url.ends_with("/story"));
    postgres.sql("story", "CREATE TABLE t (name TEXT)").unwrap();
    postgres.sql("story", "INSERT INTO t VALUES ('井盖')").unwrap();
    postgres.kill9();
    assert!(postgres.sql("story", "SELECT 1").is_err());
    postgres.restart().await.unwrap();
    assert_eq!(postgres.sql("story", "SELECT name FROM t").unwrap(), "井盖");
    let address = postgres.address();
    drop(postgres);
    assert!(std::net::TcpStream::connect(address).is_err());
}
