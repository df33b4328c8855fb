# Files as Supabase Storage's file backend keeps them: BUCKET/NAME/VERSION, with what it has to know about
# each in extended attributes.
set -e
cd /var/lib/storage
put() { # PATH CONTENT-TYPE: standard input
    mkdir -p "$(dirname "$1")"
    cat >"$1"
    setfattr -n user.supabase.content-type -v "$2" "$1"
    setfattr -n user.supabase.cache-control -v 'max-age=3600' "$1"
}
printf '\211PNG\r\n\032\n\000\377' | put stub/stub/avatars/anna.png/0b1c2d3e-1 image/png
printf 'Grüße\n' | put 'stub/stub/documents/Büro Süd/Größe 1.txt/7f6e5d4c-1' 'text/plain; charset=utf-8'
printf 'second\n' | put 'stub/stub/documents/Büro Süd/Größe 1.txt/7f6e5d4c-2' 'text/plain; charset=utf-8'
printf '' | put stub/stub/documents/empty/00000000-1 application/octet-stream
seq 1 300000 | put stub/stub/documents/numbers.csv/12345678-1 text/csv
chmod 640 stub/stub/documents/numbers.csv/12345678-1
chown 1000:1001 stub/stub/documents/numbers.csv/12345678-1
touch -d 2024-02-29T12:34:56.789Z stub/stub/avatars/anna.png/0b1c2d3e-1
ln -s ../numbers.csv/12345678-1 stub/stub/documents/empty/link
mkdir -p stub/stub/documents/nothing
echo written
