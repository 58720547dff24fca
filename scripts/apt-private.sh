# A private apt root: packages of another Debian release or architecture, fetched and checked by apt, without touching the
# machine's own apt state and without root. Sourced after lib.sh.
#
# The mirror, proxy and login are the machine's own: only the lists of sources, the package state and the caches are private.
# Nothing is installed: packages are unpacked with dpkg -x into a directory.
# shellcheck shell=bash

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r "$debian_keyring" ] || debian_keyring=/usr/share/keyrings/debian-archive-keyring.pgp

# The mirror of the main Debian archive this machine is configured for, whatever the form of its sources files.
debian_mirror() {
    local uri release component origin
    # shellcheck disable=SC2016 # $(...) below is apt's own notation
    while IFS='|' read -r uri release component origin; do
        case $release in
        *-security | *-updates | *-backports | */updates) continue ;;
        bookworm | trixie | forky | sid | stable | testing | unstable | oldstable) ;;
        *) [ "$origin" = Debian ] || continue ;;
        esac
        case $uri in
        http://* | https://* | mirror+*) ;;
        *) continue ;;
        esac
        if [ "$component" = main ]; then
            printf '%s\n' "${uri%/}"
            return 0
        fi
    done < <(apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)' 'Created-By: Packages' 2>/dev/null)
    # No source names a Debian mirror (another distribution, or sources of local files): Debian's public name.
    printf 'http://deb.debian.org/debian\n'
}

# apt_private_make DIR SUITE ARCH: an empty private root in DIR.
apt_private_make() {
    local dir=$1 suite=$2 arch=$3 signed=
    mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/parts" || return 1
    : >"$dir/status"
    [ ! -r "$debian_keyring" ] || signed=" signed-by=$debian_keyring"
    printf 'deb [arch=%s%s] %s %s main\n' "$arch" "$signed" "$(debian_mirror)" "$suite" >"$dir/sources.list"
    printf '%s\n' "$arch" >"$dir/arch"
}

# apt_private DIR COMMAND...: apt-get or apt-cache in that root. The options come last on apt's own list of priorities, so
# nothing in the machine's configuration overrides them; proxies, logins and certificates stay the machine's.
apt_private() {
    local dir=$1 tool=$2
    shift 2
    "$tool" -o APT::Architecture="$(cat "$dir/arch")" -o APT::Architectures::="$(cat "$dir/arch")" \
        -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts="$dir/parts" \
        -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts="$dir/parts" \
        -o Dir::State="$dir/state" -o Dir::State::lists="$dir/state/lists" -o Dir::State::status="$dir/status" \
        -o Dir::State::extended_states="$dir/state/extended_states" \
        -o Dir::Cache="$dir/cache" -o Dir::Cache::archives="$dir/cache/archives" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
        -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
        -o Acquire::https::Timeout=30 -o APT::Update::Post-Invoke-Success= -o Dpkg::Use-Pty=0 \
        -o Acquire::AllowInsecureRepositories=false "$@"
}

# apt_private_update DIR [apt options...]: fails when any index is missing or does not verify (apt alone only warns when a
# download fails, and would go on with what it had).
apt_private_update() {
    local dir=$1
    shift
    apt_private "$dir" apt-get -q -o APT::Update::Error-Mode=any "$@" update
}

# apt_private_download DIR INTO PACKAGE: the newest version, verified by apt, as INTO/<package file>.
apt_private_download() {
    local dir=$1 into=$2 package=$3
    (cd "$into" && apt_private "$dir" apt-get -q download "$package")
}

# apt_private_unpack DIR TREE: all packages that were downloaded for an installation, into TREE. The one with the links /bin, /lib and so on
# comes first.
apt_private_unpack() {
    local deb
    mkdir -p "$2"
    for deb in "$1"/cache/archives/base-files_*.deb "$1"/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$2" --keep-directory-symlink || return 1
    done
}
