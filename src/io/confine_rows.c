/* The table. Found by strace over the system tests, and by reading what libc, OpenSSL and libevent call where
 * the tests do not lead. Those of each request come first, and without tests: kernels since 5.11 answer such
 * a call from a bitmap, without running the filter. */
#include "io/confine_rows.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#define SOCKET_TYPE 0xf /* the other bits are SOCK_NONBLOCK and SOCK_CLOEXEC */

#define ALLOW(name)                \
    {                              \
        SYS_##name, CONFINE_ALLOW, \
        {                          \
            {                      \
                0, 0, 0            \
            }                      \
        }                          \
    }
#define DENY(name)                \
    {                             \
        SYS_##name, CONFINE_DENY, \
        {                         \
            {                     \
                0, 0, 0           \
            }                     \
        }                         \
    }
#define KILL(name)                \
    {                             \
        SYS_##name, CONFINE_KILL, \
        {                         \
            {                     \
                0, 0, 0           \
            }                     \
        }                         \
    }
#define ALLOW_IF(name, ...)        \
    {                              \
        SYS_##name, CONFINE_ALLOW, \
        {                          \
            __VA_ARGS__            \
        }                          \
    }
#define IS(argument, value)                      \
    {                                            \
        argument, CONFINE_ANY, (uint32_t)(value) \
    }
#define HAS(argument, mask, value)                    \
    {                                                 \
        argument, (uint32_t)(mask), (uint32_t)(value) \
    }

