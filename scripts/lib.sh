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

# Generators and checkers of API clients, at the versions that tests/clients pins. What was installed is copied beside it
# last, so that an installation that broke off is made again.
install_clients() {
    local node=target/tools/node python=target/tools/python
    local lock=tests/clients/node/package-lock.json requirements=tests/clients/python/requirements.txt
    if ! cmp -s $lock $node/installed; then
        command -v npm >/dev/null || install nodejs npm
        say "installing the generator of TypeScript clients"
        mkdir -p $node
        cp tests/clients/node/package.json $lock $node/
        npm ci --prefix $node --silent --no-audit --no-fund
        cp $lock $node/installed
    fi
    if ! cmp -s $requirements $python/installed; then
        /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
        say "installing the generator of Python clients, and schemathesis"
        rm -rf $python
        mkdir -p target/tools
        /usr/bin/python3 -m venv $python
        $python/bin/pip install --quiet --disable-pip-version-check --requirement $requirements
        cp $requirements $python/installed
    fi
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
    local driver=target/tools/console lock=tests/console/package-lock.json
    ! cmp -s $lock $driver/installed || return 0
    command -v npm >/dev/null || install nodejs npm
    say "installing what drives the console's page"
    mkdir -p $driver
    cp tests/console/package.json $lock $driver/
    npm ci --prefix $driver --silent --no-audit --no-fund
    cp $lock $driver/installed
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
    local django=target/tools/django requirements=docs/examples/outbox/django/requirements.txt
    if wants django && ! cmp -s $requirements $django/installed; then
        /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
        say "installing Django"
        rm -rf $django
        mkdir -p target/tools
        /usr/bin/python3 -m venv $django
        $django/bin/pip install --quiet --disable-pip-version-check --requirement $requirements
        cp $requirements $django/installed
    fi
}

# The programs that submit mail in tests/submission, but for those that MAILWRIGHT_WITHOUT_RUNTIMES names.
install_mail_clients() {
    local packages=() package nodemailer=target/tools/submission/nodemailer lock=tests/submission/nodemailer/package-lock.json
    while read -r package _; do
        dpkg --status "$package" >/dev/null 2>&1 || packages+=("$package")
    done < <(grep -v '^#' tests/submission/packages.txt)
    [ ${#packages[@]} = 0 ] || install "${packages[@]}"
    if ! cmp -s $lock $nodemailer/installed; then
        command -v npm >/dev/null || install nodejs npm
        say "installing nodemailer"
        mkdir -p $nodemailer
        cp tests/submission/nodemailer/package.json $lock $nodemailer/
        npm ci --prefix $nodemailer --silent --no-audit --no-fund
        cp $lock $nodemailer/installed
    fi
}

# Official SDKs of the services whose APIs are understood, at the versions that tests/dialects pins.
install_dialects() {
    local node=target/tools/dialects/node python=target/tools/dialects/python
    local lock=tests/dialects/node/package-lock.json requirements=tests/dialects/python/requirements.txt
    if ! cmp -s $lock $node/installed; then
        command -v npm >/dev/null || install nodejs npm
        say "installing SDKs for Node"
        mkdir -p $node
        cp tests/dialects/node/package.json $lock $node/
        npm ci --prefix $node --silent --no-audit --no-fund
        cp $lock $node/installed
    fi
    if ! cmp -s $requirements $python/installed; then
        /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
        say "installing SDKs for Python"
        rm -rf $python
        mkdir -p target/tools/dialects
        /usr/bin/python3 -m venv $python
        $python/bin/pip install --quiet --disable-pip-version-check --requirement $requirements
        cp $requirements $python/installed
    fi
}

# What the test suites of docs/examples/testing run on, at the versions that they pin.
install_suites() {
    local suite place pinned
    wants() { [[ ,${MAILWRIGHT_WITHOUT_RUNTIMES-}, != *,$1,* ]]; }
    for suite in jest playwright; do
        place=target/tools/testing/$suite pinned=docs/examples/testing/$suite/package-lock.json
        wants $suite && ! cmp -s $pinned $place/installed || continue
        command -v npm >/dev/null || install nodejs npm
        say "installing $suite"
        mkdir -p $place
        cp docs/examples/testing/$suite/package.json $pinned $place/
        npm ci --prefix $place --silent --no-audit --no-fund
        cp $pinned $place/installed
    done
    place=target/tools/testing/pytest pinned=docs/examples/testing/pytest/requirements.txt
    if wants pytest && ! cmp -s $pinned $place/installed; then
        /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || install python3-venv
        say "installing pytest"
        rm -rf $place
        mkdir -p target/tools/testing
        /usr/bin/python3 -m venv $place
        $place/bin/pip install --quiet --disable-pip-version-check --requirement $pinned
        cp $pinned $place/installed
    fi
}

need_toolchain() {
    if ! command -v cargo >/dev/null && [ -f "$HOME/.cargo/env" ]; then . "$HOME/.cargo/env"; fi
    command -v cargo >/dev/null || { say "a Rust toolchain is needed (cargo on PATH)"; exit 1; }
    command -v cc >/dev/null || install gcc libc6-dev
}
