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

# The lines go in only if sudo works as well with them as without, for a caller whom sudoers knows.
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
    before=$(sudo_answers)
    { [ ! -e "$SUDO_CONF" ] || cat "$SUDO_CONF"; sudo_lines; } | replace "$SUDO_CONF"
    after=$(sudo_answers)
    if [ "$before" != "$after" ]; then
        unwire_sudo
        echo "tether: sudo did not answer as before with our plugin, so it was taken out again; agents get no sudo on this host" >&2
        echo "tether: before: $before" >&2
        echo "tether: with it: $after" >&2
    fi
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

reload_sshd() {
    if sshd -t; then
        systemctl try-reload-or-restart ssh.service || true
    else
        echo "tether: sshd does not accept its configuration, so it was not reloaded; agents cannot log in yet" >&2
    fi
}
