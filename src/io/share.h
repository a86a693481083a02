/* share: a process that runs in its maker's memory until it executes something or ends, as that of vfork(2)
 * does, so that no page table is copied for it. Inside the room io only. */
#pragma once

#include <linux/sched.h>
#include <sys/types.h>

/* Not where a sanitizer's notes about the stack would not be the caller's any more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#define SHARE_IS_BUILT 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SHARE_IS_BUILT 0
#endif
#endif
#ifndef SHARE_IS_BUILT
#define SHARE_IS_BUILT 1
#endif

/* As clone3(2) with `how`, whose CLONE_VM and CLONE_VFORK are added: the caller is held until the new
 * process, which runs `run` with `arg` on the caller's stack, has ended or executed a file. `run` must not
 * return, and makes system calls only: whatever it writes to memory, errno too, the caller finds so. Its
 * descriptors, user and signal mask are its own. Who is held does nothing, so the caller must have somebody
 * who ends a process that hangs. Returns the pid; -1 with errno; ENOSYS: it is not built, or not with this
 * kernel. */
pid_t share_start(struct clone_args *how, void (*run)(void *arg), void *arg);
