#!/bin/bash
# What sudo does for humans, as a transcript that two runs can be compared by.
#
#   human_sudo.sh > before; (install tether); human_sudo.sh > after; diff before after
#
# Runs as root on a throw-away host with sudo >= 1.9.4. Makes its own users (hs_…), its own file in
# /etc/sudoers.d and folders under /run and /etc, and removes them. What differs from run to run by nature
# (times, process numbers, terminals, sequence numbers) is replaced in the transcript, and so is the plugin's
# name where sudo says that it could not be initialised; nothing else is.
# Needs: bash, setpriv, setsid; expect for the terminal cases ("no expect" is said when it is missing).
set -u
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
readonly RUN=/run/human_sudo RULES=/etc/sudoers.d/human_sudo EDITED=/etc/human_sudo_edited
CASES=0

main() {
    [ "$(id -u)" = 0 ] || { echo "must run as root" >&2; exit 2; }
    trap tear_down EXIT
    set_up
    { simple_runs; identities; refusals; passwords_and_tickets; environment; options; lists; tags; edits
      exit_codes_and_signals; shape_of_the_process; logs; terminals; log_server; } 2>&1 | normalised
}

# case NAME USER SHELL-COMMAND: its output and exit code, without a terminal.
case_() {
    CASES=$((CASES + 1))
    echo "=== $1"
    (cd /tmp && exec setsid -w setpriv --reuid "$2" --regid "$2" --init-groups --inh-caps=-all \
        env -i HOME="$RUN/home/$2" USER="$2" LOGNAME="$2" PATH="$PATH" LANG=C TERM=dumb SHELL=/bin/sh \
        timeout 20 /bin/sh -c "$3" </dev/null 2>&1)
    echo "rc=$?"
}

normalised() {
    # sudo 1.9.16's log server breaks its lines even inside a date, hence TIME, MONTH and DAY there.
    sed -E -e "s/[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}( [0-9]{4})?/DATE/g" \
        -e '/^=== what the log server has/,/^rc=/{s/\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b/TIME/g;s/^[A-Z][a-z]{2}$/MONTH/;s/^    [0-9]{1,2}$/    DAY/}' \
        -e 's,/dev/pts/[0-9]+,TTY,g' -e 's,pts/[0-9]+,TTY,g' \
        -e 's/TSID=[0-9A-Z]{6}/TSID=N/g' -e 's/\r$//' \
        -e '/^SigQ:/d' \
        -e 's,(error initializing (policy|audit|I/O) plugin) (sudoers|tether)_,\1 PLUGIN_,'
}

set_up() {
    tear_down
    mkdir -p "$RUN/home" "$RUN/io"
    chmod 711 "$RUN" "$RUN/home"
    local user
    for user in hs_free hs_pass hs_few hs_none hs_direct; do
        useradd -M -d "$RUN/home/$user" -s /bin/sh "$user"
        install -d -m 700 -o "$user" -g "$user" "$RUN/home/$user"
        echo "$user:right$user" | chpasswd
    done
    groupadd hs_group
    echo first > "$EDITED"
    cat > "$RUN/rules" <<RULES
Defaults:hs_free,hs_pass,hs_few,hs_none logfile=$RUN/log, lecture=never, passwd_tries=2, !mail_badpass, !mail_no_user, !mail_no_perms, !mail_no_host, !insults, timestamp_timeout=5, iolog_dir=$RUN/io, iolog_file=%{seq}
Defaults:hs_none passwd_tries=1
Defaults:hs_direct !use_pty, !pam_session, !pam_setcred
hs_direct ALL=(ALL:ALL) NOPASSWD: ALL
hs_free ALL=(ALL:ALL) NOPASSWD: ALL
hs_pass ALL=(ALL:ALL) ALL
hs_few ALL=(root) NOPASSWD: /usr/bin/id, /usr/bin/true, /bin/ls /root, /usr/bin/printf [a-c]
hs_few ALL=(hs_free) NOPASSWD: /usr/bin/whoami
hs_few ALL=(:hs_group) NOPASSWD: /usr/bin/groups
hs_few ALL=(root) NOPASSWD: NOEXEC: /usr/bin/env
hs_few ALL=(root) NOPASSWD: LOG_OUTPUT: LOG_INPUT: /usr/bin/seq
hs_few ALL=(root) NOPASSWD: SETENV: /usr/bin/printenv
hs_few ALL=(root) NOPASSWD: sudoedit $EDITED
hs_few ALL=(root) TIMEOUT=1 NOPASSWD: /usr/bin/sleep
hs_few ALL=(root) CWD=/usr NOPASSWD: /usr/bin/pwd
hs_few ALL=(root) CWD=* NOPASSWD: /usr/bin/stat
hs_few ALL=(root) NOPASSWD: INTERCEPT: /usr/bin/nice
RULES
    install -m 440 "$RUN/rules" "$RULES"
    visudo -cq || { echo "the battery's rules are not valid here" >&2; exit 2; }
}

