"""Uptests that do what no uptest should: what each does, and whether it may pass."""

import os
import signal

EITHER = None  # it depends on the machine; what a passed cell must be is checked anyway
ROOT = os.getuid() == 0  # then uptests run as somebody else, who may do less

# What ends well by the contract: exit status 0 in time. What these leave behind is another matter.
PASS = {
    "plain": "exit 0",
    "child_holds_the_pipe": "sleep 1000 & exit 0",
    "child_ignores_all": "sh -c 'trap \"\" TERM HUP INT; sleep 1000; sleep 1000' & exit 0",
    "another_session": "setsid sleep 1000 & exit 0",
    "twice_forked": "(setsid sh -c 'sleep 1000 & sleep 1000 & wait' >/dev/null 2>&1 &); exit 0",
    "stopped_child": "setsid sh -c 'kill -STOP $$' & exit 0",
    "closes_its_output_and_goes_on": "exec >&- 2>&-; i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; exit 0",
    "no_newline": "printf 'no end'; exit 0",
    "executes_itself": 'n=${N:-0}; [ "$n" -ge 20 ] && exit 0; N=$((n+1)) exec "$0" "$@"',
    "writes_to_descriptors": "for fd in 3 4 5 6 7 8 9; do eval \"echo x >&$fd\"; done 2>/dev/null; exit 0",
    "signals_its_group_softly": "kill -CONT 0; kill -WINCH 0; exit 0",
    "much_environment": "export BIG=$(head -c 100000 /dev/zero | tr '\\0' x); /bin/true; exit 0",
}

# What must never pass.
FAIL = {
    "hangs": "sleep 1000",
    "ignores_term": "trap '' TERM; sleep 1000 & while :; do wait; done",
    "ends_well_after_term": "trap 'exit 0' TERM; sleep 1000 & wait; exit 0",
    "stops_itself": "kill -STOP $$; exit 0",
    "hangs_without_output": "exec >&- 2>&-; sleep 1000",
    "hangs_in_another_session": "setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000'; exit 0",
    "forks_into_sessions": 'ulimit -p 100 2>/dev/null || exit 1; while :; do setsid "$0" "$@" & done 2>/dev/null',
    "forks_in_its_parent_s_group": 'ulimit -p 100 2>/dev/null || exit 1; exec perl -e "setpgrp(0, getpgrp(\\$ARGV[0])); while (1) { fork }" $PPID',
    "ends_its_own_group": "kill -KILL 0; exit 0",
    "a_gigabyte": "head -c 1073741824 /dev/zero; exit 0",
    "a_gigabyte_after_its_end": "setsid cat /dev/zero & exit 1",
    "executes_nothing": "exec /nonexistent/program",
}

# What changes the world for its next run, so how it ends depends on whether control was killed meanwhile; and
# what depends on the machine.
ODD = {
    "removes_its_folder": 'rm -rf "$(dirname "$0")"; exit 0',
    "takes_its_own_mode": 'chmod 000 "$0"; exit 0',
    "empties_itself": ': > "$0"; exit 0',
    "forks_without_end": "ulimit -p 200 2>/dev/null || exit 1; b() { b & b & wait; }; b 2>/dev/null",
    "a_burst_of_sessions": "i=0; while [ $i -lt 30 ]; do setsid sleep 1000 & i=$((i+1)); done; exit 0",
}

# Who runs as the daemon can do this to it; who does not cannot.
ATTACKS = {
    "kills_its_parent": "kill -9 $PPID; exit 0",
    "stops_its_parent": "kill -STOP $PPID; exit 0",
    "kills_its_parent_s_parent": "kill -9 $(cut -d' ' -f5 /proc/$PPID/stat); exit 0",
    "stops_its_parent_s_parent": "kill -STOP $(cut -d' ' -f5 /proc/$PPID/stat); exit 0",
    "at_the_journal": 'rm -rf "$STATE"; chmod 777 "$STATE" "$STATE"/*; echo x > "$STATE"/journal; exit 0',
    "at_the_socket": 'rm -f "$ADMIN"; echo x > "$ADMIN"; exit 0',
}

HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


def draw(random):
    """(name, text of the file, mode, may it pass: True, False or EITHER)."""
    kind = random.choices(("pass", "fail", "odd", "attack", "status", "signal", "file"), (50, 12, 6, 6, 12, 8, 6))[0]
    if kind == "pass":
        name = random.choice(sorted(PASS))
        return name, PASS[name], 0o755, True
    if kind == "fail":
        name = random.choice(sorted(FAIL))
        return name, FAIL[name], 0o755, False
    if kind == "odd":
        name = random.choice(sorted(ODD))
        return name, ODD[name], 0o755, EITHER
    if kind == "attack":
        name = random.choice(sorted(ATTACKS) if ROOT else [name for name in sorted(ATTACKS) if "its_parent" in name])
        return name, ATTACKS[name], 0o755, True if ROOT else EITHER
    if kind == "status":
        status = random.randrange(256)
        return f"status_{status}", f"exit {status}", 0o755, status == 0
    if kind == "signal":
        number = random.choice([n for n in range(1, 32) if n not in STOPPING])
        return f"signal_{number}", f"kill -{number} $$; exit 0", 0o755, number in HARMLESS
    name, text, mode = random.choice(
        (("no_mode", "#!/bin/sh\nexit 0\n", 0o644), ("no_interpreter", "#!/nonexistent/sh\n", 0o755), ("no_program", "", 0o755))
    )
    return name, text, mode, False
