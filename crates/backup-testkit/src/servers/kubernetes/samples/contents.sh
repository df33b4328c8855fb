# What is in a folder, a line each, so that two folders can be compared: kind, mode, owner, link, name, then
# digests and extended attributes of files. $1: the folder.
set -e
cd "$1"
find . -mindepth 1 -printf '%y %m %U:%G %l %p\n' | LC_ALL=C sort
find . -type f -printf '%T+ %s %p\n' | LC_ALL=C sort -k3
find . -type f -exec sha256sum {} + | LC_ALL=C sort -k2
find . -type f -exec getfattr -d -m '^user\.' {} + | LC_ALL=C sort
echo whole