const struct confine_row confine_rows[] = {
    /* ---- of each request ---- */
    ALLOW(recvfrom),
    ALLOW(sendto),
    ALLOW(sendmsg),
#ifdef SYS_epoll_wait
    ALLOW(epoll_wait),
#endif
    ALLOW(epoll_pwait),
#ifdef SYS_epoll_pwait2
    ALLOW(epoll_pwait2),
#endif
    ALLOW(read),
    ALLOW(write),
    ALLOW(readv),
    ALLOW(writev),
    ALLOW(splice),
    ALLOW(fadvise64), /* for the access log */
    ALLOW(futex),
    ALLOW(epoll_ctl),
    ALLOW(getpid), /* OpenSSL, for each random number: has it been forked? */

    /* ---- of each connection ---- */
    ALLOW(accept4),
    ALLOW(connect),
    ALLOW(close),
    ALLOW(shutdown),
    ALLOW(getsockname),
    ALLOW(getsockopt),
    ALLOW(recvmsg),
    ALLOW_IF(setsockopt, IS(1, SOL_SOCKET)),
    ALLOW_IF(setsockopt, IS(1, IPPROTO_TCP)),
    ALLOW_IF(setsockopt, IS(1, SOL_TLS)),
    ALLOW(pipe2),
    ALLOW_IF(fcntl, IS(1, F_SETPIPE_SZ)),
    ALLOW_IF(fcntl, IS(1, F_GETPIPE_SZ)),
    ALLOW_IF(socket, IS(0, AF_INET), HAS(1, SOCKET_TYPE, SOCK_STREAM), IS(2, 0)),
    ALLOW_IF(socket, IS(0, AF_INET6), HAS(1, SOCKET_TYPE, SOCK_STREAM), IS(2, 0)),
    ALLOW_IF(socket, IS(0, AF_UNIX), HAS(1, SOCKET_TYPE, SOCK_STREAM), IS(2, 0)),

    /* ---- memory and time ---- */
    ALLOW_IF(mmap, HAS(2, PROT_EXEC, 0)),
    ALLOW_IF(mprotect, HAS(2, PROT_EXEC, 0)),
    ALLOW(munmap),
    ALLOW(mremap),
    ALLOW(madvise),
    ALLOW(mlock), /* OpenSSL's secure heap */
    ALLOW(mlock2),
    ALLOW(munlock),
    ALLOW(brk),
    ALLOW(sysinfo), /* qsort: how much memory is there? */
    ALLOW(getrandom),
    ALLOW(clock_gettime), /* where the vDSO has no clock */
    ALLOW(clock_nanosleep),
    ALLOW(gettimeofday),

    /* ---- descriptors that come by the channel ---- */
    ALLOW_IF(fcntl, IS(1, F_GETFD)),
    ALLOW_IF(fcntl, IS(1, F_SETFD)),
    ALLOW_IF(fcntl, IS(1, F_GETFL)),
    ALLOW_IF(fcntl, IS(1, F_SETFL)),
    ALLOW_IF(fcntl, IS(1, F_DUPFD_CLOEXEC)),
    ALLOW_IF(fcntl, IS(1, F_GET_SEALS)),
    ALLOW(fstat),
#ifdef SYS_newfstatat
    ALLOW_IF(newfstatat, HAS(3, AT_EMPTY_PATH, AT_EMPTY_PATH)), /* so does libc call fstat */
    DENY(newfstatat),
#endif
    ALLOW(lseek),
    ALLOW(pread64),

    /* ---- about itself, and its end ---- */
    ALLOW(ppoll), /* has stderr room? */
#ifdef SYS_poll
    ALLOW(poll),
#endif
    ALLOW(gettid),
    ALLOW(getuid),
    ALLOW(geteuid),
    ALLOW(getgid),
    ALLOW(getegid),
    ALLOW(sched_yield),
    ALLOW(sched_getaffinity), /* malloc: how many processors are there? */
    ALLOW_IF(prlimit64, IS(0, 0), IS(1, RLIMIT_NOFILE)),
    ALLOW(set_robust_list), /* a thread may be just beginning */
    ALLOW(rseq),
    ALLOW(rt_sigprocmask),
    ALLOW(rt_sigaction),
    ALLOW(rt_sigreturn),
    ALLOW(sigaltstack),
    ALLOW(restart_syscall),
    ALLOW(exit),
    ALLOW(exit_group),
    ALLOW_IF(tgkill, IS(0, CONFINE_SELF)), /* abort */

/* ---- files by name ---- */
#ifdef SYS_open
    DENY(open),
    DENY(creat),
    DENY(stat),
    DENY(lstat),
    DENY(access),
    DENY(readlink),
#endif
    DENY(openat),
#ifdef SYS_openat2
    DENY(openat2),
#endif
    DENY(statx),
    DENY(faccessat),
#ifdef SYS_faccessat2
    DENY(faccessat2),
#endif
    DENY(readlinkat),

    /* ---- what nothing here does ---- */
    KILL(execve),
    KILL(execveat),
    KILL(clone),
#ifdef SYS_clone3
    KILL(clone3),
#endif
#ifdef SYS_fork
    KILL(fork),
    KILL(vfork),
#endif
    KILL(ptrace),
    KILL(process_vm_readv),
    KILL(process_vm_writev),
#ifdef SYS_process_madvise
    KILL(process_madvise),
#endif
#ifdef SYS_pidfd_open
    KILL(pidfd_open),
    KILL(pidfd_send_signal),
#endif
#ifdef SYS_pidfd_getfd
    KILL(pidfd_getfd),
#endif
    KILL(kcmp),
    KILL(kill),
    KILL(tkill),
    KILL(tgkill),
    KILL(rt_sigqueueinfo),
    KILL(rt_tgsigqueueinfo),
    KILL(mmap),
    KILL(mprotect),
    KILL(pkey_mprotect),
    KILL(personality),
    KILL(socket),
    KILL(bind),
    KILL(listen),
    KILL(memfd_create),
    KILL(setuid),
    KILL(setgid),
    KILL(setreuid),
    KILL(setregid),
    KILL(setresuid),
    KILL(setresgid),
    KILL(setgroups),
    KILL(setfsuid),
    KILL(setfsgid),
    KILL(capset),
    KILL(setns),
    KILL(unshare),
    KILL(chroot),
    KILL(pivot_root),
    KILL(mount),
    KILL(umount2),
#ifdef SYS_open_tree
    KILL(open_tree),
    KILL(move_mount),
    KILL(fsopen),
    KILL(fsconfig),
    KILL(fsmount),
    KILL(fspick),
#endif
#ifdef SYS_mount_setattr
    KILL(mount_setattr),
#endif
    KILL(name_to_handle_at),
    KILL(open_by_handle_at),
#ifdef SYS_io_uring_setup
    KILL(io_uring_setup),
    KILL(io_uring_enter),
    KILL(io_uring_register),
#endif
    KILL(bpf),
    KILL(seccomp),
    KILL(perf_event_open),
    KILL(userfaultfd),
    KILL(keyctl),
    KILL(add_key),
    KILL(request_key),
    KILL(init_module),
    KILL(finit_module),
    KILL(delete_module),
    KILL(kexec_load),
#ifdef SYS_kexec_file_load
    KILL(kexec_file_load),
#endif
#ifdef SYS_modify_ldt
    KILL(modify_ldt),
    KILL(iopl),
    KILL(ioperm),
#endif
    KILL(reboot),
    KILL(swapon),
    KILL(swapoff),
    KILL(acct),
    KILL(settimeofday),
    KILL(clock_settime),
    KILL(adjtimex),
    KILL(clock_adjtime),
};

const unsigned confine_row_count = sizeof confine_rows / sizeof confine_rows[0];