tear_down() {
    local user
    rm -rf "$RUN" "$RULES" "$EDITED"
    for user in hs_free hs_pass hs_few hs_none hs_direct; do
        rm -f "/run/sudo/ts/$user" "/var/lib/sudo/ts/$user"
        id "$user" >/dev/null 2>&1 && userdel "$user" 2>/dev/null
    done
    getent group hs_group >/dev/null && groupdel hs_group
    return 0
}

simple_runs() {
    case_ "a command" hs_free 'sudo id'
    case_ "a command by path" hs_free 'sudo /usr/bin/whoami'
    case_ "arguments arrive as they are" hs_free 'sudo printf "[%s]" "a b" "" "*" "\$x" -n'
    case_ "input goes through" hs_free 'printf "a\nb\n" | sudo cat'
    case_ "input is not swallowed" hs_free 'printf "a\nb\n" | { read x; sudo true; read y; echo "$x$y"; }'
    case_ "output and errors apart" hs_free 'sudo sh -c "echo out; echo err >&2" 2>/dev/null'
    case_ "several commands with --" hs_free 'sudo -- echo -n x'
    case_ "no such command" hs_free 'sudo /nonexistent/x'
    case_ "no such name" hs_free 'sudo nonexistent-x'
    case_ "a folder" hs_free 'sudo /tmp'
    case_ "sudo inside sudo" hs_free 'sudo sudo -n id -un'
    case_ "root itself" root 'sudo id -un'
    case_ "usage" hs_free 'sudo 2>&1 | head -3'
    case_ "help" hs_free 'sudo -h | head -5'
    case_ "version" hs_free 'sudo -V'
    case_ "version as root" root 'sudo -V | grep -v "^Configure options" | grep -vi "^Plugin" | head -80'
}

identities() {
    case_ "-u" hs_free 'sudo -u hs_none id'
    case_ "-u by number" hs_free 'sudo -u "#$(id -u hs_none)" id -un'
    case_ "-u nobody there" hs_free 'sudo -u hs_missing id'
    case_ "-g" hs_free 'sudo -g hs_group id -gn'
    case_ "-u and -g" hs_free 'sudo -u hs_none -g hs_group id -un'
    case_ "-P" hs_free 'sudo -P id -un'
    case_ "user by rule" hs_few 'sudo -u hs_free whoami'
    case_ "group by rule" hs_few 'sudo -g hs_group groups'
    case_ "a user that no rule gives" hs_few 'sudo -n -u hs_none id'
}

refusals() {
    case_ "not in sudoers, no password given" hs_none 'sudo -n id'
    case_ "not in sudoers, right password" hs_none 'echo righths_none | sudo -S -p "" id'
    case_ "not in sudoers, wrong password" hs_none 'echo wrong | sudo -S -p "" id'
    case_ "a command that no rule gives" hs_few 'sudo -n whoami'
    case_ "arguments that no rule gives" hs_few 'sudo -n ls /home'
    case_ "arguments that a pattern gives" hs_few 'sudo -n printf b'
    case_ "arguments that a pattern does not give" hs_few 'sudo -n printf d'
}

