# Stops what a test started, however the test ends: lives in a process group of its own, holds the reading
# end of a pipe, and works when the pipe closes, which the kernel sees to even after kill -9.
trap '' HUP INT TERM
dir=$HA_BACKUP_SCRATCH
while read -r _; do :; done

# Every server works in a folder under $dir, or names one in its arguments (the second look is for
# processes of another user, whose working folder may be hidden from us).
living() {
    {
        ls -ld /proc/[0-9]*/cwd | while read -r line; do
            case $line in
            *" -> $dir" | *" -> $dir/"*)
                pid=${line%%/cwd -> *}
                echo "${pid##*/proc/}"
                ;;
            esac
        done
        printf '%s\n' "$dir" | grep -lsaF -f - /proc/[0-9]*/cmdline | cut -d/ -f3
    } 2>/dev/null
}

# Twice clean: one that was just being started has been seen by then.
clean=0
tries=0
while [ "$clean" -lt 2 ] && [ "$tries" -lt 200 ]; do
    pids=$(living)
    if [ -n "$pids" ]; then
        kill -9 $pids 2>/dev/null
        clean=0
    else
        clean=$((clean + 1))
    fi
    tries=$((tries + 1))
    sleep 0.05
done

# PostgreSQL's interlock segment outlives a killed postmaster; line 7 of its pid file names it.
find "$dir" -name postmaster.pid 2>/dev/null | while read -r file; do
    segment=$(sed -n 7p "$file" | sed 's/.* //')
    [ -n "$segment" ] && ipcrm -m "$segment" 2>/dev/null
done

# Control groups of Kubernetes' nodes: no process is in them any more, but the kernel may still be at it.
tries=0
while [ "$tries" -lt 100 ]; do
    groups=$(find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "${dir##*/}-*" 2>/dev/null)
    [ -n "$groups" ] || break
    find $groups -depth -type d -exec rmdir {} + 2>/dev/null
    tries=$((tries + 1))
    sleep 0.1
done
[ -n "$HA_BACKUP_KEEP" ] || rm -rf -- "$dir"
