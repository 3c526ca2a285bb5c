# Set-up shared by t/run, .ci/run and demo/run; to be sourced by bash.
#
#   fc_install PACKAGE...   install what is missing of Debian's packages
#   fc_build_module         the module for Debian's nginx; sets FC_MODULE
#   fc_build_asan           nginx and the module under ASan and UBSan; sets
#                           FC_ASAN_NGINX and FC_ASAN_MODULE
#   fc_open_files           as many open files as the tests of crowds need
#
# All output goes to t/var; the source tree is never written to.  Each step
# is left out when its result is there already, and a lock keeps two runs at
# once from building in the same place.

fc_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
fc_var=$fc_top/t/var

FC_PACKAGES_BUILD="gcc make libc6-dev dpkg-dev nginx nginx-dev libpq-dev
    libhiredis-dev libjansson-dev libssl-dev libpcre2-dev zlib1g-dev"
FC_PACKAGES_RUN="postgresql redis-server python3-django python3-psycopg2
    perl libio-socket-ssl-perl libjson-xs-perl openssl"
FC_PACKAGES_CHECK="binutils universal-ctags"


fc_say() {
    echo "==> $*" >&2
}


fc_die() {
    echo "${0##*/}: $*" >&2
    exit 1
}


# A login shell of Debian has a soft limit of 1,024, which a crowd is beyond.

fc_open_files() {
    local n

    n=$(ulimit -Hn)

    if [ "$n" = unlimited ] || [ "$n" -gt 20000 ]; then
        n=20000
    fi

    ulimit -Sn "$n"

    if [ "$n" -lt 8192 ]; then
        fc_say "only $n open files are allowed: tests of crowds will fail"
    fi
}


fc_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"

    elif command -v sudo >/dev/null; then
        sudo "$@"

    else
        fc_die "must be root, or have sudo, to install packages: $fc_missing"
    fi
}


fc_missing_of() {
    local p

    for p in "$@"; do
        if ! dpkg-query -W -f '${db:Status-Status}\n' "$p" 2>/dev/null \
             | grep -qx installed
        then
            printf ' %s' "$p"
        fi
    done
}


# The services of the packages are not ours to start, nor is a cluster of the
# system's PostgreSQL ours to make.  Both are kept back only while installing,
# and only where nobody has settled it otherwise.

fc_apt() (
    policy=/usr/sbin/policy-rc.d
    nocluster=/etc/postgresql-common/createcluster.d/fcchat.conf
    made=

    # shellcheck disable=SC2064,SC2317
    undo() {
        local f

        for f in $made; do
            fc_root rm -f "$f"
        done

        if [ -d "${nocluster%/*}" ]; then
            fc_root rmdir --ignore-fail-on-non-empty "${nocluster%/*}"
        fi
    }

    trap undo EXIT
    trap 'exit 130' INT TERM

    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | fc_root tee $policy >/dev/null
        fc_root chmod 755 $policy
        made="$made $policy"
    fi

    if [ -n "$(fc_missing_of postgresql-common)" ]; then
        fc_root mkdir -p "${nocluster%/*}"
        echo 'create_main_cluster = false' \
            | fc_root tee $nocluster >/dev/null
        made="$made $nocluster"
    fi

    fc_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 \
        apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
        install --no-install-recommends "$@" </dev/null
)


fc_install() {
    local log

    fc_missing=$(fc_missing_of "$@")

    if [ -z "$fc_missing" ]; then
        return 0
    fi

    mkdir -p "$fc_var"
    log=$fc_var/install.log

    fc_say "installing:$fc_missing"

    # shellcheck disable=SC2086
    if fc_apt $fc_missing >"$log" 2>&1; then
        return 0
    fi

    # lists that are missing or out of date are the usual cause

    fc_say "refreshing the package lists"
    fc_root apt-get -q -o DPkg::Lock::Timeout=120 update >>"$log" 2>&1

    # shellcheck disable=SC2086
    if ! fc_apt $fc_missing >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fc_die "can't install$fc_missing (the whole log: $log)"
    fi
}


fc_jobs() {
    local n

    n=$(nproc)
    echo $((n > 4 ? 4 : n))
}


# Runs a command quietly: its output is shown only if it fails.

fc_quiet() {
    local log=$1

    shift

    if ! "$@" >>"$log" 2>&1; then
        tail -n 40 "$log" >&2
        return 1
    fi
}


# A path as seen from a directory: nginx's auto/make takes ".c", ".cc" or ".S"
# anywhere in a name for its suffix, also in a directory above.

fc_seen_from() {
    realpath --relative-to="$1" "$2"
}


# fc_configure DIR BUILD STAMP OPTION...: configure in DIR for the directory
# BUILD, once for each content of STAMP.

