#!/bin/sh
# The old name: the job etcd without arguments, else that verb with what follows (backup, list, verify, restore, cleanup).
if [ $# -eq 0 ]; then
    exec ha-backup run etcd
fi
if [ "$1" = backup ]; then
    shift
    exec ha-backup backup --component etcd "$@"
fi
exec ha-backup "$@"
