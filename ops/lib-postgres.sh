# 一次性 PostgreSQL 集群 / A throw-away PostgreSQL cluster; source it after lib.sh.
# shellcheck shell=bash

postgres_dir="" postgres_bin="" postgres_port=""

# postgres_run PROGRAM ARGUMENT...: never as root, which PostgreSQL refuses
postgres_run() {
  if [ "$(id -u)" -eq 0 ]; then
    (cd / && runuser -u postgres -- "$postgres_bin/$@")
  else
    "$postgres_bin/$@"
  fi
}

# postgres_start FOLDER: sets postgres_port and exports HOTLINE_TEST_PG_URL
postgres_start() {
  postgres_bin=${HOTLINE_PG_BIN:-}
  if [ -z "$postgres_bin" ]; then
    postgres_bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  fi
  [ -x "$postgres_bin/initdb" ] || die "没有 PostgreSQL:先运行 ops/install --test" "no PostgreSQL: run ops/install --test"
  postgres_dir=$1
  mkdir -p "$postgres_dir"
  if [ "$(id -u)" -eq 0 ]; then
    # 上级目录默认只有 root 能进入 / The parent folder is closed to everybody but root.
    chmod 711 "$(dirname "$postgres_dir")"
    chown postgres: "$postgres_dir"
  fi
  postgres_run initdb -D "$postgres_dir/data" -A trust -U hotline -E UTF8 --locale=C --no-sync >/dev/null
  local try
  for try in 1 2 3 4 5 6 7 8 9 10; do
    postgres_port=$((31001 + RANDOM % 1500))
    if postgres_run pg_ctl -D "$postgres_dir/data" -l "$postgres_dir/log" -w -t 30 -s \
      -o "-p $postgres_port -c listen_addresses=127.0.0.1 -c unix_socket_directories='$postgres_dir' -c max_connections=200" \
      start >/dev/null 2>&1; then
      export HOTLINE_TEST_PG_URL="postgres://hotline@127.0.0.1:$postgres_port/postgres"
      return
    fi
  done
  cat "$postgres_dir/log" >&2 || true
  die "PostgreSQL 启动失败($try 次)" "PostgreSQL did not start ($try tries)"
}

postgres_stop() {
  if [ -n "$postgres_dir" ] && [ -e "$postgres_dir/data/postmaster.pid" ]; then
    postgres_run pg_ctl -D "$postgres_dir/data" -m immediate -s stop >/dev/null 2>&1 || true
  fi
}
