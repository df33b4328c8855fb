#!/bin/sh
# The old name: one line for each check; exit code 0 or 3.
exec ha-backup health "$@"
