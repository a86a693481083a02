/* Invariant: between the new process's beginning and its end no function of the caller returns, so all that
 * the new one does to the stack is below what the caller will look at again.
 */
#include "io/share.h"

#include <errno.h>
#include <sys/syscall.h>

/* No function of libc can do this: it would return twice by the same place on the stack. `run` is called
 * below the 128 bytes that a function may use beyond the end of its stack (System V ABI, AMD64,
 * section 3.2.2). */
static long begin(struct clone_args *how, void (*run)(void *arg), void *arg)
{
#if SHARE_IS_BUILT
    long result = SYS_clone3;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "sub $128, %%rsp\n\t"
                     "and $-16, %%rsp\n\t"
                     "mov %[arg], %%rdi\n\t"
                     "call *%[run]\n\t"
                     "ud2\n"
                     "1:"
                     : "+a"(result)
                     : "D"(how), "S"(sizeof *how), [run] "r"(run), [arg] "r"(arg)
                     : "rcx", "r11", "cc", "memory");
    return result;
#else
    (void)how;
    (void)run;
    (void)arg;
    return -ENOSYS;
#endif
}

pid_t share_start(struct clone_args *how, void (*run)(void *arg), void *arg)
{
    how->flags |= CLONE_VM | CLONE_VFORK;
    long result = begin(how, run, arg);
    if (result >= 0)
        return (pid_t)result;
    errno = (int)-result;
    return -1;
}
