#!/bin/sh
# Arrows only point down: holds the include table of the rooms. Speaks TAP.
set -u
cd "${srcdir:-.}" || exit 99

# room: rooms it may include from, besides itself
table='
base:
http: base
io: base
route: base
deploy: base
config: base
link: base io route
plane: base http io route link
control: base http io route deploy config link
keeper: base io route link
cli: base http config io
main: base config control plane keeper cli link io
'
echo 1..12
n=0
echo "$table" | while IFS=': ' read -r room allowed; do
    [ -n "$room" ] || continue
    n=$((n + 1))
    bad=$(grep -RnoE '#include "[a-z0-9_]+/' "src/$room" --include='*.[ch]' 2>/dev/null |
        while IFS= read -r line; do
            used=${line##*\"}
            used=${used%/}
            case " $room $allowed " in *" $used "*) ;; *) echo "$line" ;; esac
        done)
    if [ -z "$bad" ]; then
        echo "ok $n - $room includes only what lies below it"
    else
        echo "not ok $n - $room includes only what lies below it"
        echo "$bad" | sed 's/^/# /'
    fi
done