fc_configure() {
    local dir=$1 build=$2 stamp=$3

    shift 3

    if [ -f "$build/stamp" ] && [ "$(cat "$build/stamp")" = "$stamp" ]; then
        return 0
    fi

    rm -rf "$build"
    mkdir -p "$build"

    (cd "$dir" && fc_quiet "$build/log" ./configure "$@" \
                           --builddir="$(fc_seen_from "$dir" "$build")") \
        || return 1

    echo "$stamp" > "$build/stamp"
}


fc_stamp() {
    (
        cd "$fc_top" || exit 1
        sha256sum config
        find src ngx_http_fcchat_module.c -name '*.[ch]' | sort
        dpkg-query -W nginx nginx-dev libpq-dev libhiredis-dev gcc
        echo "$fc_top" "$@"
    ) | sha256sum
}


fc_lock() {
    mkdir -p "$fc_var"
    exec 9>"$fc_var/lock"
    flock 9
}


fc_unlock() {
    exec 9>&-
}


# fc_make_module BUILD OPTION...
#
# The headers of nginx-dev are enough for a dynamic module.  configure writes
# beside itself, so it works on a copy.

fc_make_module() {
    local dir=$fc_var/nginx build=$1
    local NGX_CONF_FLAGS=()

    shift
    fc_lock

    if [ ! -f "$dir/version" ] || ! dpkg-query -W nginx-dev \
                                    | cmp -s - "$dir/version"
    then
        rm -rf "$dir"
        mkdir -p "$dir"
        cp -a /usr/share/nginx/src/. "$dir/" || fc_die "nginx-dev is broken"
        dpkg-query -W nginx-dev > "$dir/version"
    fi

    # shellcheck disable=SC1091
    . "$dir/conf_flags"

    # what Debian hardens its own modules with, less the log's path map

    local cc="-g -O2 -fPIC -fstack-protector-strong -D_FORTIFY_SOURCE=2"

    cc="$cc -Wformat -Werror=format-security"
    cc="$cc -Wall -Wextra -Wno-unused-parameter -Werror"

    local ld="-Wl,-z,relro -Wl,-z,now -fPIC"

    fc_configure "$dir" "$build" "$(fc_stamp "$cc$ld" "$@")" \
                 "${NGX_CONF_FLAGS[@]}" --with-cc-opt="$cc" \
                 --with-ld-opt="$ld" "$@" \
                 --add-dynamic-module="$(fc_seen_from "$dir" "$fc_top")" \
        || fc_die "can't configure the module (log: $build/log)"

    fc_quiet "$build/log" make -j"$(fc_jobs)" -C "$dir" \
             -f "$build/Makefile" modules \
        || fc_die "can't build the module (log: $build/log)"

    fc_unlock
}


fc_build_module() {
    fc_make_module "$fc_var/build"

    FC_MODULE=$fc_var/build/ngx_http_fcchat_module.so
    export FC_MODULE
}


# apt's sources as they are, with deb-src in place of deb, in a directory of
# our own: a bare Debian has no source entries, and its lists are not touched.

fc_source_lists() {
    local to=$1 f

    mkdir -p "$to/parts" "$to/lists/partial"
    : > "$to/main.list"

    for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        if [ -f "$f" ]; then
            sed -nE 's/^[[:space:]]*deb([[:space:]])/deb-src\1/p' "$f" \
                | grep -E '[/.]debian\b|debian\.org|debian-security' \
                >> "$to/main.list"
        fi
    done

    for f in /etc/apt/sources.list.d/*.sources; do
        if [ -f "$f" ] && grep -qiE '^URIs:.*debian' "$f"; then
            sed -E 's/^(Types:).*/\1 deb-src/I' "$f" \
                > "$to/parts/${f##*/}"
        fi
    done
}


fc_nginx_source() {
    local dir=$1 apt=$fc_var/apt log=$fc_var/source.log version v

    version=$(dpkg-query -W -f '${source:Version}' nginx)
    rm -rf "$dir" "$apt"
    mkdir -p "$dir"
    : > "$log"
    fc_source_lists "$apt"

    local opt=(-q -o Dir::Etc::sourcelist="$apt/main.list"
               -o Dir::Etc::sourceparts="$apt/parts"
               -o Dir::State::lists="$apt/lists"
               -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
               -o APT::Sandbox::User=root)

    fc_quiet "$log" apt-get "${opt[@]}" update

    # A mirror may hold the sources of fewer versions than of binaries.  One
    # with other patches of Debian's does as well, or the one without any.

    for v in "$version" $(apt-cache "${opt[@]}" showsrc nginx 2>>"$log" \
                          | sed -n "s/^Version: \(${version%%-*}-\)/\1/p")
    do
        if (cd "$dir" && apt-get "${opt[@]}" source "nginx=$v" >>"$log" 2>&1)
        then
            break
        fi
    done

    if ! compgen -G "$dir/nginx-*/" >/dev/null; then
        (cd "$dir" && apt-get "${opt[@]}" --tar-only source nginx \
                          >>"$log" 2>&1 \
                   && mkdir nginx-tar \
                   && tar -xf nginx_"${version%%-*}".orig.tar.* \
                          -C nginx-tar --strip-components=1 2>>"$log")
    fi

    if ! compgen -G "$dir/nginx-*/" >/dev/null; then
        tail -n 20 "$log" >&2
        fc_die "can't fetch nginx's source package, version $version;" \
               "the sanitizer build needs a Debian mirror with sources" \
               "(log: $log)"
    fi

    mv "$dir"/nginx-*/ "$dir/tree" || fc_die "no source tree in $dir"
}


