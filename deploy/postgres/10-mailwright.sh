#!/bin/sh
# Runs once, when the database's directory is empty: a role for the service that owns its database and nothing else, and is no superuser.
set -eu
psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres -v password="$MAILWRIGHT_DB_PASSWORD" <<'SQL'
CREATE ROLE mailwright LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
CREATE DATABASE mailwright OWNER mailwright;
REVOKE CONNECT ON DATABASE mailwright FROM PUBLIC;
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
SQL
