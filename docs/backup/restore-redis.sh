#!/bin/sh
# Puts a backup in place of what a stopped Redis has in its data directory, as an append-only file
# that it reads at its next start. What was there is moved aside, not deleted.
#
#     restore-redis.sh baton.rdb /var/lib/redis
#
# Run it as Redis' user, on Redis' machine, with the redis-server that will read the data.
set -eu
[ $# = 2 ] || { echo "usage: $0 BACKUP DIRECTORY" >&2; exit 2; }
backup=$(realpath "$1")
redis-check-rdb "$backup" >/dev/null || { echo "$0: $1 is no whole backup" >&2; exit 1; }
cd "$2"

aside=before-restore-$(date -u +%Y%m%dT%H%M%SZ)
for old in appendonlydir appendonly.aof dump.rdb; do
  [ ! -e "$old" ] || { mkdir -p "$aside"; mv "$old" "$aside/"; }
done
cp "$backup" dump.rdb

# A server that has `appendonly yes` looks for an append-only file alone, and begins empty where there
# is none. So one that has not reads the backup first, and then writes the file. Nobody else reaches it.
at=./restore.sock
call() { redis-cli -s "$at" "$@"; }
redis-server --dir . --port 0 --unixsocket "$at" --unixsocketperm 700 --save '' --appendonly no \
  --daemonize yes --logfile restore.log >/dev/null
trap 'call shutdown nosave >/dev/null 2>&1 || true' EXIT
for _ in $(seq 600); do # it answers before it has read everything, but not PONG
  [ "$(call ping 2>/dev/null)" = PONG ] && break
  sleep 0.5
done
[ "$(call config set appendonly yes)" = OK ]
while call info persistence | grep -Eq 'aof_rewrite_(in_progress|scheduled):1'; do sleep 0.2; done
call info persistence | grep -q aof_last_bgrewrite_status:ok
echo "$(call dbsize) keys restored"
trap - EXIT
call shutdown
while [ -e "$at" ]; do sleep 0.1; done
rm dump.rdb restore.log
