/* share: a process that runs in its maker's memory until it executes something or ends, as that of vfork(2)
 * does, so that no page table is copied for it. Inside the room io only. */
#pragma once

#include <linux/sched.h>
#include <sys/types.h>

/* As clone3(2) with `how`, whose CLONE_VM and CLONE_VFORK are added: the caller is held until the new
 * process, which runs `run` with `arg` on the caller's stack, has ended or executed a file. `run` must not
 * return, and makes system calls only: whatever it writes to memory, errno too, the caller finds so. Its
 * descriptors, user and signal mask are its own. Who is held does nothing, so the caller must have somebody
 * who ends a process that hangs. Returns the pid; -1 with errno; ENOSYS: neither on processors other than
 * x86-64, nor under a sanitizer, nor with an old kernel. */
pid_t share_start(struct clone_args *how, void (*run)(void *arg), void *arg);
