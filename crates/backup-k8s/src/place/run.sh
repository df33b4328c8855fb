# Runs "$@" for a client that may vanish. Standard input brings lines NAME=value and an empty one, then what the program is
# to read ($1 is "input"), or nothing: its end is then the client's end, and the program's. Behind a NUL, standard error
# tells: S it may start, at a line from the client, M there is no such program, . still here, E with its exit code and the end of the line.
ready=
while IFS= read -r line; do
  [ -n "$line" ] || { ready=yes; break; }
  export "$line"
done
[ "$ready" ] || exit 125
feed=$1
shift
command -v "$1" >/dev/null 2>&1 || { printf '\0M' >&2; exit 127; }
# Only a client that has heard of it lets the program begin: one that hears nothing may start another in its stead.
printf '\0S' >&2
IFS= read -r line || exit 125
exec 3<&0 </dev/null
# What runs beside the program holds neither its input nor its output open: their ends are signs.
(
  trap 'kill "$nap"; wait "$nap"; exit' TERM
  while sleep 10 4>&- & nap=$!; wait "$nap"; do printf '\0.' >&4; done
) 4>&2 >/dev/null 2>&1 3<&- &
beside=$!
if [ "$feed" = input ]; then
  "$@" <&3 3<&- &
  main=$!
else
  "$@" 3<&- &
  main=$!
  (
    while read -r line; do :; done <&3
    kill "$main"
  ) >/dev/null 2>&1 &
  beside="$beside $!"
  exec 3</dev/null
fi
wait "$main"
code=$?
{ kill $beside; wait $beside; } 2>/dev/null
printf '\0E%s\n' "$code" >&2
# Input that nobody read would hold up the news of the end.
cat <&3 >/dev/null
exit "$code"
