"""A program as on a host that denies system calls, as those of containers do:

    denying.py CALL[,CALL...] EPERM|ENOSYS PROGRAM [ARGUMENT...]
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

SCMP_ACT_ALLOW = 0x7FFF0000
SCMP_ACT_ERRNO = 0x00050000


def denying(calls: str, error: str) -> list[str]:
    """What to put before a program and its arguments."""
    return ["/usr/bin/python3", "-B", str(Path(__file__).resolve()), calls, error]


def deny(calls: list[str], code: int) -> None:
    """To this process and all that come from it, for good."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    seccomp.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
    seccomp.seccomp_load.argtypes = [ctypes.c_void_p]
    rules = seccomp.seccomp_init(SCMP_ACT_ALLOW)
    for call in calls:
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if seccomp.seccomp_rule_add(rules, SCMP_ACT_ERRNO | code, number, 0) != 0:
            raise ValueError(f"cannot deny {call}")
    if seccomp.seccomp_load(rules) != 0:
        raise OSError("the kernel takes no filter of system calls")


if __name__ == "__main__":
    deny(sys.argv[1].split(","), getattr(errno, sys.argv[2]))
    os.execvp(sys.argv[3], sys.argv[3:])