# The tree of the source package, which builds are made from but not in; call it
# with the lock held.  Sets fc_tree.

fc_nginx_tree() {
    local src=$fc_var/asan/src version

    version=$(dpkg-query -W nginx)

    if [ ! -f "$src/version" ] || [ "$(cat "$src/version")" != "$version" ]
    then
        fc_say "fetching nginx's source"
        fc_nginx_source "$src"
        echo "$version" > "$src/version"
    fi

    fc_tree=$src/tree
}


# fc_build_apart DIR CC FLAGS CORE-FLAGS OWN-FLAGS LD-FLAGS OPTION...
#
# The core and the module are configured apart, in the same words, so that
# nginx takes the module as its own but each has flags for itself: the core
# has habits that UBSan minds (offsets of null pointers, memcpy of nothing
# from nowhere, unaligned loads in its parsers), our files shall have none.
# Makes DIR/core and DIR/module.

fc_build_apart() {
    local dir=$1 cc=$2 common=$3 core=$4 own=$5 ld=$6 version

    shift 6
    fc_lock
    fc_nginx_tree

    version=$(dpkg-query -W nginx)

    if [ ! -x "$dir/core/nginx" ]; then
        fc_say "building nginx with sanitizers (a minute or two, once)"
    fi

    fc_configure "$fc_tree" "$dir/core" "$version $common $core" "$@" \
                 --with-cc="$cc" --with-cc-opt="$common $core" \
                 --with-ld-opt="$ld" \
        || fc_die "can't configure nginx (log: $dir/core/log)"

    fc_quiet "$dir/core/log" make -j"$(fc_jobs)" -C "$fc_tree" \
             -f "$dir/core/Makefile" binary \
        || fc_die "can't build nginx (log: $dir/core/log)"

    # nginx unloads the module before leaks are looked for; it has to stay for
    # their stacks to have names

    fc_configure "$fc_tree" "$dir/module" "$(fc_stamp "$cc $common $own")" \
                 "$@" --with-cc="$cc" --with-cc-opt="$common $own" \
                 --with-ld-opt="$ld -Wl,-z,nodelete" \
                 --add-dynamic-module="$(fc_seen_from "$fc_tree" "$fc_top")" \
        || fc_die "can't configure the module (log: $dir/module/log)"

    fc_quiet "$dir/module/log" make -j"$(fc_jobs)" -C "$fc_tree" \
             -f "$dir/module/Makefile" modules \
        || fc_die "can't build the module (log: $dir/module/log)"

    fc_unlock
}


# what of UBSan is not for nginx's core, and how our own files are checked

fc_not_core=-fno-sanitize=nonnull-attribute,pointer-overflow,alignment,null
fc_not_core=$fc_not_core,shift
fc_own="-Wall -Wextra -Wno-unused-parameter -Werror"


# AddressSanitizer and libFuzzer, of clang

fc_build_fuzz() {
    local checks=-fsanitize=address,undefined

    fc_build_apart "$fc_var/fuzz" clang-14 \
        "-g -O1 -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1" \
        "-fsanitize=address" \
        "$checks,fuzzer-no-link -fno-sanitize-recover=all $fc_own" \
        "$checks" --without-http_gzip_module --without-http_proxy_module \
        --without-http_rewrite_module --without-pcre
}


fc_build_asan() {
    local dir=$fc_var/asan checks=-fsanitize=address,undefined

    fc_build_apart "$dir" gcc \
        "-g -O1 -fno-omit-frame-pointer -DNGX_DEBUG_PALLOC=1 $checks" \
        "$fc_not_core" \
        "-fno-sanitize-recover=all $fc_own -Wno-error=maybe-uninitialized" \
        "$checks" \
        --with-debug --with-http_ssl_module --with-http_v2_module \
        --with-http_realip_module --with-http_auth_request_module \
        --with-http_stub_status_module --with-threads

    FC_ASAN_NGINX=$dir/core/nginx
    FC_ASAN_MODULE=$dir/module/ngx_http_fcchat_module.so
    export FC_ASAN_NGINX FC_ASAN_MODULE
}