passwords_and_tickets() {
    case_ "-n without a ticket" hs_pass 'sudo -k; sudo -n id'
    case_ "-S right password" hs_pass 'echo righths_pass | sudo -S -p "" id -un'
    case_ "-S wrong passwords" hs_pass 'printf "a\nb\n" | sudo -k -S -p "" id'
    case_ "-S no password" hs_pass 'sudo -k -S -p "" id </dev/null'
    case_ "-p" hs_pass 'echo righths_pass | sudo -k -S -p "[%u on %h for %p]" true | sed "s/ on [^ ]* / on HOST /"'
    case_ "without a terminal" hs_pass 'sudo -k id'
    case_ "a ticket serves, -k forgets" hs_pass \
        'echo righths_pass | sudo -S -p "" true; sudo -n true; echo $?; sudo -k; sudo -n true'
    case_ "-K removes" hs_pass 'echo righths_pass | sudo -S -p "" true; sudo -K; sudo -n true'
    case_ "-k with a command ignores the ticket" hs_pass 'echo righths_pass | sudo -S -p "" true; sudo -n -k true; sudo -n true; echo $?'
    case_ "-N does not renew" hs_pass 'sudo -K; echo righths_pass | sudo -N -S -p "" true; sudo -n true'
    case_ "-v" hs_pass 'echo righths_pass | sudo -S -p "" -v; sudo -n true; echo $?; sudo -n -v'
    case_ "-v refused" hs_none 'sudo -n -v'
    case_ "-A without a helper" hs_pass 'sudo -K; sudo -A true'
    case_ "-A" hs_pass 'printf "#!/bin/sh\necho righths_pass\n" > ~/ask; chmod 700 ~/ask; SUDO_ASKPASS=~/ask sudo -A id -un'
}

environment() {
    case_ "the environment" hs_free 'EDITOR=x FOO=y sudo env | sort'
    case_ "VAR=value" hs_free 'sudo FOO=bar printenv FOO'
    case_ "VAR=value by SETENV" hs_few 'sudo FOO=bar printenv FOO'
    case_ "VAR=value without SETENV" hs_few 'sudo -n FOO=bar id'
    case_ "-E" hs_free 'FOO=bar sudo -E printenv FOO'
    case_ "-E refused" hs_few 'FOO=bar sudo -n -E id'
    case_ "--preserve-env" hs_free 'FOO=bar BAZ=x sudo --preserve-env=FOO env | grep -c -e ^FOO -e ^BAZ'
    case_ "-H" hs_free 'sudo -H printenv HOME'
    case_ "-i" hs_free 'sudo -i printenv HOME SHELL USER; sudo -i pwd'
    case_ "-i with a user and a quoted command" hs_free 'sudo -i -u hs_none echo "a  b" "\$HOME"'
    case_ "-s" hs_free 'sudo -s echo "a  b" "*"'
    case_ "-s from input" hs_free 'echo "id -un; exit 4" | sudo -s'
    case_ "LD_PRELOAD is dropped" hs_free 'LD_PRELOAD=/x sudo env | grep -c LD_PRELOAD'
}

options() {
    case_ "-C" hs_free 'sudo -C 5 true'
    case_ "-D" hs_free 'sudo -D /usr pwd'
    case_ "-D by CWD" hs_few 'sudo -D /usr stat -c %n .'
    case_ "CWD" hs_few 'sudo pwd'
    case_ "-R" hs_free 'sudo -R / id -un'
    case_ "-T" hs_free 'sudo -T 1 sleep 5'
    case_ "TIMEOUT" hs_few 'sudo sleep 5'
    case_ "-h of another host" hs_free 'sudo -h otherhost id'
    case_ "-h of another host to list" hs_free 'sudo -h otherhost -l | tail -2'
    case_ "-b" hs_free 'sudo -b sh -c "echo in the background > /run/human_sudo/b"; sleep 1; sudo cat /run/human_sudo/b'
    case_ "-B" hs_free 'sudo -B true'
    case_ "-r and -t" hs_free 'sudo -r x -t y true'
    case_ "unknown option" hs_free 'sudo --nonsense 2>&1 | head -2'
    case_ "exclusive options" hs_free 'sudo -l -v 2>&1 | head -2'
    case_ "-i and -s" hs_free 'sudo -i -s 2>&1 | head -2'
}

