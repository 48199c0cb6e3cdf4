# How Tether is put into NSS, sudo and sshd, and taken out. Read by the package's scripts.

NSSWITCH=/etc/nsswitch.conf
SUDO_CONF=/etc/sudo.conf
SUDO_PLUGIN=/usr/libexec/sudo/sudo_tether.so
BEGIN='# tether begin: sudo for agents; people get sudoers as ever. See /usr/share/doc/tether.'
END='# tether end'

# Writes stdin to a file by rename, with the mode and owner that it has.
replace() {
    new=$(mktemp "$1.tether.XXXXXX")
    if [ -e "$1" ]; then
        chmod --reference="$1" "$new"
        chown --reference="$1" "$new"
    else
        chmod 644 "$new"
    fi
    cat >"$new"
    sync "$new"
    mv -f "$new" "$1"
}

# After "files": a name of the host's own files is never asked of us.
wire_nss() {
    for database in passwd group; do
        grep -Eq "^$database:.*[[:space:]]tether([[:space:]]|\$)" "$NSSWITCH" && continue
        sed -E "s/^($database:[[:space:]]*(files|compat))/\\1 tether/" "$NSSWITCH" | replace "$NSSWITCH"
    done
}

unwire_nss() {
    sed -E '/^(passwd|group):/s/[[:space:]]+tether([[:space:]]|$)/\1/' "$NSSWITCH" | replace "$NSSWITCH"
}

# The lines go in only if sudo answers with them as without, and are tried where nobody else's sudo sees them.
wire_sudo() {
    # Whole, it stays; a block that somebody edited is made anew.
    [ "$(grep -c '^Plugin tether_[a-z]* sudo_tether.so$' "$SUDO_CONF" 2>/dev/null)" != 3 ] || return 0
    unwire_sudo
    if [ ! -e /usr/libexec/sudo/sudoers.so ]; then
        echo "tether: /usr/libexec/sudo/sudoers.so is not there; agents get no sudo on this host" >&2
        return 0
    fi
    if grep -Eq '^[[:space:]]*Plugin[[:space:]]' "$SUDO_CONF" 2>/dev/null; then
        echo "tether: $SUDO_CONF names a plugin already; agents get no sudo on this host" >&2
        return 0
    fi
    # An empty file is as good as none.
    [ -e "$SUDO_CONF" ] || replace "$SUDO_CONF" </dev/null
    lines=$(mktemp)
    chmod 644 "$lines"
    { cat "$SUDO_CONF"; sudo_lines; } >"$lines"
    before=$(sudo_answers)
    after=$(sudo_answers_with "$lines")
    if [ "$before" = "$after" ]; then
        replace "$SUDO_CONF" <"$lines"
    else
        [ -s "$SUDO_CONF" ] || rm -f "$SUDO_CONF"
        echo "tether: sudo does not answer as before with our plugin, so it was left out; agents get no sudo on this host" >&2
        echo "tether: before: $before" >&2
        echo "tether: with it: $after" >&2
    fi
    rm -f "$lines"
}

# What sudo would answer with another sudo.conf. Nobody else sees that one: it is there only in a mount namespace of
# the asker's. Where there can be none (a container without the right to), it is there for everybody for a moment.
sudo_answers_with() {
    if unshare --mount true 2>/dev/null; then
        # shellcheck disable=SC2016
        unshare --mount sh -c 'mount --no-mtab --bind "$1" "$2" && . /usr/share/tether/wiring.sh && sudo_answers' sh "$1" "$SUDO_CONF" 2>&1 ||
            echo "the test itself failed"
        return 0
    fi
    old=$(mktemp "$SUDO_CONF.tether.XXXXXX")
    cp -p "$SUDO_CONF" "$old"
    replace "$SUDO_CONF" <"$1"
    sudo_answers
    mv -f "$old" "$SUDO_CONF"
}

sudo_lines() {
    echo "$BEGIN"
    for part in policy audit io; do
        echo "Plugin tether_$part sudo_tether.so"
    done
    echo "$END"
}

unwire_sudo() {
    grep -q 'tether' "$SUDO_CONF" 2>/dev/null || return 0
    # Our own lines one by one: a block that has lost its end must not take what follows with it.
    sed -e '/^# tether begin/d' -e '/^Plugin tether_[a-z]* sudo_tether\.so$/d' -e '/^# tether end/d' "$SUDO_CONF" | replace "$SUDO_CONF"
    # There was no such file before: an empty one is not left behind.
    [ -s "$SUDO_CONF" ] || rm -f "$SUDO_CONF"
}

# A command, a list and a version, as root: words and exit code.
sudo_answers() {
    for arguments in '-n true' '-n -l true' '-n -v'; do
        # shellcheck disable=SC2086
        timeout 10 sudo $arguments 2>&1 </dev/null && echo "rc 0" || echo "rc $?"
    done
}

# sshd refuses new connections for a moment while it reloads, so it does only for another drop-in than it has read.
reload_sshd() {
    read_before=/run/tether/sshd-has-read
    now=$(sha256sum </etc/ssh/sshd_config.d/00-tether.conf) || now=
    [ -z "$now" ] || [ "$now" != "$(cat $read_before 2>/dev/null)" ] || return 0
    if sshd -t; then
        systemctl try-reload-or-restart ssh.service || return 0
        echo "$now" >$read_before
    else
        echo "tether: sshd does not accept its configuration, so it was not reloaded; agents cannot log in yet" >&2
    fi
}
