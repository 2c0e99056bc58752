# Shared by the scripts: installing what Debian packages, as root or through sudo.

cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="$PWD/target"

say() { printf '\n== %s\n' "$*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else say "run this as root, or install sudo: $*"; exit 1
    fi
}

# install PACKAGE...: with apt, where it exists.
install() {
    command -v apt-get >/dev/null || { say "install these with your system's packages: $*"; exit 1; }
    say "installing $*"
    as_root apt-get update -qq -o DPkg::Lock::Timeout=300
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=300 --no-install-recommends "$@" >/dev/null
}

has_postgres() {
    command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1
}

# The directory of the newest Postgres' programs.
postgres_bin() {
    if command -v initdb >/dev/null; then dirname "$(readlink -f "$(command -v initdb)")"
    else ls -d /usr/lib/postgresql/*/bin | sort -V | tail -n 1
    fi
}

# install_without_service PACKAGE UNIT...: nothing of it runs until an instance is started by name.
install_without_service() {
    (
        package=$1
        shift
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
            trap 'as_root rm -f $policy' EXIT
            printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
            as_root chmod 755 $policy
        fi
        install "$package"
        for unit in "$@"; do
            as_root deb-systemd-helper disable "$unit" >/dev/null 2>&1 || true
        done
        as_root update-rc.d "$package" disable >/dev/null 2>&1 || true
    )
}

install_postfix() {
    # What it says who it is by, as a client.
    ls /usr/lib/*/sasl2/libplain.so* >/dev/null 2>&1 || install libsasl2-modules
    [ ! -x /usr/sbin/postfix ] || return 0
    # A configuration that an earlier package left behind would be started.
    [ ! -e /etc/postfix/main.cf ] || { say "/etc/postfix/main.cf is there without Postfix: install it yourself"; exit 1; }
    echo "postfix postfix/main_mailer_type select No configuration" | as_root debconf-set-selections
    install_without_service postfix postfix.service postfix-resolvconf.path postfix-resolvconf.service
}

install_pgbouncer() {
    [ -x /usr/sbin/pgbouncer ] || install_without_service pgbouncer pgbouncer.service
}

# install_node SOURCE PLACE WHAT: packages of npm as the lock in SOURCE pins them. What was installed is copied beside it last, so that an
# installation that broke off is made again.
install_node() {
    ! cmp -s "$1/package-lock.json" "$2/installed" || return 0
    command -v npm >/dev/null || install nodejs npm
    say "installing $3"
    mkdir -p "$2"
    cp "$1/package.json" "$1/package-lock.json" "$2/"
    npm ci --prefix "$2" --silent --no-audit --no-fund
    cp "$1/package-lock.json" "$2/installed"
}

# install_python REQUIREMENTS PLACE WHAT: the same of PyPI, in a virtual environment.
install_python() {
    ! cmp -s "$1" "$2/installed" || return 0
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
    say "installing $3"
    rm -rf "$2"
    mkdir -p "$(dirname "$2")"
    /usr/bin/python3 -m venv "$2"
    "$2/bin/pip" install --quiet --disable-pip-version-check --requirement "$1"
    cp "$1" "$2/installed"
}

# Generators and checkers of API clients, at the versions that tests/clients pins.
install_clients() {
    install_node tests/clients/node target/tools/node "the generator of TypeScript clients"
    install_python tests/clients/python/requirements.txt target/tools/python "the generator of Python clients, and schemathesis"
}

# Samples of mail that came back, and what a library of others finds in them (tests/it/feedback.rs).
install_samples() {
    local samples=target/tools/samples requirements=tests/feedback/requirements.txt crate=tests/feedback/crate.txt
    ! cat $requirements $crate | cmp -s - $samples/installed || return 0
    /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
    say "installing samples of bounces and reports"
    rm -rf $samples
    mkdir -p $samples/data
    /usr/bin/python3 -m venv $samples/python
    local pip="$samples/python/bin/pip --quiet --disable-pip-version-check"
    $pip install --requirement $requirements
    $pip download --no-deps --no-binary flufl.bounce --dest $samples --requirement $requirements
    tar --extract --gzip --file $samples/flufl*.tar.gz --directory $samples/data --strip-components 3 --wildcards '*/tests/data/*.txt'
    $samples/python/bin/python tests/feedback/expected.py $samples/data >$samples/expected.jsonl
    # A crate that nothing is built with: it is fetched and unpacked, and its samples are read.
    local name sum home=${CARGO_HOME:-$HOME/.cargo}
    read -r name sum < <(grep -v '^#' $crate)
    cargo --quiet info "$name" >/dev/null
    echo "$sum  $(ls "$home"/registry/cache/*/"${name/@/-}".crate | head -n 1)" | sha256sum --check --quiet
    cp -r "$(ls -d "$home"/registry/src/*/"${name/@/-}"/resources | head -n 1)" $samples/reports
    cat $requirements $crate >$samples/installed
}

# What drives the console's page in chromium, and judges whether everyone can use it, at the versions that tests/console pins.
install_page_driver() {
    install_node tests/console target/tools/console "what drives the console's page"
}

# What the programs of docs/examples run on, but for those that MAILWRIGHT_WITHOUT_RUNTIMES names (`java,go`).
install_runtimes() {
    local packages=()
    wants() { [[ ,${MAILWRIGHT_WITHOUT_RUNTIMES-}, != *,$1,* ]]; }
    ! wants curl || command -v openssl >/dev/null || packages+=(openssl)
    ! wants go || command -v go >/dev/null || packages+=(golang-go)
    ! wants java || command -v javac >/dev/null || packages+=(default-jdk-headless)
    ! wants php || php -r 'exit((int) !extension_loaded("curl"));' 2>/dev/null || packages+=(php-cli php-curl)
    ! wants ruby || command -v ruby >/dev/null || packages+=(ruby)
    ! wants rails || ruby -e 'require "active_record"; require "pg"' 2>/dev/null || packages+=(ruby ruby-activerecord ruby-pg)
    [ ${#packages[@]} = 0 ] || install "${packages[@]}"
    ! wants django || install_python docs/examples/outbox/django/requirements.txt target/tools/django Django
}

# The programs that submit mail in tests/submission, but for those that MAILWRIGHT_WITHOUT_RUNTIMES names.
install_mail_clients() {
    local packages=() package
    while read -r package _; do
        dpkg --status "$package" >/dev/null 2>&1 || packages+=("$package")
    done < <(grep -v '^#' tests/submission/packages.txt)
    [ ${#packages[@]} = 0 ] || install "${packages[@]}"
    install_node tests/submission/nodemailer target/tools/submission/nodemailer nodemailer
}

# Official SDKs of the services whose APIs are understood, at the versions that tests/dialects pins.
install_dialects() {
    install_node tests/dialects/node target/tools/dialects/node "SDKs for Node"
    install_python tests/dialects/python/requirements.txt target/tools/dialects/python "SDKs for Python"
}

# What the test suites of docs/examples/testing run on, at the versions that they pin.
install_suites() {
    local suite place=target/tools/testing
    wants() { [[ ,${MAILWRIGHT_WITHOUT_RUNTIMES-}, != *,$1,* ]]; }
    for suite in jest playwright; do
        ! wants $suite || install_node docs/examples/testing/$suite $place/$suite $suite
    done
    ! wants pytest || install_python docs/examples/testing/pytest/requirements.txt $place/pytest pytest
}

need_toolchain() {
    if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then . "$HOME/.cargo/env"; fi
    command -v cargo >/dev/null || { say "a Rust toolchain is needed (cargo on PATH)"; exit 1; }
    command -v cc >/dev/null || install gcc libc6-dev
}
