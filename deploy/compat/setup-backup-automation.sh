#!/bin/sh
# The old name: crontab entries for all jobs; show and uninstall as well.
case "${1:-install}" in
install | setup) exec ha-backup schedule install --cron ;;
uninstall | remove) exec ha-backup schedule uninstall --cron ;;
*) exec ha-backup schedule "$@" ;;
esac
