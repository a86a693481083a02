#!/bin/sh
# usage: embed.sh FILE...   writes C that holds the files and the table of dashboard.h; index.html is the page at /
set -eu
echo '/* Made by embed.sh from the files beside it. */'
echo '#include "control/dashboard.h"'
n=0
for file; do
    n=$((n + 1))
    printf '\nstatic const unsigned char file_%d[] = {\n' "$n"
    od -An -v -tx1 "$file" | sed 's/[0-9a-f][0-9a-f]/0x&,/g'
    echo '};'
done
printf '\nconst struct dashboard_file dashboard_files[] = {\n'
n=0
for file; do
    n=$((n + 1))
    name=${file##*/}
    case $name in
    index.html) path=/ ;;
    *) path=/dashboard/$name ;;
    esac
    case $name in
    *.html) type='text/html; charset=utf-8' ;;
    *.css) type='text/css; charset=utf-8' ;;
    *.js) type='text/javascript; charset=utf-8' ;;
    *.svg) type=image/svg+xml ;;
    *) echo "embed.sh: $file: no type is known for this name" >&2; exit 1 ;;
    esac
    printf '    {"%s", "%s", {(const char *)file_%d, sizeof file_%d}},\n' "$path" "$type" "$n" "$n"
done
printf '};\nconst size_t dashboard_file_count = %d;\n' "$n"
