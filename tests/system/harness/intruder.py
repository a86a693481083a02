"""Makes a thread of a running process call the kernel, as one would whose code an attacker has taken over.

On x86_64, and for root. What the thread does otherwise stands still meanwhile, and goes on afterwards.
"""

import ctypes
import os
import signal

from .processes import StoppedThread
from .waiting import wait_until

CALLS = {
    "socket": 41,
    "connect": 42,
    "sendto": 44,
    "recvfrom": 45,
    "bind": 49,
    "fork": 57,
    "execve": 59,
    "kill": 62,
    "ptrace": 101,
    "openat": 257,
    "io_uring_setup": 425,
}

REGISTERS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs"
).split()


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


class Killed(Exception):
    """By this signal."""

    def __init__(self, number):
        super().__init__(signal.Signals(number).name)
        self.number = number


class Intruder(StoppedThread):
    """with Intruder(tid) as it: it.call("openat", ...). Comes in when the thread waits in the kernel."""

    GETREGS, SETREGS, STEP = 12, 13, 9

    SYSCALL = b"\x0f\x05"  # the instruction

    def __enter__(self):
        wait_until(self._stop_in_kernel, what="the thread to wait in the kernel")
        return self

    def _stop_in_kernel(self):
        super().__enter__()
        registers = self._registers()
        if registers.orig_rax < 1 << 63 and self.read(registers.rip - 2, 2) == self.SYSCALL:
            return True
        super().__exit__()
        return False

    def _registers(self):
        registers = Registers()
        self._ask(self.GETREGS, registers)
        return registers

    def _ask(self, request, registers):
        if self.libc.ptrace(request, self.tid, None, ctypes.addressof(registers)) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request}")

    def call(self, name, *arguments):
        """What the kernel answers: a number, below 0 an errno."""
        before, registers = self._registers(), self._registers()
        for register, argument in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), [*arguments, 0, 0, 0, 0, 0, 0]):
            setattr(registers, register, argument & (1 << 64) - 1)
        registers.rip -= 2  # it stands behind the instruction by which it waits
        registers.rax, registers.orig_rax = CALLS[name], (1 << 64) - 1
        self._ask(self.SETREGS, registers)
        self._ptrace(self.STEP)
        _, status = os.waitpid(self.tid, self.WALL)
        if os.WIFSIGNALED(status):
            raise Killed(os.WTERMSIG(status))
        result = ctypes.c_longlong(self._registers().rax).value
        self._ask(self.SETREGS, before)
        return result

    def scratch(self):
        """Where it may write: far below what the thread's stack holds."""
        return (self._registers().rsp - 8192) & ~15

    def write(self, address, content):
        with open(f"/proc/{self.tid}/mem", "wb", buffering=0) as memory:
            memory.seek(address)
            memory.write(content)

    def read(self, address, size):
        with open(f"/proc/{self.tid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def __exit__(self, kind, *_):
        if kind is not Killed:
            super().__exit__()
