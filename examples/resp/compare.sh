#!/usr/bin/env bash
# redis-benchmark against the example on io_uring, on epoll, and against redis-server; prints one table in Markdown.
#
#   cargo build --release --example resp && examples/resp/compare.sh [ROUNDS [SHARDS]]
#
# With one shard, the default, the servers have CPU 0 and redis-benchmark CPU 1; with more, all of them share all CPUs. Machines
# change their pace: the rounds are short, and in each the servers take turns, in rotating order. Printed are thousands of requests
# per second, as the median of the rounds (least-most), each round's ratio to redis-server, as a median, and CPU time per request.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-20} shards=${2:-1} redis_port=${REDIS_PORT:-16380}
resp=${CARGO_TARGET_DIR:-target}/release/examples/resp
servers=(resp-uring resp-epoll redis-server) tests=(PING_INLINE SET GET)
server_cpus=0 client_cpus=1
[ "$shards" -eq 1 ] || server_cpus=0-$(($(nproc) - 1)) client_cpus=0-$(($(nproc) - 1))

declare -A pid port
out=$(mktemp -d)
trap 'kill -INT "${pid[@]}" || true; wait; rm -rf "$out"' EXIT

for backend in uring epoll; do
    taskset -c "$server_cpus" "$resp" --listen 127.0.0.1:0 --backend "$backend" --shards "$shards" >"$out/$backend" &
    pid[resp-$backend]=$!
    for _ in {1..50}; do [ -s "$out/$backend" ] || sleep 0.1; done
    port[resp-$backend]=$(sed 's/.*://' "$out/$backend")
done
taskset -c "$server_cpus" redis-server --port "$redis_port" --bind 127.0.0.1 --save "" --appendonly no >"$out/redis" &
pid[redis-server]=$! port[redis-server]=$redis_port
for _ in {1..50}; do redis-cli -p "$redis_port" ping >/dev/null 2>&1 || sleep 0.1; done

ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; }
measure() { # SERVER PIPELINE REQUESTS
    local before; before=$(ticks "${pid[$1]}")
    timeout 60 taskset -c "$client_cpus" redis-benchmark -p "${port[$1]}" -c 200 -P "$2" -n "$3" -t ping_inline,set,get --csv 2>/dev/null |
        awk -F'"' -v to="$out/$1.$2" '/PING_INLINE|SET|GET/ { print $4 / 1000 >> (to "." $2) }'
    echo $((($(ticks "${pid[$1]}") - before) * 1000000 / $(getconf CLK_TCK))) $((3 * $3)) >>"$out/$1.$2.cpu"
}
for ((round = 0; round < rounds; round++)); do
    for server in "${servers[@]:round % 3}" "${servers[@]:0:round % 3}"; do
        measure "$server" 1 20000
        measure "$server" 16 200000
    done
done

median() { sort -n | awk '{ a[NR] = $1 } END { printf f, a[int((NR + 1) / 2)], a[1], a[NR] }' f="$1"; }
echo "| \`-P\` | server | ${tests[*]/%/ |} of redis-server | CPU µs |"
echo "|---|---|---|---|---|---|---:|"
for pipeline in 1 16; do
    for server in "${servers[@]}"; do
        cells='' ratios=''
        for test in "${tests[@]}"; do
            rates=$out/$server.$pipeline.$test
            cells+=" $(median '%.0f (%.0f-%.0f)' <"$rates") |"
            ratios+=" $(paste "$rates" "$out/redis-server.$pipeline.$test" | awk '{ print $1 / $2 }' | median '%.2f')"
        done
        cpu=$(awk '{ us += $1; n += $2 } END { printf "%.2f", us / n }' "$out/$server.$pipeline.cpu")
        echo "| $pipeline | $server |$cells$ratios | $cpu |"
    done
done