lists() {
    case_ "-l" hs_few 'sudo -l'
    case_ "-ll" hs_few 'sudo -ll'
    case_ "-l of a command" hs_few 'sudo -l id; sudo -l ls /root'
    case_ "-l of a refused command" hs_few 'sudo -n -l whoami'
    case_ "-l with a password" hs_pass 'echo righths_pass | sudo -k -S -p "" -l | tail -1'
    case_ "-l without one" hs_pass 'sudo -K; sudo -n -l'
    case_ "-l not in sudoers" hs_none 'echo righths_none | sudo -S -p "" -l'
    case_ "-U" hs_free 'sudo -U hs_few -l | tail -4'
    case_ "-U not allowed" hs_few 'sudo -n -U hs_free -l'
    case_ "-U of a command as root" root 'sudo -U hs_few -l /usr/bin/id'
    case_ "-l -u" hs_few 'sudo -l -u hs_free whoami'
}

tags() {
    case_ "NOEXEC" hs_few 'sudo env id'
    case_ "LOG_OUTPUT and LOG_INPUT" hs_few 'sudo seq 3; echo x | sudo seq 2'
    case_ "what was logged" root 'find /run/human_sudo/io -type f | sort; cd /run/human_sudo/io/00/00/01 && { zcat stdout || cat stdout; } 2>/dev/null'
    case_ "sudoreplay" root 'sudoreplay -d /run/human_sudo/io -l user hs_few; sudoreplay -d /run/human_sudo/io -n 000001'
    case_ "INTERCEPT" hs_few 'sudo nice id -un; sudo nice whoami'
}

edits() {
    case_ "sudoedit" hs_few "EDITOR='sed -i s/first/second/' sudoedit $EDITED; cat $EDITED"
    case_ "-e" hs_few "EDITOR='sed -i s/second/third/' sudo -e $EDITED; cat $EDITED"
    case_ "sudoedit unchanged" hs_few "EDITOR=true sudoedit $EDITED"
    case_ "sudoedit refused" hs_few 'EDITOR=true sudo -n -e /etc/passwd'
    case_ "sudoedit with an option of the editor" hs_few "EDITOR='true -- /etc/shadow' sudo -n -e $EDITED"
}

exit_codes_and_signals() {
    case_ "exit codes" hs_free 'for i in 0 1 2 77 126 127 255; do sudo sh -c "exit $i"; echo $?; done'
    case_ "killed by a signal" hs_free 'for s in TERM KILL HUP; do sh -c "sudo sh -c \"kill -$s \\\$\\\$\""; echo $?; done'
    case_ "a signal to sudo reaches the command" root \
        'sudo sh -c "trap \"echo got it; exit 5\" TERM; while :; do sleep 0.1; done" & sleep 1; kill -TERM $!; wait $!; echo $?'
    case_ "a closed output" hs_free 'sudo seq 100000 | head -1'
}

shape_of_the_process() {
    case_ "umask" hs_free 'umask 027; sudo sh -c umask; umask 002; sudo sh -c umask'
    case_ "descriptors" hs_free 'exec 7</etc/hosts; sudo sh -c "ls /proc/\$\$/fd"'
    case_ "parents" hs_free 'sudo sh -c "cat /proc/\$PPID/comm; grep -c . /proc/\$PPID/comm"'
    case_ "no sudo in between, where nothing asks for one" hs_direct \
        'sudo sh -c "cat /proc/\$PPID/comm"; sudo sh -c "kill -TERM \$\$"; echo $?; sudo /nonexistent/x; sudo -u hs_none id -un'
    case_ "capabilities and flags" hs_free 'sudo grep -E "^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Sig[A-Z])" /proc/self/status'
    case_ "limits" hs_free 'ulimit -n 500; sudo sh -c "ulimit -n; ulimit -c; ulimit -s"'
    case_ "where it stands" hs_free 'cd /usr && sudo pwd'
    case_ "login uid and cgroup stay" hs_free 'a=$(cat /proc/self/loginuid /proc/self/cgroup); [ "$a" = "$(sudo cat /proc/self/loginuid /proc/self/cgroup)" ]'
}

