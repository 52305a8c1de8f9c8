# 各脚本共用的小函数 / Shared by the scripts in this folder; source it, don't run it.
# shellcheck shell=bash

# say 中文 English
say() { printf '%s  /  %s\n' "$1" "$2"; }

# die 中文 English
die() {
  printf '错误:%s  /  error: %s\n' "$1" "$2" >&2
  exit 1
}

# have PROGRAM
have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: as it is for root, through sudo otherwise
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "需要 root 权限:请用 root 运行,或安装 sudo" "root is needed: run as root or install sudo"
  fi
}

# 项目根目录 / The repository's root, whatever the current folder is.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
