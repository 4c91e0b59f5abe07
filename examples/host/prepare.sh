#!/bin/sh
# prepare.sh DIRECTORY: copies this example there, and makes what its daemons need. As root, on Debian, with the packages
#   redis-server postgresql nginx memcached haproxy tor nodejs; and: pip install gunicorn 'celery[redis]'
# Then: banken run -c DIRECTORY/banken.toml
set -eu
here=$(dirname "$0")
mkdir -p "$1"
cp "$here"/banken.toml "$here"/app.py "$here"/tasks.py "$here"/worker.js "$here"/nginx.conf "$here"/haproxy.cfg "$here"/torrc "$1"
cd "$1"
chmod 755 .
mkdir -p data run
chmod 1777 run
ln -sfn "$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)" pg
for pair in redis:redis postgres:postgres tor:debian-tor celery:nobody; do
    mkdir -p "data/${pair%:*}"
    chown "${pair#*:}" "data/${pair%:*}"
    chmod 700 "data/${pair%:*}"
done
mkdir -p data/nginx
[ -e data/postgres/PG_VERSION ] ||
    setpriv --reuid postgres --regid postgres --init-groups pg/initdb -A trust --no-sync -D data/postgres >/dev/null
# A role without rights, for the check.
echo "create role watch login" | setpriv --reuid postgres --regid postgres --init-groups \
    pg/postgres --single -D data/postgres postgres >/dev/null 2>&1