logs() {
    case_ "the log" root 'cat /run/human_sudo/log'
}

terminals() {
    if ! command -v expect >/dev/null; then
        echo "no expect"
        return
    fi
    cat > "$RUN/tty.exp" <<'EXPECT'
set timeout 10
# What is missed once puts all that follows out of step: it ends there, and the next run does better or does not.
proc want {text} {
    expect $text { puts ">> saw [string trim $text]" } timeout { puts ">> MISSED $text"; exit 9 } eof { puts ">> END before $text" }
}
log_user 0
# A typed line is echoed, so nothing that is waited for may stand in one: hence wo''rd and rea''dy.
spawn env -i PATH=$env(PATH) HOME=/tmp TERM=dumb setpriv --reuid hs_pass --regid hs_pass --init-groups bash --norc --noprofile -i
send "PS1=rea''dy'>'\r"
want "ready>"
send "sudo -K; echo forgot\r"; want "\nforgot"; want "ready>"
send "sudo -p 'wo''rd: ' id -un\r"; want "word: "; send "wrong\r"; want "word: "
send "righths_pass\r"; want "\nroot"; want "ready>"
send "sudo -n id -un\r"; want "\nroot"; want "ready>"
send "sudo tty | sed s/\[0-9\].*//\r"; want "\n/dev/pts/"; want "ready>"
send "sudo sh -c 'sleep 1; echo foreground; sleep 60'\r"; want "\nforeground"
send "\032"; want "ready>"
send "jobs\r"; want "Stopped"; want "ready>"
send "fg > /dev/null\r"; sleep 1; send "\003"; want "ready>"
send "echo rc=\$?\r"; want "\nrc=130"; want "ready>"
send "sudo cat\r"; sleep 1; send "line\r"; want "\nline"; send "\004"; want "ready>"
send "sudo -i\r"; want "# "; send "id -un; exit 3\r"; want "\nroot"; want "ready>"
send "echo rc=\$?\r"; want "\nrc=3"; want "ready>"
send "stty -a | grep -c ' echo '\r"; want "\n1"; want "ready>"
send "sudo sh -c 'kill -STOP \$\$; echo went on'\r"; want "ready>"
send "fg\r"; want "\nwent on"; want "ready>"
send "exit\r"; expect eof
EXPECT
    echo "=== a terminal: password, ticket, stop, continue, interrupt, login shell"
    expect -f "$RUN/tty.exp" 2>&1
    echo "rc=$?"
}

log_server() {
    local server
    if ! command -v sudo_logsrvd >/dev/null; then
        echo "no sudo_logsrvd"
        return
    fi
    mkdir -p "$RUN/server"
    cat > "$RUN/server.conf" <<CONF
[server]
listen_address = 127.0.0.1:30343
pid_file = $RUN/server/pid
[iolog]
iolog_dir = $RUN/server/io
[eventlog]
log_type = logfile
log_exit = true
[logfile]
path = $RUN/server/log
CONF
    { cat "$RUN/rules"; echo 'Defaults:hs_few log_servers=127.0.0.1:30343, log_server_timeout=5'; } > "$RUN/rules2"
    install -m 440 "$RUN/rules2" "$RULES"
    case_ "the log server is down" hs_few 'sudo seq 2'
    sudo_logsrvd -n -f "$RUN/server.conf" </dev/null >/dev/null 2>&1 &
    server=$!
    for _ in $(seq 50); do (exec 3<>/dev/tcp/127.0.0.1/30343) 2>/dev/null && break; sleep 0.1; done
    case_ "to the log server" hs_few 'sudo seq 2; sudo -n whoami; sudo true; sudo id -xyz; echo $?'
    kill "$server"
    wait "$server" 2>/dev/null
    case_ "what the log server has" root 'cat /run/human_sudo/server/log; find /run/human_sudo/server/io -type f | sort'
    install -m 440 "$RUN/rules" "$RULES"
}

main "$@"
