#!/bin/sh
# The old name: how the backups stand.
exec ha-backup status "$@"
