//! redis-benchmark as a load that nobody here wrote.

use std::process::Command;

use crate::common::client;
use crate::common::server::{Server, backends};

#[test]
fn redis_benchmark_completes_with_two_hundred_clients_and_pipelines() {
    if !client::has("redis_benchmark_completes_with_two_hundred_clients_and_pipelines", "redis-benchmark") {
        return;
    }
    for backend in backends() {
        let server = Server::start("resp", backend, &[]);
        for pipeline in ["1", "16"] {
            let mut benchmark = Command::new("redis-benchmark");
            benchmark.args(["-p", &server.port(), "-t", "ping_inline,set,get", "-c", "200", "-n", "20000"]);
            let printed = client::run(benchmark.args(["-P", pipeline, "--csv"]));
            for name in ["PING_INLINE", "SET", "GET"] {
                let line = printed.lines().find(|line| line.starts_with(&format!("\"{name}\"")));
                let rate =
                    line.and_then(|line| line.split('"').nth(3)).and_then(|rate| rate.parse::<f64>().ok());
                assert!(rate.is_some_and(|rate| rate > 0.0), "{name} on {backend}: {printed}");
            }
        }
        server.stop();
    }
}
