#!/bin/sh
# The old name: verbs are those of ha-backup, without any it makes a backup.
if [ $# -eq 0 ]; then
    exec ha-backup backup
fi
exec ha-backup "$@"
